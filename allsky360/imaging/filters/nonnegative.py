"""Least squares without negative coefficients.

Lawson & Hanson (1974), in the form of Bro & de Jong (1997, J. Chemometrics 11, 393), which works on
the normal equations and may begin from a former answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 1e-7
"""Keeps coefficients finite that the equations do not determine."""
TOLERANCE = 1e-9


def solve_nonnegative(normal: Floats, right: Floats, start: Floats | None = None) -> Floats:
    """Return ``x >= 0`` that minimises ``x' normal x / 2 - right' x``.

    Parameters
    ----------
    normal
        ``(K, K)``, symmetric and positive semi-definite.
    right
        ``(K,)``.
    start
        ``(K,)``: what was above 0 before is tried first.
    """
    size = right.size
    normal = normal.copy()
    normal[np.diag_indices(size)] += RIDGE * float(np.trace(normal)) / size
    close = TOLERANCE * float(np.abs(right).max())
    free = np.zeros(size, bool) if start is None else start > 0
    found = np.zeros(size)
    for _ in range(4 * size):
        while free.any():
            trial = np.zeros(size)
            trial[free] = np.linalg.solve(normal[np.ix_(free, free)], right[free])
            bad = free & (trial <= 0)
            if not bad.any():
                found = trial
                break
            # As far towards it as all stay above 0; what comes to 0 is held there.
            steps = found[bad] / np.maximum(found[bad] - trial[bad], 1e-300)
            found = found + float(steps.min()) * (trial - found)
            free &= ~(bad & (found <= 1e-12 * max(float(found.max()), 1e-300)))
        else:
            found = np.zeros(size)
        pull = np.where(free, -np.inf, right - normal @ found)
        if not (pull > close).any():
            break
        free[int(np.argmax(pull))] = True
    return found
