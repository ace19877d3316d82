"""Streaks in the difference of two frames: candidates for meteors, satellites and aircraft.

The sky turns by less than a few pixels between frames, so whatever stood out in the frame before
(stars, planets, defects, lamps) is masked with a margin. The rest of it is subtracted.
What remains long, narrow and significant (:mod:`allsky360.sky.streaks_lines`) and looks like no
cloud's edge and no star that came out from behind one (:mod:`allsky360.sky.streaks_belief`) is a
streak.

A frame's streaks depend on two frames only, so they can be found again at any time, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import starfield
from allsky360.sky.background import noise_on_grid
from allsky360.sky.streaks_belief import (
    Limits,
    believed,
    on_star,
    roughness_beside,
    troubled,
    width_of,
)
from allsky360.sky.streaks_lines import Line, find_lines
from allsky360.sky.streaks_plane import StreakPlane, light_ratio

Floats = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]

STATIC_SIGMA, BRIGHT_SIGMA = 8.0, 60.0


@dataclass(frozen=True, eq=False)
class Streak:
    """A streak in one frame.

    Attributes
    ----------
    x, y
        ``(n,)`` points from end to end, pixels of the frame; at least two.
    length_px, width_px
        Length, and full width at half maximum across.
    peak_snr
        Highest significance of one star-sized spot on it, in the difference of the two frames.
    snr
        Significance of the light along the whole length.
    flashes
        Regular flashes counted along it; 0 where there are none.
    hidden
        Share of its length behind masked stars.
    """

    x: Double
    y: Double
    length_px: float
    width_px: float
    peak_snr: float
    snr: float
    flashes: int
    hidden: float


@dataclass(frozen=True, eq=False)
class StreakSearch:
    """What a search found; ``candidates`` counts lines, believed or not."""

    streaks: tuple[Streak, ...]
    disturbed: bool
    candidates: int


def find_streaks(
    now: StreakPlane,
    before: StreakPlane,
    *,
    fwhm_px: float = 2.5,
    drift_px: float = 1.0,
    trail_px: float = 0.0,
    mask: Mask | None = None,
    stars: tuple[Double, Double] | None = None,
    limits: Limits | None = None,
) -> StreakSearch:
    """Find what moved through a frame and was not there in the frame before.

    Parameters
    ----------
    now, before
        Comparable: see :func:`allsky360.sky.streaks_plane.why_not_comparable`.
    fwhm_px
        Width of the stars' images in the frame.
    drift_px, trail_px
        How far stars move, at most, between the two frames and within the exposure, pixels of the
        frame.
    mask
        ``(h, w)`` bool of the plane, True = sky.
    stars
        x and y ``(n,)`` of known bright stars, pixels of the frame.
    limits
        Of belief.

    Returns
    -------
    StreakSearch
        ``disturbed`` where broken clouds or a moved camera make so many lines that only the
        strongest streaks are reported, or none.
    """
    limits = limits or Limits()
    step = now.step
    fwhm = max(fwhm_px / step, 1.65)
    sigma = fwhm / 2.3548
    blocked = _static(before, sigma, drift_px / step)
    if mask is not None:
        blocked |= ~mask
    # Another exposure time is another amount of light. What stood out before must not spill into
    # its surroundings under the filters: not its rest, nor the dark trail of what has moved on.
    ratio = light_ratio(now, before) or 1.0
    difference = now.flat - np.float32(ratio) * before.flat
    difference[blocked] = 0.0
    smooth = _blurred(difference, sigma) - _blurred(difference, 4.0 * sigma)
    noise = _noise(smooth, now.box, ~blocked)
    z = np.asarray(starfield.over_noise(smooth, noise, now.box), np.float32)
    z[blocked] = 0.0
    found = find_lines(z, blocked, sigma)
    known = None if stars is None else (now.reduced(stars[0]), now.reduced(stars[1]))
    lines: list[Line] = []
    doubted: list[Line] = []
    for line in found:
        good = believed(
            line,
            difference,
            blocked,
            _at_middle(noise, now.box, line),
            fwhm=fwhm,
            sigma=sigma,
            trail=trail_px / step,
            limits=limits,
        )
        if good and known is not None:
            good = not on_star(line, *known, fwhm)
        (lines if good else doubted).append(line)
    disturbed = troubled(doubted, limits)
    if disturbed:
        lines = [
            line
            for line in lines
            if line.significance >= limits.troubled_significance
            and roughness_beside(line, difference, _at_middle(noise, now.box, line), sigma)
            <= limits.troubled_roughness
        ]
    if len(lines) > limits.most:
        disturbed, lines = True, []
    streaks = [_streak(line, now, fwhm, width_of(line, difference, blocked)) for line in lines]
    return StreakSearch(tuple(streaks), disturbed, len(found))


def _blurred(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def _noise(smooth: Floats, box: int, seen: Mask) -> Floats:
    """Noise of the filtered difference on a grid; a fireball's own light must not count as noise.

    The largest of the cells around counts: a cell across a skyline shows the ground's lower noise.
    """
    grid = noise_on_grid(smooth, box, seen)
    if min(grid.shape) >= 5:
        grid = np.minimum(grid, 2.0 * cv2.medianBlur(grid, 5))
    return np.asarray(cv2.dilate(grid, np.ones((3, 3))), np.float32)


def _static(plane: StreakPlane, sigma: float, drift: float) -> Mask:
    """Pixels at or near anything that stood out, ``(h, w)`` bool.

    Faint stars are left to the subtraction, which leaves a fraction of them; the brighter a source
    is, the farther what a small shift leaves of it stands out.
    """
    smooth = _blurred(plane.flat, sigma)
    rest = starfield.over_noise(smooth, noise_on_grid(smooth, plane.box), plane.box)
    near = _grown(rest > STATIC_SIGMA, sigma + 1.0 + drift)
    return (near | _grown(rest > BRIGHT_SIGMA, 2.0 * sigma + 3.0 + drift)) > 0


def _grown(mask: Mask, radius: float) -> NDArray[np.uint8]:
    size = 2 * round(radius) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(mask.view(np.uint8), kernel), np.uint8)


def _at_middle(noise: Floats, box: int, line: Line) -> float:
    x, y = line.path.at(np.array([0.5 * (line.low + line.high)]))
    row = int(np.clip(y[0] // box, 0, noise.shape[0] - 1))
    return float(noise[row, int(np.clip(x[0] // box, 0, noise.shape[1] - 1))])


def _streak(line: Line, now: StreakPlane, fwhm: float, width: float) -> Streak:
    x, y = line.points(2 + round(line.length_px / 12.0))
    return Streak(
        now.step * x + now.shift,
        now.step * y + now.shift,
        length_px=line.length_px * now.step,
        width_px=width * now.step,
        peak_snr=line.peak,
        snr=line.significance,
        flashes=flashes(line.along, fwhm),
        hidden=line.hidden,
    )


def flashes(along: Double, fwhm_px: float) -> int:
    """Return how many regular flashes a streak shows, 0 where its light is steady.

    Flashes are narrow peaks of 1.5 times the streak's median and 4 sigma above it, at distances
    that agree within a third of their mean.
    """
    seen = np.where(np.isfinite(along), along, np.nanmedian(along))
    middle = float(np.median(seen))
    limit = max(1.5 * middle, middle + 4.0)
    inner = seen[1:-1]
    peak = (inner > limit) & (inner >= seen[:-2]) & (inner > seen[2:])
    at = np.flatnonzero(peak) + 1
    if at.size < 3:
        return 0
    steps = np.diff(at)
    if steps.min() < fwhm_px or steps.std() > 0.34 * steps.mean():
        return 0
    return int(at.size)
