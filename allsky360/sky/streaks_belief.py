"""Which lines are believed to be streaks: as narrow as a star, longer than one, in a calm sky.

Edges of drifting clouds are long and can be thin, stars that come out from behind them short and
narrow. Three things tell them from a streak: the width of the mean profile across the line, the
length beyond what a point of the same brightness shows, and how rough the difference of the frames
is beside the line, at four times the width of a star. Where it is rough, more is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.sky.streaks_lines import Line, sample

Floats = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDE_PX, BAND_PX, AROUND_PX = 8, (9, 18), 40
BRILLIANT = 60.0
"""Brightest spot, sigmas, that clouds' edges do not reach. A brighter streak may be wider: its core
saturates, the wings of its image show."""

SHORT_FWHM = 5.0
WHITE = 0.275
"""Noise under a filter of four widths over that of the finding filter, for white noise."""


@dataclass(frozen=True)
class Limits:
    """What a line must have.

    Attributes
    ----------
    peak, significance
        Of its brightest spot and of the whole, sigmas, in a calm sky.
    filled
        Share of what can be seen of it that stands out.
    length_fwhm
        Length in widths of a star's image.
    widths
        Least and greatest width, in those of a star.
    troubled
        Significant lines in a frame that are no streaks from which on broken clouds are put down
        for them: then only what has ``troubled_significance`` in a calm place is believed, for the
        odd edge of a moonlit cloud is as narrow as a star.
    most
        Streaks in a frame beyond which none is believed: a shaken camera, a light.
    """

    peak: float = 4.5
    significance: float = 7.0
    filled: float = 0.75
    length_fwhm: float = 4.0
    widths: tuple[float, float] = (0.55, 1.4)
    troubled: int = 12
    troubled_significance: float = 40.0
    troubled_roughness: float = 2.5
    most: int = 15


def believed(
    line: Line,
    difference: Floats,
    blocked: Mask,
    noise: float,
    *,
    fwhm: float,
    sigma: float,
    trail: float,
    limits: Limits,
) -> bool:
    """Whether a line is believed.

    Parameters
    ----------
    line
        Of the significance map.
    difference, blocked
        ``(h, w)``: the frame less the one before, 0 where blocked.
    noise
        Of the filtered difference near the line.
    fwhm, sigma
        Width of a star in these pixels, and Gaussian width of the finding filter.
    trail
        Length a star is drawn out to within the exposure.
    """
    if not (
        line.peak >= limits.peak
        and line.significance >= limits.significance
        and line.filled >= limits.filled
    ):
        return False
    point = 2.0 * math.hypot(sigma, fwhm / 2.3548) * math.sqrt(2.0 * math.log(line.peak / 2.0))
    if line.length_px < max(limits.length_fwhm * fwhm, point + fwhm) + 1.5 * trail:
        return False
    low, high = limits.widths
    high *= max(1.0, math.sqrt(line.peak / BRILLIANT))
    if not low * fwhm <= width_of(line, difference, blocked) <= high * fwhm:
        return False
    rough = roughness_beside(line, difference, noise, sigma)
    return line.peak >= limits.peak * max(1.0, rough / 3.0) and (
        line.significance >= max(limits.significance, min(rough**2, 8.0 * rough))
    )


def on_star(line: Line, x: Double, y: Double, fwhm: float) -> bool:
    """Whether the brightest spot of a short line is a known star that came out of a cloud.

    ``x``, ``y`` are the stars' pixels ``(n,)``.
    """
    if line.length_px > SHORT_FWHM * fwhm or not x.size:
        return False
    at = float(line.low + np.nanargmax(line.along))
    px, py = line.path.at(np.array([at]))
    return bool(np.hypot(x - px[0], y - py[0]).min() < fwhm)


def troubled(doubted: Sequence[Line], limits: Limits) -> bool:
    """Whether a frame holds so many significant lines that are no streaks that clouds break up."""
    return sum(line.significance >= limits.significance for line in doubted) >= limits.troubled


def width_of(line: Line, difference: Floats, blocked: Mask) -> float:
    """Return the full width at half maximum of the mean profile across a line, pixels.

    Area over height, 1.064 FWHM for a bell; a slope of the sky beneath is taken off. Infinite where
    there is no light in the middle.
    """
    t = np.arange(line.low, line.high + 1, dtype=np.float64)
    strip = sample(difference, line.path, t, SIDE_PX, cv2.INTER_LINEAR)
    hidden = sample(blocked.view(np.uint8), line.path, t, 0, cv2.INTER_NEAREST)[0] > 0
    if hidden.all():
        return math.inf
    profile = strip[:, ~hidden].mean(axis=1).astype(np.float64)
    across = np.arange(-SIDE_PX, SIDE_PX + 1)
    sky = np.abs(across) >= 6
    profile -= np.polyval(np.polyfit(across[sky], profile[sky], 1), across)
    top = float(profile[np.abs(across) <= 1].max())
    return float(profile[np.abs(across) <= 5].sum()) / top / 1.064 if top > 0 else math.inf


def roughness_beside(line: Line, difference: Floats, noise: float, sigma: float) -> float:
    """Return how much rougher than noise the difference is beside a line, at four star widths.

    About 1 in a clear sky; the line's own light does not reach the bands that are looked at.
    """
    t = np.arange(line.low - 8, line.high + 9, dtype=np.float64)
    x, y = line.path.at(t)
    left, top = max(int(x.min()) - AROUND_PX, 0), max(int(y.min()) - AROUND_PX, 0)
    part = difference[top : int(y.max()) + AROUND_PX, left : int(x.max()) + AROUND_PX]
    if not part.size or noise <= 0:
        return math.inf
    broad = cv2.GaussianBlur(part, (0, 0), 4.0 * sigma)
    path = replace(line.path, x=line.path.x - left, y=line.path.y - top)
    near, far = BAND_PX
    strip = sample(broad, path, t, far, cv2.INTER_LINEAR)
    band = strip[np.abs(np.arange(-far, far + 1)) >= near]
    return float((band - np.median(band)).std() / (WHITE * noise))
