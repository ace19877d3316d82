"""Lines in a difference of two frames: pieces above the noise, joined and followed to their ends.

What comes in is a significance map: the difference under a filter as wide as a star's image, over
its noise. Connected pixels above a low limit that lie long and narrow are seeds. Each is fitted by
a line, the line is followed both ways for as long as the mean along it stays above the noise, and
seeds on one line are joined. The map's mean along the line, with the correlation the filter leaves
between neighbours taken into account, is the significance of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Double = NDArray[np.float64]

SEED_SIGMA = 3.0
SEED_ELONGATION = 2.2
WINDOW_PX = 9
GAP_PX = 24
SIDE_PX = 7


@dataclass(frozen=True, eq=False)
class Line:
    """A straight piece of light.

    Attributes
    ----------
    x1, y1, x2, y2
        Its ends, pixels.
    along
        ``(n,)`` significance every pixel from end to end; NaN where masked.
    significance
        Of the light along the whole line.
    peak
        Highest of ``along``.
    width_px
        Full width at half maximum across.
    filled
        Share of the line that stands out by 1.5 sigma or more.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    along: Double
    significance: float
    peak: float
    width_px: float
    filled: float

    @property
    def length_px(self) -> float:
        """Distance of the ends."""
        return float(np.hypot(self.x2 - self.x1, self.y2 - self.y1))


@dataclass(frozen=True)
class _Seed:
    x: float
    y: float
    dx: float
    dy: float
    half: float
    weight: float


def find_lines(
    z: Floats, static: NDArray[np.bool_], filter_sigma: float, *, most: int = 400
) -> list[Line]:
    """Find lines, most significant first.

    Parameters
    ----------
    z
        ``(H, W)`` float32 significance, 0 where masked.
    static
        ``(H, W)`` bool, True where nothing is to be seen (stars, outside the sky).
    filter_sigma
        Gaussian width of the filter behind ``z``, pixels.
    most
        Seeds followed, brightest first: a bound on the time a cloudy frame may take.
    """
    seeds = _seeds(z, filter_sigma, most)
    lines: list[Line] = []
    for seed in seeds:
        if any(_covers(line, seed, filter_sigma) for line in lines):
            continue
        line = _followed(z, static, seed, filter_sigma)
        if line is not None:
            lines.append(line)
    return sorted(_distinct(lines, filter_sigma), key=lambda line: -line.significance)


def _seeds(z: Floats, filter_sigma: float, most: int) -> list[_Seed]:
    """Return long, narrow groups of pixels above the limit."""
    shortest = 4.5 * filter_sigma
    above = (z > SEED_SIGMA).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    extent = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    fit = np.flatnonzero((extent >= shortest) & (np.arange(count) > 0))
    seeds = []
    for k in fit:
        left, top, width, height = stats[k, :4]
        box = (slice(top, top + height), slice(left, left + width))
        rows, columns = np.nonzero(labels[box] == k)
        weight = z[box][rows, columns].astype(np.float64)
        cx, cy = np.average(columns, weights=weight), np.average(rows, weights=weight)
        u, v = columns - cx, rows - cy
        a, b, c = (np.average(m, weights=weight) for m in (u * u, u * v, v * v))
        angle = 0.5 * np.arctan2(2 * b, a - c)
        long_ = np.sqrt(max(0.5 * (a + c) + np.hypot(0.5 * (a - c), b), 1e-9))
        short = np.sqrt(max(0.5 * (a + c) - np.hypot(0.5 * (a - c), b), 0.05))
        if long_ < SEED_ELONGATION * short:
            continue
        dx, dy = np.cos(angle), np.sin(angle)
        half = float(np.abs(u * dx + v * dy).max())
        seeds.append(_Seed(cx + left, cy + top, dx, dy, half, float(weight.sum())))
    return sorted(seeds, key=lambda s: -s.weight)[:most]


def _covers(line: Line, seed: _Seed, filter_sigma: float) -> bool:
    ux, uy = (line.x2 - line.x1), (line.y2 - line.y1)
    length = max(float(np.hypot(ux, uy)), 1e-9)
    ux, uy = ux / length, uy / length
    t = (seed.x - line.x1) * ux + (seed.y - line.y1) * uy
    off = abs((seed.x - line.x1) * uy - (seed.y - line.y1) * ux)
    return -3.0 <= t <= length + 3.0 and off < 3.0 * filter_sigma + 1.0


