"""The model of the sky's background: non-negative fit, the Milky Way found, domes told from it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.imaging.filters import domes, milky_way
from allsky360.imaging.filters.nonnegative import solve_nonnegative
from allsky360.imaging.filters.sky_shapes import EXTINCTIONS, bumps, directions, natural_rise

RAYS = 72
RINGS_DEG = tuple(float(z) for z in 86.0 * (np.arange(24) + 0.5) / 24)
NATURAL = np.repeat(natural_rise(np.array(RINGS_DEG))[:, None], RAYS, axis=1)
ALL = np.ones((24, RAYS), bool)


def town(azimuth_deg: float, strength: float, height_deg: float, width_deg: float) -> np.ndarray:
    turn = (np.arange(RAYS) * 360.0 / RAYS - azimuth_deg + 180.0) % 360.0 - 180.0
    low = np.exp((np.array(RINGS_DEG) - 90.0) / height_deg)
    return strength * low[:, None] * np.exp(-0.5 * (turn / width_deg) ** 2)


def band(pole: np.ndarray, strength: float) -> np.ndarray:
    across = np.degrees(np.arcsin(directions(RINGS_DEG, RAYS) @ pole)).reshape(24, RAYS)
    return strength * np.exp(-0.5 * (across / 7.0) ** 2)


def veil_of(sky: np.ndarray, known: np.ndarray = ALL) -> np.ndarray:
    found = domes.fit(sky[..., None], known, RINGS_DEG)
    split = len(EXTINCTIONS)
    state = {"natural": list(found[:split].ravel()), "veil": list(found[split:].ravel())}
    return domes.evaluate(state, RINGS_DEG, RAYS, 1)[1][..., 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.booleans())
def test_the_answer_meets_the_conditions_of_the_minimum(seed: int, size: int, warm: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(size + 4, size)), rng.normal(size=size + 4)
    start = np.maximum(rng.normal(size=size), 0.0) if warm else None
    x = solve_nonnegative(a.T @ a, a.T @ b, start)
    pull = a.T @ (b - a @ x)
    assert (x >= 0).all()
    assert (pull < 1e-5 * np.abs(a.T @ b).max()).all()
    assert np.abs(pull[x > 0]).max(initial=0.0) < 1e-4 * np.abs(a.T @ b).max()


def test_bumps_add_up_to_one() -> None:
    np.testing.assert_allclose(bumps(np.linspace(-400.0, 400.0, 333), 12).sum(axis=-1), 1.0)


def test_domes_are_found_and_a_natural_sky_has_none() -> None:
    assert veil_of(NATURAL).max() < 0.01
    true = town(70.0, 3.0, 11.0, 30.0) + town(250.0, 1.0, 7.0, 60.0)
    found = veil_of(NATURAL + true)
    assert np.abs((found - true) / NATURAL).max() < 0.06
    # Where trees hide a tenth of the horizon, the rest tells.
    known = ALL.copy()
    known[18:, 10:17] = False
    hidden = np.where(known, NATURAL + true, 0.05)
    assert np.abs((veil_of(hidden, known) - true) / NATURAL)[known].max() < 0.08


def test_a_band_is_found_and_left_whatever_the_domes() -> None:
    pole = np.array([0.8, -0.5, 0.33])
    pole /= np.linalg.norm(pole)
    light = band(pole, 0.5)
    glow = town(40.0, 3.0, 11.0, 40.0)
    found = milky_way.find_pole((NATURAL + light + glow).ravel(), RINGS_DEG, RAYS)
    assert found is not None
    assert abs(found @ pole) > np.cos(np.radians(5.0))
    assert milky_way.find_pole((NATURAL + glow).ravel(), RINGS_DEG, RAYS) is None
    above = np.array(RINGS_DEG) < 80.0
    wrong = np.abs((veil_of(NATURAL + light + glow) - glow) / NATURAL)[above]
    assert wrong.max() < 0.08
    assert veil_of(NATURAL + light)[above].max() < 0.08


def test_a_sky_of_nothing_is_no_sky() -> None:
    assert domes.fit(np.zeros((24, RAYS, 3)), ALL, RINGS_DEG).max() == 0.0
    assert domes.fit(np.ones((24, RAYS, 3)), ~ALL, RINGS_DEG).max() == 0.0
