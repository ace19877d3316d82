"""From a rough guess of a lens to a fit of all stars: more stars, smaller radius, more freedom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.lens import Projection
from allsky360.sky.match import match_points
from allsky360.sky.solve_fit import (
    Geometry,
    axis_angle,
    fit,
    project,
    project_with_angle,
    robust_sigma,
    shape,
)

Float = NDArray[np.float64]
Index = NDArray[np.intp]

_SHIFT_AND_TURN = (0, 1, 2, 3)
_BENT = (0, 1, 2, 3, 6)
_TILTED = (0, 1, 2, 3, 4, 5, 6)
FULL = (0, 1, 2, 3, 4, 5, 6, 7)

#: (found stars, catalogue stars, radius in degrees at the axis, free values) of the first steps.
_ROUGH = (
    (45, 70, 3.0, _SHIFT_AND_TURN),
    (45, 70, 2.6, _BENT),
    (60, 90, 2.2, _TILTED),
    (80, 120, 1.6, _TILTED),
    (100, 150, 1.1, _TILTED),
)
_FINE = (
    (150, 220, 0.8, _TILTED),
    (200, 300, 0.6, FULL),
    (300, 450, 0.4, FULL),
    (500, 700, 0.25, FULL),
    (800, 1100, 0.18, FULL),
)
_LEAST_RADIUS_PX = 1.5
#: After this step of the rough ones a guess must look better than chance.
_GIVE_UP_AFTER, _PROMISING = 2, 2.5
_FARTHEST = np.radians(100.0)


@dataclass(frozen=True, eq=False)
class Field:
    """The found stars and the sky of one frame, brightest first.

    Attributes
    ----------
    x, y
        ``(N,)`` found places, pixels.
    enu
        ``(M, 3)`` apparent directions of catalogue stars, brightest (with extinction) first.
    altitude_deg
        ``(M,)`` their altitudes.
    entry
        ``(M,)`` their index in the catalogue.
    width, height
        Of the frame.
    """

    x: Float
    y: Float
    enu: Float
    altitude_deg: Float
    entry: Index
    width: int
    height: int

    def only(self, chosen: NDArray[np.bool_]) -> Field:
        """Return the field with a part of the found stars."""
        return Field(
            self.x[chosen],
            self.y[chosen],
            self.enu,
            self.altitude_deg,
            self.entry,
            self.width,
            self.height,
        )


def predicted(field: Field, g: Geometry, limit: int) -> tuple[Index, Float, Float]:
    """Return which of the sky's stars fall on the frame, the ``limit`` brightest, and where."""
    # A frame that shows a tenth of the hemisphere shows a tenth of its stars.
    ahead = min(field.enu.shape[0], 20 * limit)
    x, y, theta = project_with_angle(g, field.enu[:ahead])
    with np.errstate(invalid="ignore"):
        on = (x > -1) & (x < field.width) & (y > -1) & (y < field.height)
    on &= theta < _FARTHEST
    chosen = np.flatnonzero(on)[:limit]
    return chosen, x[chosen], y[chosen]


def pairs(
    field: Field, g: Geometry, n_found: int, n_sky: int, radius_px: float
) -> tuple[Index, Index, float]:
    """Return pairs (found, sky) and the number of them expected by chance."""
    sky, px, py = predicted(field, g, n_sky)
    x, y = field.x[:n_found], field.y[:n_found]
    a, b = match_points(x, y, px, py, radius_px)
    # Chance goes with the area the predicted stars really fill (a disc of the same spread), not
    # with the frame's.
    near = np.pi * radius_px**2
    filled = max(4.0 * np.pi * float(np.std(px) * np.std(py)), near) if sky.size else near
    expected = x.size * min(1.0, sky.size * near / filled)
    return a, sky[b], expected


def surprise(found: float, expected: float) -> float:
    """Return the Poisson log-likelihood ratio of a count above its expectation, else 0."""
    if found <= expected:
        return 0.0
    return float(found * np.log(found / max(expected, 0.3)) - (found - expected))


def rough(field: Field, g: Geometry) -> tuple[Geometry, float]:
    """Improve a guess with the brightest stars; return it and its surprise."""
    score = 0.0
    for stage, (n_found, n_sky, radius_deg, free) in enumerate(_ROUGH):
        radius = max(np.radians(radius_deg) * g.values[2], _LEAST_RADIUS_PX)
        for _ in range(2):
            a, b, expected = pairs(field, g, n_found, n_sky, radius)
            if a.size < len(free):
                return g, 0.0
            g = fit(g, field.enu[b], field.x[a], field.y[a], free, steps=2)
        score = surprise(a.size, expected)
        if stage == _GIVE_UP_AFTER and score < _PROMISING:
            return g, 0.0
    return g, score


def fine(field: Field, g: Geometry) -> Geometry:
    """Fit ever more stars within an ever smaller radius."""
    for n_found, n_sky, radius_deg, free in _FINE:
        radius = max(np.radians(radius_deg) * g.values[2], _LEAST_RADIUS_PX)
        for _ in range(3):
            a, b, _ = pairs(field, g, n_found, n_sky, radius)
            if a.size < 2 * len(free):
                return g
            g = fit(g, field.enu[b], field.x[a], field.y[a], free, steps=4)
    return g


def settle(
    field: Field, g: Geometry, free: Sequence[int], n_sky: int
) -> tuple[Geometry, Index, Index, float]:
    """Fit all stars until the pairs stay the same.

    Returns
    -------
    geometry
        The fit.
    found, sky
        Its pairs.
    radius_px
        Their largest distance: five times the robust residual, at least 1 px.
    """
    radius = max(np.radians(0.18) * float(g.values[2]), _LEAST_RADIUS_PX)
    last = -1.0
    for _ in range(8):
        a, b, _ = pairs(field, g, field.x.size, n_sky, radius)
        if a.size <= len(free):
            break
        g = fit(g, field.enu[b], field.x[a], field.y[a], free)
        px, py = project(g, field.enu[b])
        spread = robust_sigma(np.concatenate([field.x[a] - px, field.y[a] - py]))
        if abs(radius - last) < 0.02 * radius:
            break
        last = radius
        radius = float(np.clip(5.0 * spread, 1.0, radius))
    a, b, _ = pairs(field, g, field.x.size, n_sky, radius)
    return g, a, b, radius


def rebased(g: Geometry, projection: Projection, field: Field, b: Index) -> Geometry:
    """Return the same lens on another base: k3, k5, k7 that keep the radii of the given stars."""
    top = float(np.max(axis_angle(g, field.enu[b]))) if b.size else 1.2
    theta = np.linspace(0.05, max(top, 0.3), 60)
    target = g.values[2] * shape(g.projection, theta, g.values[6:])
    # r = f base + (f k3) t^3 + (f k5) t^5: linear in f, f k3, f k5.
    columns = np.stack([shape(projection, theta, np.zeros(3)), theta**3, theta**5], axis=1)
    solution, *_ = np.linalg.lstsq(columns, target, rcond=None)
    values = g.values.copy()
    values[2] = solution[0]
    values[6:] = solution[1] / solution[0], solution[2] / solution[0], 0.0
    return Geometry(values, projection, g.parity)
