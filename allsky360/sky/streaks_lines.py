"""Lines in a difference of two frames: pieces above the noise, joined and followed to their ends.

What comes in is a significance map: the difference under a filter as wide as a star's image, over
its noise. Connected pixels above a low limit that lie long and narrow are seeds. Each is fitted by
a line, which is followed both ways for as long as the mean along it stays above the noise and
fitted again; a long one may bend, as great circles do in a fisheye (a parabola). Seeds on a line
already followed belong to it. The sum along the line, with the correlation that the filter leaves
between neighbours taken into account, is the significance of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]

SEED_SIGMA = 3.0
SEED_ELONGATION = 2.0
SEED_LENGTH = 4.0
"""Extent of a seed in widths (sigma) of the filter."""

GROW_SIGMA, LIT_SIGMA, FAINT_SHARE = 1.9, 2.0, 0.05
WINDOW_PX, GAP_PX = 9, 20
SIDE_PX, FIT_PX = 6, 3
BENDS_FROM_PX = 40
ROUNDS = 8


@dataclass(frozen=True)
class Path:
    """A parabola: ``(x, y) + t (dx, dy) + (c0 + c1 t + c2 t^2) (-dy, dx)``, t in pixels."""

    x: float
    y: float
    dx: float
    dy: float
    bend: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, t: Double, across: Double | float = 0.0) -> tuple[Double, Double]:
        """Return pixel positions; ``across`` pixels beside the path."""
        c0, c1, c2 = self.bend
        off = c0 + t * (c1 + t * c2) + across
        return self.x + t * self.dx - off * self.dy, self.y + t * self.dy + off * self.dx

    def offset(self, x: float, y: float) -> tuple[float, float]:
        """Return where along (t) and how far beside the path a pixel lies."""
        u, v = x - self.x, y - self.y
        t = u * self.dx + v * self.dy
        c0, c1, c2 = self.bend
        return t, v * self.dx - u * self.dy - (c0 + t * (c1 + t * c2))


@dataclass(frozen=True, eq=False)
class Line:
    """A long, narrow piece of light.

    Attributes
    ----------
    path, low, high
        Its course, and where on it it begins and ends.
    along
        ``(n,)`` significance at every pixel from end to end; NaN where masked.
    significance
        Of the light along the whole line.
    peak
        Highest of ``along``.
    filled
        Share of what can be seen of the line that stands out by 1.5 sigma or more.
    hidden
        Share of the line that is masked.
    """

    path: Path
    low: int
    high: int
    along: Double
    significance: float
    peak: float
    filled: float
    hidden: float

    @property
    def length_px(self) -> float:
        """Length between the ends."""
        return float(self.high - self.low)

    def points(self, count: int) -> tuple[Double, Double]:
        """Return ``count`` positions from end to end, pixels."""
        return self.path.at(np.linspace(self.low, self.high, count))


@dataclass(frozen=True)
class _Seed:
    x: float
    y: float
    dx: float
    dy: float
    half: float


def find_lines(z: Floats, blocked: Mask, filter_sigma: float, *, most: int = 60) -> list[Line]:
    """Find lines, most significant first.

    Parameters
    ----------
    z
        ``(H, W)`` float32 significance, 0 where blocked.
    blocked
        ``(H, W)`` bool, True where nothing is to be seen (stars, outside the sky).
    filter_sigma
        Gaussian width of the filter behind ``z``, pixels.
    most
        Seeds followed, brightest first: a bound on the time a cloudy frame may take.
    """
    lines: list[Line] = []
    hidden = blocked.view(np.uint8)
    for seed in _seeds(z, filter_sigma)[:most]:
        if any(_on(line, seed.x, seed.y, filter_sigma) for line in lines):
            continue
        line = _followed(z, hidden, seed, filter_sigma)
        if line is not None:
            lines.append(line)
    return _distinct(lines, filter_sigma)


def _seeds(z: Floats, filter_sigma: float) -> list[_Seed]:
    """Return long, narrow groups of pixels above the limit, brightest first."""
    above = z > SEED_SIGMA
    count, labels = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    rows, columns = np.divmod(np.flatnonzero(above), z.shape[1])
    if not rows.size:
        return []
    name = labels[rows, columns]
    w = z[rows, columns].astype(np.float64)
    x, y = columns.astype(np.float64), rows.astype(np.float64)

    def total(values: Double) -> Double:
        return np.asarray(np.bincount(name, values, count)[1:], np.float64)

    n, weight = np.bincount(name, minlength=count)[1:], total(w)
    cx, cy = total(w * x) / weight, total(w * y) / weight
    u, v = x - cx[name - 1], y - cy[name - 1]
    a, b, c = total(w * u * u) / weight, total(w * u * v) / weight, total(w * v * v) / weight
    root = np.hypot(0.5 * (a - c), b)
    long_ = np.sqrt(np.maximum(0.5 * (a + c) + root, 1e-9))
    short = np.sqrt(np.maximum(0.5 * (a + c) - root, 0.05))
    half = 1.75 * long_  # of an even line the half length is sqrt(3) times the deviation
    good = (n >= 4) & (2.0 * half >= SEED_LENGTH * filter_sigma)
    good &= long_ >= SEED_ELONGATION * short
    angle = 0.5 * np.arctan2(2.0 * b, a - c)
    order = np.flatnonzero(good)
    order = order[np.argsort(-weight[order], kind="stable")]
    return [
        _Seed(cx[k], cy[k], float(np.cos(angle[k])), float(np.sin(angle[k])), max(half[k], 2.0))
        for k in map(int, order)
    ]


def _on(line: Line, x: float, y: float, filter_sigma: float) -> bool:
    t, off = line.path.offset(x, y)
    return line.low - 3.0 <= t <= line.high + 3.0 and abs(off) < 3.0 * filter_sigma + 1.0


def sample(image: NDArray[np.generic], path: Path, t: Double, side: int, how: int) -> Floats:
    """Return an image along a path, ``(2 side + 1, n)`` float32; 0 outside.

    ``t`` ``(n,)`` are places along it, ``how`` OpenCV's interpolation.
    """
    across = np.arange(-side, side + 1, dtype=np.float64)[:, None]
    px, py = path.at(t[None, :], across)
    out = cv2.remap(
        image, px.astype(np.float32), py.astype(np.float32), how, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(out, np.float32)


def _range(path: Path, shape: tuple[int, ...]) -> Double:
    """Return the whole numbers t for which the path may lie in the picture."""
    low, high = -1e9, 1e9
    for at, step, size in ((path.x, path.dx, shape[1]), (path.y, path.dy, shape[0])):
        if abs(step) > 1e-9:
            ends = sorted(((-at) / step, (size - 1 - at) / step))
            low, high = max(low, ends[0]), min(high, ends[1])
    bow = 30.0  # a bent path may come back in
    return np.arange(np.floor(max(low - bow, -30000)), np.ceil(min(high + bow, 30000)) + 1.0)


def _followed(z: Floats, hidden: NDArray[np.uint8], seed: _Seed, sigma: float) -> Line | None:
    """Fit a path to a seed and follow it to its ends."""
    path = Path(seed.x, seed.y, seed.dx, seed.dy)
    low, high = -round(seed.half), round(seed.half)
    height, width = z.shape
    for turn in range(ROUNDS):
        t = _range(path, z.shape)
        first = int(t[0])
        strip = sample(z, path, t, SIDE_PX, cv2.INTER_LINEAR)
        px, py = path.at(t)
        inside = (px >= 0) & (px <= width - 1) & (py >= 0) & (py <= height - 1)
        unseen = sample(hidden, path, t, 0, cv2.INTER_NEAREST)[0] > 0
        along = strip[SIDE_PX - 1 : SIDE_PX + 2].max(axis=0).astype(np.float64)
        along[unseen | ~inside] = np.nan
        a, b = (int(np.clip(k - first, 0, t.size - 1)) for k in (low, high))
        before = (low, high)
        a, b = _ends(along, inside, a, b)
        low, high = a + first, b + first
        if high - low < 3:
            return None
        if turn >= 2 and abs(low - before[0]) <= 1 and abs(high - before[1]) <= 1:
            break
        fitted = _fitted(path, strip[:, a : b + 1], unseen[a : b + 1], t[a : b + 1])
        if fitted is None:
            return None
        path = fitted
    return _measured(z, hidden, path, low, high, sigma)


def _fitted(path: Path, strip: Floats, unseen: Mask, t: Double) -> Path | None:
    """Turn, shift and bend the path to the light across it."""
    core = strip[SIDE_PX - FIT_PX : SIDE_PX + FIT_PX + 1].astype(np.float64)
    core = np.where(core > 1.5, core, 0.0)
    core[:, unseen] = 0.0
    weight = core.sum(axis=0)
    use = weight > 0
    if np.count_nonzero(use) < 4 or np.ptp(t[use]) < 3:
        return None
    across = np.arange(-FIT_PX, FIT_PX + 1, dtype=np.float64)
    off = (core[:, use] * across[:, None]).sum(axis=0) / weight[use]
    t, weight = t[use], np.sqrt(np.minimum(weight[use], 50.0))
    c0, c1, c2 = path.bend
    off = off + c0 + t * (c1 + t * c2)
    if np.ptp(t) > BENDS_FROM_PX:
        c2, c1, c0 = np.polyfit(t, off, 2, w=weight)
        bend = (float(c0), float(c1), float(c2))
        return Path(path.x, path.y, path.dx, path.dy, bend)
    slope, shift = np.polyfit(t, off, 1, w=weight)
    turn = float(np.arctan(slope))
    x, y = path.x - shift * path.dy, path.y + shift * path.dx
    dx = path.dx * np.cos(turn) - path.dy * np.sin(turn)
    dy = path.dy * np.cos(turn) + path.dx * np.sin(turn)
    return Path(float(x), float(y), float(dx), float(dy))


def _ends(along: Double, inside: Mask, low: int, high: int) -> tuple[int, int]:
    """Grow a piece while the mean of a window beyond its end stands out; gaps may be masked."""
    piece = along[low : high + 1]
    # Beside a bright line noise is no continuation: what goes on has a share of its brightness.
    faintest = FAINT_SHARE * float(np.nanmax(piece, initial=0.0))
    high = _end(along, inside, high, max(GROW_SIGMA, faintest))
    low = (
        along.size
        - 1
        - _end(along[::-1], inside[::-1], along.size - 1 - low, max(GROW_SIGMA, faintest))
    )
    # Draw back to the last pixel that stands out itself.
    with np.errstate(invalid="ignore"):
        lit = np.flatnonzero(along[low : high + 1] > max(LIT_SIGMA, faintest))
    if not lit.size:
        return low, low
    return low + int(lit[0]), low + int(lit[-1])


def _end(along: Double, inside: Mask, end: int, least: float) -> int:
    last, k = end, end
    while k + WINDOW_PX < along.size and k - last <= GAP_PX and inside[k]:
        window = along[k + 1 : k + 1 + WINDOW_PX]
        seen = window[np.isfinite(window)]
        if seen.size >= WINDOW_PX // 2 and seen.mean() > least:
            last = k + WINDOW_PX
        k += WINDOW_PX // 3
    return last


def _measured(
    z: Floats, hidden: NDArray[np.uint8], path: Path, low: int, high: int, sigma: float
) -> Line | None:
    t = np.arange(low, high + 1, dtype=np.float64)
    unseen = sample(hidden, path, t, 0, cv2.INTER_NEAREST)[0] > 0
    along = sample(z, path, t, 0, cv2.INTER_LINEAR)[0].astype(np.float64)
    seen = along[~unseen]
    if seen.size < 4:
        return None
    correlated = max(2.0 * np.sqrt(np.pi) * sigma, 1.0)
    return Line(
        path,
        low,
        high,
        np.where(unseen, np.nan, along),
        significance=float(seen.sum() / np.sqrt(seen.size * correlated)),
        peak=float(seen.max()),
        filled=float(np.mean(seen > 1.5)),
        hidden=float(np.mean(unseen)),
    )


def _distinct(lines: list[Line], filter_sigma: float) -> list[Line]:
    """Leave out lines that lie on a more significant one."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda one: -one.significance):
        x, y = line.path.at(np.array([0.5 * (line.low + line.high)]))
        if not any(_on(other, float(x[0]), float(y[0]), 1.5 * filter_sigma) for other in kept):
            kept.append(line)
    return kept
