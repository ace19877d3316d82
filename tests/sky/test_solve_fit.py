"""The fit's own projection and derivatives, against the lens model and against differences."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.sky.lens import Projection
from allsky360.sky.solve_fit import NAMES, Geometry, jacobian, project, unit_vectors

VALUES = np.array([500.0, 480.0, 300.0, 37.0, 2.0, -1.5, -0.04, 0.01, 0.002])


@pytest.mark.parametrize("parity", [-1, 1])
@pytest.mark.parametrize("base", ["equidistant", "equisolid", "stereographic", "orthographic"])
def test_places_and_derivatives(base: Projection, parity: int) -> None:
    chance = np.random.default_rng(1)
    altitude, azimuth = chance.uniform(5, 89.5, 50), chance.uniform(0, 360, 50)
    values = VALUES.copy()
    if base == "orthographic":
        values[6:] = 0.0  # else its radius shrinks again near the horizon, which no lens does
    g, enu = Geometry(values, base, parity), unit_vectors(altitude, azimuth)

    x, y, seen = g.lens(1000, 960, 95.0).project(altitude, azimuth)
    np.testing.assert_allclose(np.stack(project(g, enu))[:, seen], np.stack([x, y])[:, seen])
    assert seen.sum() > 30

    found = jacobian(g, enu, range(9))
    for k in range(len(NAMES)):
        step = np.zeros(9)
        step[k] = 1e-5 * max(1.0, abs(values[k]))
        above, below = (
            np.concatenate(project(g.with_values(values + way), enu)) for way in (step, -step)
        )
        slope = (above - below) / (2 * step[k])
        assert np.abs(found[:, k] - slope).max() < 1e-6 * max(1.0, np.abs(slope).max()), NAMES[k]
