"""Find the image circle of a fisheye lens, so that its dark surroundings bias no statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RAYS = 90
#: A block is sky when it is this far from the border's level to the centre's.
THRESHOLD = 0.15


@dataclass(frozen=True)
class Circle:
    """An image circle in fractions of the frame's height: centre x, y and radius.

    Fractions, so that it survives a change of binning.
    """

    x: float
    y: float
    radius: float

    def differs(self, other: Circle, tolerance: float = 0.05) -> bool:
        """Tell whether centre or radius differ by more than a fraction of the radius."""
        shift = float(np.hypot(self.x - other.x, self.y - other.y))
        return max(shift, abs(self.radius - other.radius)) > tolerance * self.radius


def estimate_circle(blocks: Float, noise: float) -> Circle | None:
    """Return the circle outside which a frame is dark; None rather than a guess.

    Parameters
    ----------
    blocks
        ``(h, w)`` mean levels of square blocks of the frame, linear, any unit.
    noise
        Standard deviation of a block from noise alone, same unit.

    Notes
    -----
    From the centre of the bright area rays go outward; each ends at the last bright block. A circle
    is fitted to the ends (algebraic fit, Kasa 1976), the worst dropped twice: trees and houses cut
    rays short, lamps lengthen them. Rays that reach the frame's edge say nothing and are left out.
    """
    h, w = blocks.shape
    if h < 16 or w < 16:
        return None
    e = max(2, min(h, w) // 16)
    corners = np.array(
        [np.median(c) for c in (blocks[:e, :e], blocks[:e, -e:], blocks[-e:, :e], blocks[-e:, -e:])]
    )
    dark = float(np.median(corners))
    bright = float(np.median(blocks[h // 3 : 2 * h // 3, w // 3 : 2 * w // 3]))
    contrast = bright - dark
    if contrast < 20 * noise or contrast <= 0 or np.ptp(corners) > 0.1 * contrast:
        return None
    sky = blocks > dark + THRESHOLD * contrast
    rows, columns = np.nonzero(sky)
    cy, cx = float(np.median(rows)), float(np.median(columns))
    ends = _ray_ends(sky, cx, cy)
    if len(ends) < 0.35 * RAYS:
        return None
    fit = _fit(ends)
    if fit is None:
        return None
    x, y, r, scatter = fit
    inside = 0 <= x < w and 0 <= y < h
    if not inside or not 0.15 * min(h, w) < r < 0.75 * max(h, w) or scatter > 0.05 * r:
        return None
    return Circle(float(x + 0.5) / h, float(y + 0.5) / h, float(r) / h)


def _ray_ends(sky: NDArray[np.bool_], cx: float, cy: float) -> Float:
    h, w = sky.shape
    reach = np.arange(0.0, np.hypot(h, w), 0.5)
    ends = []
    for angle in np.arange(RAYS) * (2 * np.pi / RAYS):
        xs = np.rint(cx + reach * np.cos(angle)).astype(int)
        ys = np.rint(cy + reach * np.sin(angle)).astype(int)
        within = (xs >= 0) & (xs < w) & (ys >= 0) & (ys < h)
        lit = np.flatnonzero(sky[ys[within], xs[within]])
        if len(lit) == 0:
            continue
        last = reach[lit[-1]]
        if lit[-1] >= int(within.sum()) - 3:
            continue  # still bright at the frame's edge
        ends.append((cx + last * np.cos(angle), cy + last * np.sin(angle)))
    return np.asarray(ends, dtype=np.float64).reshape(-1, 2)


def _fit(points: Float) -> tuple[float, float, float, float] | None:
    """Fit a circle; return x, y, radius and the median residual."""
    keep = points
    x = y = r = 0.0
    for _ in range(3):
        a = np.column_stack([keep, np.ones(len(keep))])
        solution, _, rank, _ = np.linalg.lstsq(a, -(keep**2).sum(axis=1), rcond=None)
        if rank < 3:
            return None
        x, y = float(-solution[0] / 2), float(-solution[1] / 2)
        r = float(np.sqrt(max(x * x + y * y - solution[2], 0.0)))
        residual = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - r)
        keep = points[residual <= max(3 * float(np.median(residual)), 1.0)]
        if len(keep) < 0.25 * RAYS:
            return None
    return x, y, r, float(np.median(residual))
