"""Which projection, and how many polynomial terms: judged by held-out residuals.

An odd polynomial to theta^7 on any base fits any fisheye, so the base is a name for the one that
needs least: the held-out loss decides, and a further term must lower it by two per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.lens import Projection
from allsky360.sky.solve_fit import Geometry, fit, project, robust_sigma
from allsky360.sky.solve_refine import Field, Index, rebased

Float = NDArray[np.float64]

PROJECTIONS: tuple[Projection, ...] = (
    "equidistant",
    "equisolid",
    "stereographic",
    "orthographic",
)
_TERM_MUST_GAIN = 0.02
_STARS_PER_TERM = 40
#: Largest coefficients of a lens worth the name of its base.
_MOST = (0.12, 0.05, 0.03)


@dataclass(frozen=True, eq=False)
class Choice:
    """One base with one number of terms, fitted."""

    geometry: Geometry
    free: tuple[int, ...]
    loss: float


def select(
    field: Field, fitted: tuple[Index, Index], held: Field, kept: tuple[Index, Index], g: Geometry
) -> list[Choice]:
    """Return every base with up to three terms, best first.

    Parameters
    ----------
    field, fitted
        Stars to fit, and their pairs (found, sky).
    held, kept
        Held-out stars, and theirs; where too few, the fitted ones judge.
    g
        The lens so far.
    """
    a, b = fitted
    judge, (c, d) = (held, kept) if kept[0].size >= 12 else (field, fitted)
    px, py = project(g, judge.enu[d])
    scale = max(robust_sigma(np.concatenate([judge.x[c] - px, judge.y[c] - py])), 0.02)
    choices = []
    for base in PROJECTIONS:
        start = rebased(g, base, field, b)
        for terms in range(4):
            if terms > 1 and a.size < _STARS_PER_TERM * terms:
                continue
            free = tuple(range(6 + terms))
            values = start.values.copy()
            values[6 + terms :] = 0.0
            fitted_g = fit(start.with_values(values), field.enu[b], field.x[a], field.y[a], free)
            if np.any(np.abs(fitted_g.values[6:]) > _MOST):
                continue
            px, py = project(fitted_g, judge.enu[d])
            miss = np.hypot(judge.x[c] - px, judge.y[c] - py) / scale
            loss = float(np.mean(np.where(miss < 2.0, miss**2, 4.0 * miss - 4.0)))
            choices.append(Choice(fitted_g, free, loss))
    choices.sort(key=lambda choice: choice.loss * (1.0 + _TERM_MUST_GAIN) ** len(choice.free))
    return choices
