"""Profiles hand over without a jump, and every step can be watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.imaging.display import SkyHints, profile_weights
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import develop
from allsky360.model import Bracket, Exposure

WHEN = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)


def frame(seed: int = 0, sky: float = 4000.0) -> Exposure:
    rng = np.random.default_rng(seed)
    adu = rng.poisson(sky, (160, 200)) + 500.0
    start = WHEN + timedelta(seconds=30 * seed)
    return Exposure(adu.astype(np.uint16), "RGGB", start, 10.0, saturation_adu=60_000.0)


def test_weights_sum_to_one_and_move_smoothly() -> None:
    before: dict[str, float] = {}
    for step in np.linspace(0, 1, 400):
        hints = SkyHints(moonlight=step, cloudiness=step**2)
        weights = profile_weights("auto", 0.5 * step, hints)
        assert sum(weights.values()) == pytest.approx(1.0)
        if before:
            names = set(weights) | set(before)
            assert max(abs(weights.get(n, 0) - before.get(n, 0)) for n in names) < 0.05
        before = weights


def test_each_sky_has_its_profile() -> None:
    assert profile_weights("auto", 0.0, SkyHints()) == {"clear": 1.0}
    assert profile_weights("auto", 1.0, SkyHints()) == {"day": 1.0}
    assert profile_weights("auto", 0.0, SkyHints(moonlight=1.0)) == {"moonlit": 1.0}
    assert profile_weights("auto", 0.0, SkyHints(cloudiness=1.0)) == {"cloudy": 1.0}
    assert profile_weights("cloudy", 1.0, SkyHints()) == {"cloudy": 1.0}


def test_two_profiles_are_mixed_by_weight() -> None:
    dark = (("stretch", {"background": 0.1}),)
    bright = (("stretch", {"background": 0.5}),)
    profiles = ChainParameters().profiles | {"clear": dark, "moonlit": bright}
    parameters = ChainParameters(black_level_adu=500.0, profiles=profiles, white_balance="manual")

    def level(moonlight: float) -> float:
        picture = develop(Bracket((frame(),)), parameters, hints=SkyHints(moonlight)).picture
        return float(np.median(picture))

    low, middle, high = level(0.0), level(0.2), level(1.0)
    assert low < middle < high
    assert middle == pytest.approx((low + high) / 2, abs=3)


def test_moonlight_is_balanced_towards_daylight() -> None:
    parameters = ChainParameters(black_level_adu=500.0, red=2.0, blue=0.5)

    def gains(moonlight: float) -> np.ndarray:
        return np.asarray(
            develop(Bracket((frame(),)), parameters, hints=SkyHints(moonlight)).tone.gains
        )

    none, half, full = gains(0.0), gains(0.6), gains(1.0)
    away = [np.abs(np.log(g / np.asarray([2.0, 1.0, 0.5])))[[0, 2]] for g in (none, half, full)]
    assert np.all(away[1] < away[0])
    assert np.all(away[2] < away[1])


def test_every_step_can_be_watched() -> None:
    seen: list[str] = []
    parameters = ChainParameters(black_level_adu=500.0)
    develop(Bracket((frame(),)), parameters, watch=lambda name, image: seen.append(name))
    assert seen == ["balance", *(name for name, _ in parameters.profiles["clear"])]


def test_states_are_smoothed_from_frame_to_frame() -> None:
    parameters = ChainParameters(black_level_adu=500.0, tone_time_s=300.0)
    first = develop(Bracket((frame(),)), parameters)
    alone = develop(Bracket((frame(1, sky=8000.0),)), parameters)
    after = develop(Bracket((frame(1, sky=8000.0),)), parameters, tone=first.tone)
    key = next(k for k in first.tone.states if k.endswith("stretch"))
    old, new, mixed = (d.tone.states[key]["sky"][0] for d in (first, alone, after))
    away = (alone.tone.radiance - first.tone.radiance) / 0.5
    share = 1.0 - np.exp(-30.0 / 300.0 * (1.0 + away**4))
    assert mixed == pytest.approx(old + share * (new - old), rel=0.02)