def _strip(
    z: Floats, x: float, y: float, dx: float, dy: float, low: int, high: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Sample the map along a line, ``(across, along)``, and where that is inside the picture."""
    t = np.arange(low, high + 1, dtype=np.float32)[None, :]
    a = np.arange(-SIDE_PX, SIDE_PX + 1, dtype=np.float32)[:, None]
    px, py = (x + t * dx - a * dy).astype(np.float32), (y + t * dy + a * dx).astype(np.float32)
    height, width = z.shape
    inside = (px[SIDE_PX] >= 0) & (px[SIDE_PX] <= width - 1)
    inside &= (py[SIDE_PX] >= 0) & (py[SIDE_PX] <= height - 1)
    out = cv2.remap(z, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(out, np.float32), np.asarray(inside)


def _followed(
    z: Floats, static: NDArray[np.bool_], seed: _Seed, filter_sigma: float
) -> Line | None:
    """Fit a line to a seed and follow it to its ends."""
    x, y, dx, dy, half = seed.x, seed.y, seed.dx, seed.dy, seed.half
    reach = int(max(z.shape))
    low, high = -round(half), round(half)
    for _ in range(3):
        strip, inside = _strip(z, x, y, dx, dy, -reach, reach)
        blocked, _ = _strip(static.astype(np.float32), x, y, dx, dy, -reach, reach)
        near = strip[SIDE_PX - 1 : SIDE_PX + 2]
        along = np.where(blocked[SIDE_PX] > 0.3, np.nan, near.max(axis=0)).astype(np.float64)
        along[~inside] = np.nan
        low, high = _ends(along, inside, low + reach, high + reach)
        low, high = low - reach, high - reach
        if high - low < 4:
            return None
        # Turn and shift the line to the light across it.
        part = np.maximum(strip[:, low + reach : high + reach + 1].astype(np.float64), 0.0)
        part = np.where(part > 1.5, part, 0.0)
        across = np.arange(-SIDE_PX, SIDE_PX + 1, dtype=np.float64)
        part[np.abs(across) > 4] = 0.0
        weight = part.sum(axis=0)
        use = weight > 0
        if use.sum() < 4:
            return None
        t = np.arange(low, high + 1, dtype=np.float64)[use]
        offset = (part * across[:, None]).sum(axis=0)[use] / weight[use]
        if np.ptp(t) < 3:
            return None
        slope, shift = np.polyfit(t, offset, 1, w=np.sqrt(np.minimum(weight[use], 50.0)))
        turn = np.arctan(slope)
        x, y = x - shift * dy, y + shift * dx
        dx, dy = dx * np.cos(turn) - dy * np.sin(turn), dy * np.cos(turn) + dx * np.sin(turn)
    return _measured(along[low + reach : high + reach + 1], strip, low, high, reach, x, y, dx, dy,
                     filter_sigma)  # fmt: skip


def _ends(along: Double, inside: NDArray[np.bool_], low: int, high: int) -> tuple[int, int]:
    """Grow a piece while the mean of a window beyond its end stands out; gaps may be masked."""
    high = _end(along, inside, high)
    low = along.size - 1 - _end(along[::-1], inside[::-1], along.size - 1 - low)
    # Draw back to the last pixel that stands out itself.
    with np.errstate(invalid="ignore"):
        lit = np.flatnonzero(along[low : high + 1] > 2.0)
    if not lit.size:
        return low, low
    return low + int(lit[0]), low + int(lit[-1])


def _end(along: Double, inside: NDArray[np.bool_], end: int) -> int:
    last, k = end, end
    while k + WINDOW_PX < along.size and k - last <= GAP_PX and inside[k]:
        window = along[k + 1 : k + 1 + WINDOW_PX]
        seen = window[np.isfinite(window)]
        if seen.size >= WINDOW_PX // 2 and seen.mean() > 1.7:
            last = k + WINDOW_PX
        k += WINDOW_PX // 3
    return last


def _measured(
    along: Double,
    strip: Floats,
    low: int,
    high: int,
    reach: int,
    x: float,
    y: float,
    dx: float,
    dy: float,
    filter_sigma: float,
) -> Line | None:
    seen = along[np.isfinite(along)]
    if seen.size < 5:
        return None
    correlated = 2.0 * np.sqrt(np.pi) * filter_sigma
    significance = float(seen.sum() / np.sqrt(seen.size * correlated))
    profile = np.median(strip[:, low + reach : high + reach + 1], axis=1).astype(np.float64)
    profile -= np.median(np.concatenate([profile[:2], profile[-2:]]))
    top = profile[SIDE_PX - 1 : SIDE_PX + 2].max()
    width = float(profile.clip(min=0.0).sum() / top) if top > 0 else np.inf
    # The filter widens what it sees; an area over a height is 1.064 FWHM for a bell.
    seen_fwhm = width / 1.064
    return Line(
        x1=x + low * dx,
        y1=y + low * dy,
        x2=x + high * dx,
        y2=y + high * dy,
        along=along,
        significance=significance,
        peak=float(seen.max()),
        width_px=float(np.sqrt(max(seen_fwhm**2 - (2.3548 * filter_sigma) ** 2, 0.25))),
        filled=float(np.mean(seen > 1.5)),
    )


def _distinct(lines: list[Line], filter_sigma: float) -> list[Line]:
    """Leave out lines that lie on a more significant one."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda one: -one.significance):
        mx, my = 0.5 * (line.x1 + line.x2), 0.5 * (line.y1 + line.y2)
        middle = _Seed(mx, my, 0.0, 0.0, 0.0, 0.0)
        if not any(_covers(other, middle, 1.5 * filter_sigma) for other in kept):
            kept.append(line)
    return kept


def light_of(difference: Floats, line: Line, half_width_px: float) -> float:
    """Return the light of a line in the unit of a plane: its strip less what lies beside it."""
    length = max(line.length_px, 1.0)
    dx, dy = (line.x2 - line.x1) / length, (line.y2 - line.y1) / length
    extra = round(half_width_px)
    strip, _ = _strip(difference, line.x1, line.y1, dx, dy, -extra, round(length) + extra)
    across = np.abs(np.arange(-SIDE_PX, SIDE_PX + 1))
    core = across <= half_width_px
    beside = strip[(across > half_width_px + 0.5)]
    return float((strip[core] - np.median(beside, axis=0)).sum())
