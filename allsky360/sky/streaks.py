"""Streaks in the difference of two frames: candidates for meteors, satellites and aircraft.

The sky turns by less than a few pixels between frames, so whatever stood out in the frame before
(stars, planets, defects, lamps) is masked with a margin, and the rest of the frame before is
subtracted. What remains long and narrow and significant is a streak (:mod:`streaks_lines`). What
goes on in the next frame is no meteor (:mod:`streaks_tracks`).

State is a frozen :class:`StreakMemory` that the caller keeps from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import gaussian, maximum3, namespace, starfield, to_host
from allsky360.model import as_utc
from allsky360.sky.background import Background, background_and_noise, noise_on_grid
from allsky360.sky.lens import LensModel
from allsky360.sky.streaks_lines import Line, find_lines, light_of
from allsky360.sky.streaks_model import Kind, Streak, Track
from allsky360.sky.streaks_tracks import flashes, follow

Array = Any
Floats = NDArray[np.float32]

STATIC_SIGMA, BRIGHT_SIGMA = 8.0, 60.0
LEAST_PEAK, LEAST_SIGNIFICANCE, LEAST_FILLED = 4.5, 7.0, 0.75
LEAST_LENGTH_FWHM = 3.0
WIDEST = 2.2
LONGEST_PAUSE_S = 180.0
MOST_STREAKS = 12
"""More than this in one frame are clouds, a shaken camera or a light: none is believed."""


@dataclass(frozen=True, eq=False)
class StreakMemory:
    """What is kept of the frame before: its flattened plane, what stood out, open tracks."""

    flat: Array
    static: Array
    end: datetime
    exposure_s: float
    open: tuple[Track, ...] = ()
    next_number: int = 1


@dataclass(frozen=True, eq=False)
class StreakResult:
    """Streaks of this frame, tracks that ended before it, and the memory for the next."""

    streaks: tuple[Streak, ...]
    finished: tuple[Track, ...]
    memory: StreakMemory
    disturbed: bool = False


def find_streaks(
    plane: Array,
    start: datetime,
    exposure_s: float,
    memory: StreakMemory | None = None,
    *,
    lens: LensModel | None = None,
    mask: Array | None = None,
    background: Background | None = None,
    fwhm_px: float = 2.5,
) -> StreakResult:
    """Find what moved through a frame.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 measurement plane.
    start, exposure_s
        UTC start and length of the exposure.
    memory
        Of the frame before; None, another shape, or a pause of more than three minutes begin anew,
        and the first frame has no streaks.
    lens
        For directions of the ends.
    mask
        ``(H, W)`` bool, True = sky.
    background
        Of this plane, where the caller has it.
    fwhm_px
        Width of the stars' images (the median of a star list).

    Returns
    -------
    StreakResult
        ``disturbed`` where more lines were found than objects ever cross at once: clouds or a
        moved camera; then no streak is reported.
    """
    start = as_utc(start)
    sigma = fwhm_px / 2.3548
    background = background or background_and_noise(plane, mask)
    flat = starfield.flatten(plane, background.level, background.box, mask)
    static = _static(flat, background.box, sigma)
    fresh = StreakMemory(flat, static, start + timedelta(seconds=exposure_s), exposure_s)
    if memory is None or memory.static.shape != static.shape or not _recent(memory, start):
        finished = follow((), memory.open, 1)[1] if memory is not None else ()
        number = memory.next_number if memory is not None else 1
        return StreakResult((), finished, replace(fresh, next_number=number))
    # Another exposure time is another amount of light. What stood out before must not spill into
    # its surroundings under the filters: not its rest, nor the dark trail of what has moved on.
    difference = flat - float(exposure_s / memory.exposure_s) * memory.flat
    xp = namespace(difference)
    difference = xp.where(memory.static, xp.zeros_like(difference), difference)
    smooth = gaussian(difference, sigma) - gaussian(difference, 4.0 * sigma)
    # The largest of the cells around: a cell across a skyline shows the ground's lower noise too.
    noise = cv2.dilate(noise_on_grid(smooth, background.box, ~memory.static), np.ones((3, 3)))
    light, blocked = to_host(difference), to_host(memory.static)
    z = _significance(to_host(smooth), noise, background.box)
    z[blocked] = 0.0
    lines = [line for line in find_lines(z, blocked, sigma) if _believed(line, fwhm_px)]
    disturbed = len(lines) > MOST_STREAKS
    found = () if disturbed else tuple(
        _streak(line, light, start, exposure_s, fwhm_px, lens) for line in lines
    )  # fmt: skip
    streaks, finished, still_open, number = follow(found, memory.open, memory.next_number)
    kept = replace(fresh, open=still_open, next_number=number)
    return StreakResult(streaks, finished, kept, disturbed)


def _recent(memory: StreakMemory, start: datetime) -> bool:
    pause = (start - memory.end).total_seconds()
    return -1.0 <= pause <= LONGEST_PAUSE_S


def _static(flat: Array, box: int, sigma: float) -> Array:
    """Pixels at or near anything that stood out, ``(H, W)`` bool on the plane's device.

    Faint stars are left to the subtraction, which leaves a fraction of them; the brighter a source
    is, the farther what a small shift leaves of it stands out.
    """
    smooth = gaussian(flat, sigma)
    rest = starfield.over_noise(smooth, noise_on_grid(smooth, box), box)
    xp = namespace(flat)
    near = xp.astype(rest > STATIC_SIGMA, xp.float32)
    far = xp.astype(rest > BRIGHT_SIGMA, xp.float32)
    for _ in range(round(sigma + 1.0)):
        near = maximum3(near)
    for _ in range(round(2.0 * sigma + 3.0)):
        far = maximum3(far)
    return (near + far) > 0.5


def _significance(smooth: Floats, noise: Floats, box: int) -> Floats:
    return np.asarray(starfield.over_noise(smooth, noise, box), np.float32)


def _believed(line: Line, fwhm_px: float) -> bool:
    return (
        line.peak >= LEAST_PEAK
        and line.significance >= LEAST_SIGNIFICANCE
        and line.filled >= LEAST_FILLED
        and line.length_px >= LEAST_LENGTH_FWHM * fwhm_px
        and line.width_px <= WIDEST * fwhm_px
    )


def _streak(
    line: Line,
    difference: Floats,
    start: datetime,
    exposure_s: float,
    fwhm_px: float,
    lens: LensModel | None,
) -> Streak:
    directions = (np.nan,) * 4
    if lens is not None:
        alt, az = lens.unproject(np.array([line.x1, line.x2]), np.array([line.y1, line.y2]))
        directions = (float(alt[0]), float(az[0]), float(alt[1]), float(az[1]))
    return Streak(
        line.x1, line.y1, line.x2, line.y2, *directions,
        length_px=line.length_px,
        width_px=line.width_px,
        peak_snr=line.peak,
        snr=line.significance,
        flux=light_of(difference, line, 1.3 * fwhm_px),
        flashes=flashes(line.along, fwhm_px),
        start=start,
        exposure_s=exposure_s,
    )  # fmt: skip


__all__ = ["Kind", "Streak", "StreakMemory", "StreakResult", "Track", "find_streaks"]
