"""Linear statistics of one raw exposure, cheap enough to take between two exposures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.circle import Circle, estimate_circle
from allsky360.model import Exposure

#: Samples looked at, whatever the size of the sensor.
SAMPLES = 120_000
#: From this fraction of saturation on a pixel tells only "at least".
FULL = 0.97
#: Part of the image circle that is metered: the horizon, its trees and lamps stay outside.
METERED = 0.85
#: Without a known circle: a disc in the middle of the frame, this part of the shorter side.
DEFAULT_RADIUS = 0.4
BLOCKS = 48


@dataclass(frozen=True)
class RawStatistics:
    """What exposure control needs to know of one exposure.

    Levels are fractions of the range from ``black_adu`` to saturation.

    Attributes
    ----------
    level
        Median of the green pixels (of all pixels of a mono sensor) in the metered disc.
    uncertainty
        Standard error of ``level`` from pixel noise and digitisation.
    noise
        Standard deviation of a single pixel about its neighbour.
    saturated_fraction
        Part of the metered pixels of which any colour is full.
    outside_level
        Median outside the image circle; None while no circle is known or nothing lies outside.
    """

    level: float
    uncertainty: float
    noise: float
    saturated_fraction: float
    outside_level: float | None = None

    @property
    def saturated(self) -> bool:
        """Whether the median itself is full, so that ``level`` is only a lower bound."""
        return self.level >= 0.95 * FULL


def measure(
    exposure: Exposure, *, black_adu: float = 0.0, circle: Circle | None = None
) -> RawStatistics:
    """Measure level, noise and saturation of an exposure on a sparse grid.

    Parameters
    ----------
    exposure
        ``(H, W)`` mosaic or mono, or ``(H, W, 3)`` RGB, uint8 or uint16.
    black_adu
        Pedestal to subtract.
    circle
        Image circle, when known.
    """
    green, twin, others = _planes(exposure)
    inside, outside = _masks(green.shape, circle)
    values = green[inside]
    median, digit = _grouped_median(values)
    scale = exposure.saturation_adu - black_adu
    if scale <= 0:
        raise ValueError(
            f"camera.black_level_adu = {black_adu:g} is not below saturation, which is "
            f"{exposure.saturation_adu:g} ADU (camera.saturation_adu)"
        )
    difference = values.astype(np.int32) - twin[inside]
    # Median absolute deviation, floored by what the digitisation hides (w / sqrt 12).
    sigma = max(1.4826 * float(np.median(np.abs(difference))) / np.sqrt(2), digit / np.sqrt(12))
    full = FULL * exposure.saturation_adu
    saturated = values >= full
    for plane in others:
        saturated |= plane[inside] >= full
    around: float | None = None
    if circle is not None and int(outside.sum()) >= 200:
        around = (_grouped_median(green[outside])[0] - black_adu) / scale
    error = float(np.hypot(1.2533 * sigma / np.sqrt(values.size), 0.1 * digit))
    return RawStatistics(
        level=(median - black_adu) / scale,
        uncertainty=error / scale,
        noise=float(sigma) / scale,
        saturated_fraction=float(np.count_nonzero(saturated)) / values.size,
        outside_level=around,
    )


def find_circle(exposure: Exposure) -> Circle | None:
    """Look for the image circle in one exposure; None where the exposure does not show it."""
    green, twin, _ = _planes(exposure)
    side = max(1, min(green.shape) // BLOCKS)
    h, w = green.shape[0] // side, green.shape[1] // side
    if h == 0 or w == 0:
        return None

    def blocks(plane: NDArray[np.generic]) -> NDArray[np.float64]:
        cut = plane[: h * side, : w * side].reshape(h, side, w, side)
        return np.asarray(np.mean(cut.astype(np.float64), axis=(1, 3)))

    first, second = blocks(green), blocks(twin)
    noise = 1.4826 * float(np.median(np.abs(first - second))) / np.sqrt(2)
    found = estimate_circle((first + second) / 2, noise + 0.05)
    if found is None:
        return None
    part = h * side / green.shape[0]  # the blocks may leave out the last rows
    return Circle(found.x * part, found.y * part, found.radius * part)


def _planes(
    exposure: Exposure,
) -> tuple[NDArray[np.integer], NDArray[np.integer], tuple[NDArray[np.integer], ...]]:
    """Return sparse green samples, their like-coloured neighbours, and the other colours there."""
    px = exposure.pixels
    h, w = px.shape[:2]
    if px.ndim == 3 or exposure.pattern is None:
        step = max(1, int(np.sqrt(h * w / SAMPLES)))
        plane = px[..., 1] if px.ndim == 3 else px
        cut = plane[: h - 1 : step, : w - 1 : step]
        twin = plane[: h - 1 : step, 1:w:step]
        if px.ndim == 2:
            return cut, twin, ()
        return (
            cut,
            twin,
            tuple(px[: h - 1 : step, : w - 1 : step, c] for c in (0, 2)),
        )
    step = 2 * max(1, int(np.sqrt(h * w / 4 / SAMPLES)))
    h, w = h - h % 2, w - w % 2
    cells = {(y, x): px[y:h:step, x:w:step] for y in (0, 1) for x in (0, 1)}
    greens = [at for at, colour in zip(cells, exposure.pattern, strict=True) if colour == "G"]
    rest = [at for at in cells if at not in greens]
    return cells[greens[0]], cells[greens[1]], tuple(cells[at] for at in rest)


@lru_cache(maxsize=8)
def _masks(
    shape: tuple[int, ...], circle: Circle | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    h, w = shape
    y = ((np.arange(h) + 0.5) / h)[:, None]
    # The samples of a frame are square, so one unit, the frame's height, serves both axes.
    x = ((np.arange(w) + 0.5) / h)[None, :]
    if circle is None:
        cx, cy, radius = w / h / 2, 0.5, DEFAULT_RADIUS * min(1.0, w / h)
        outer = np.inf
    else:
        cx, cy, radius = circle.x, circle.y, METERED * circle.radius
        outer = 1.08 * circle.radius
    r = np.hypot(x - cx, y - cy)
    inside = r <= radius
    if not inside.any():
        inside = np.ones(shape, dtype=bool)
    return inside, r > outer


def _grouped_median(values: NDArray[np.integer]) -> tuple[float, float]:
    """Return the median, interpolated within its digit, and the width of the digit.

    A 14-bit camera writes steps of 4 ADU; the plain median could not see what lies between, and
    that is where a dark frame has its whole signal. Grouped median as in any statistics text: the
    values of the middle bin are taken as spread evenly over it.
    """
    counts = np.bincount(values)
    total = values.size
    below = np.cumsum(counts)
    middle = int(np.searchsorted(below, total / 2))
    filled = np.flatnonzero(counts)
    at = int(np.searchsorted(filled, middle))
    gaps = np.diff(filled[max(0, at - 2) : at + 3])
    width = float(gaps.min()) if gaps.size else 1.0
    before = float(below[middle] - counts[middle])
    return float(middle + width * ((total / 2 - before) / counts[middle] - 0.5)), width
