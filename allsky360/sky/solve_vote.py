"""Blind hypotheses of a lens: every scale, turn, mirroring and roundness votes for a centre.

A fisheye whose axis is near the zenith maps the sky to the plane by r = f (theta + kappa theta^3),
turned, perhaps mirrored, and shifted: to first order a tilt of the axis only moves the centre. So
for each (kappa, parity, f, rotation) of a grid the bright catalogue stars are laid into the plane,
and each pair of a found and a catalogue star names a centre. True pairs agree on one; false pairs
scatter. This is a generalised Hough transform (Ballard 1981) whose last two axes are the histogram
cells. A cell of some degrees forgives what the grid and the first-order picture leave.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allsky360.sky.solve_fit import Geometry

Float = NDArray[np.float64]

CELL_DEG = 2.2
#: Roundness of the four bases (1/12 to -1/6), each give or take 0.05; f takes up what lies between.
_KAPPAS = (-0.16, -0.08, 0.0, 0.09)
_WORKERS = 2


@dataclass(frozen=True)
class Hypothesis:
    """One guess: a geometry, the votes it got, and how unlikely those are by chance.

    ``surprise`` is v ln(v / expected) - (v - expected), the Poisson log-likelihood ratio.
    """

    geometry: Geometry
    votes: int
    surprise: float


def hypotheses(
    star_xy: Float,
    altitude_deg: Float,
    azimuth_deg: Float,
    width: int,
    height: int,
    *,
    focal_range_px: tuple[float, float],
    decentre_px: float,
    decentre_deg: float,
    per_field: int = 70,
    keep: int = 200,
    focal_step: float = 1.03,
    turns: int = 144,
) -> list[Hypothesis]:
    """Return the best guesses, most surprising first.

    Parameters
    ----------
    star_xy
        ``(N, 2)`` places of the brightest found stars, 30 to 80 of them.
    altitude_deg, azimuth_deg
        ``(M,)`` apparent directions of catalogue stars, brightest first, some hundreds: at each
        focal length the brightest ``per_field`` that could fall on the frame are used.
    focal_range_px
        Focal lengths to try.
    decentre_px, decentre_deg
        How far the zenith's place may be from the middle of the frame: the sum of both, the second
        turned to pixels at the axis.
    focal_step, turns
        Fineness of the grid of scales and turns.
    """
    theta = np.radians(90.0 - altitude_deg)
    az = np.radians(azimuth_deg)
    low, high = focal_range_px
    steps = int(np.ceil(np.log(high / low) / np.log(focal_step)))
    focals = low * focal_step ** np.arange(steps + 1)
    rotations = np.linspace(0.0, 2 * np.pi, turns, endpoint=False)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    places = np.ascontiguousarray(star_xy - middle, dtype=np.float64)
    jobs = [(kappa, parity) for kappa in _KAPPAS for parity in (-1, 1)]

    def run(job: tuple[float, int]) -> tuple[Any, Any]:
        kappa, parity = job
        rho = theta + kappa * theta**3
        u, v = parity * rho * np.sin(az), -rho * np.cos(az)
        return _vote(  # type: ignore[no-any-return]
            places,
            np.ascontiguousarray(np.stack([u, v], axis=1)),
            focals,
            parity * rotations,
            decentre_px,
            float(np.radians(decentre_deg)),
            float(np.radians(CELL_DEG)),
            float(np.hypot(width, height) / 2),
            per_field,
        )

    with ThreadPoolExecutor(_WORKERS) as pool:
        results = list(pool.map(run, jobs))
    votes = np.stack([r[0] for r in results]).astype(np.float64)  # (jobs, focals, rotations)
    centres = np.stack([r[1] for r in results])
    # By chance: what a typical turn of the same scale and roundness collects.
    expected = np.maximum(np.median(votes, axis=2, keepdims=True), 1.0)
    surprise = votes * np.log(np.maximum(votes, 1e-9) / expected) - (votes - expected)
    surprise[votes <= expected] = 0.0
    best = np.argsort(surprise, axis=None)[::-1][:keep]
    out = []
    for flat in best:
        j, i, k = (int(n) for n in np.unravel_index(flat, votes.shape))
        if votes[j, i, k] < 5:
            continue
        kappa, parity = jobs[j]
        cx, cy = centres[j, i, k] + middle
        values = np.array([cx, cy, focals[i], np.degrees(rotations[k]), 0.0, 0.0, kappa, 0.0, 0.0])
        geometry = Geometry(values, "equidistant", parity)
        out.append(Hypothesis(geometry, int(votes[j, i, k]), float(surprise[j, i, k])))
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _vote(
    stars: Any,
    plane: Any,
    focals: Any,
    turns: Any,
    decentre_px: float,
    decentre_rad: float,
    cell_rad: float,
    reach_px: float,
    per_field: int,
) -> Any:
    """Return votes ``(focals, turns)`` of the fullest 2 x 2 cells, and their mean centre."""
    votes = np.zeros((focals.size, turns.size), np.int32)
    centres = np.zeros((focals.size, turns.size, 2))
    n_star = stars.shape[0]
    order = np.argsort(stars[:, 0])  # by column, so that only stars within the window are looked at
    columns_px, rows_px = stars[order, 0].copy(), stars[order, 1].copy()
    used = np.empty((per_field, 2))
    for a in range(focals.size):
        f = focals[a]
        window = decentre_px + decentre_rad * f
        cells = max(2, int(np.ceil(2 * window / (cell_rad * f))))
        width = 2 * window
        size = width / cells
        per_px = (1.0 - 1e-12) / size
        count = np.zeros((cells + 1, cells + 1), np.int32)
        n_used = 0
        for m in range(plane.shape[0]):
            if np.hypot(plane[m, 0], plane[m, 1]) * f < reach_px + window and n_used < per_field:
                used[n_used] = plane[m]
                n_used += 1
        for b in range(turns.size):
            c, s = f * np.cos(turns[b]), f * np.sin(turns[b])
            count[:] = 0
            best, best_row, best_column = 0, 1, 1
            for m in range(n_used):
                px = c * used[m, 0] - s * used[m, 1] - window
                py = s * used[m, 0] + c * used[m, 1] - window
                i = np.searchsorted(columns_px, px)
                while i < n_star:
                    dx, dy = columns_px[i] - px, rows_px[i] - py
                    i += 1
                    if dx >= width:
                        break
                    if 0.0 <= dy < width:
                        row, column = int(dy * per_px), int(dx * per_px)
                        # A vote counts for the four blocks of 2 x 2 cells it lies in; a block is
                        # known by the corner its cells share.
                        for y in range(row, row + 2):
                            for x in range(column, column + 2):
                                count[y, x] += 1
                                if count[y, x] > best:
                                    best, best_row, best_column = count[y, x], y, x
            votes[a, b] = best
            centres[a, b, 0] = best_column * size - window
            centres[a, b, 1] = best_row * size - window
    return votes, centres
