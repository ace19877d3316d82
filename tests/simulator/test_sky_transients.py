from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from allsky360.model import Site
from allsky360.simulator.sky import SkyConditions, SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription
from allsky360.simulator.transients import Streak, TransientRates, transients_during

START = datetime(2026, 7, 14, 0, 0, tzinfo=UTC)
BUSY = TransientRates(meteors=120, satellites=120, aircraft=60)


def during(seconds: float, length: float, rates=BUSY, sun=-20.0) -> list[Streak]:
    return transients_during(5, START + timedelta(seconds=seconds), length, rates, sun)


def dwell(streaks: list[Streak]) -> float:
    return float(sum(s.seconds.sum() for s in streaks))


def test_cutting_time_differently_loses_nothing() -> None:
    whole = dwell(during(0, 120))
    parts = sum(dwell(during(10.0 * k, 10.0)) for k in range(12))
    assert whole > 0
    assert parts == pytest.approx(whole, rel=0.02)


def test_rates_are_kept() -> None:
    found = [s.kind for s in during(0, 3600, TransientRates(90, 0, 0))]
    assert set(found) == {"meteor"}
    assert len(found) == pytest.approx(90, abs=35)
    assert during(0, 3600, TransientRates(0, 0, 0)) == []


def test_satellites_need_the_sun_and_nothing_flies_by_day() -> None:
    only = TransientRates(0, 200, 0)
    assert during(0, 60, only, sun=-20)
    assert during(0, 60, only, sun=-45) == []
    assert during(0, 60, BUSY, sun=10) == []


def test_paths_are_on_the_sphere_above_the_horizon() -> None:
    for streak in during(0, 600):
        np.testing.assert_allclose(np.linalg.norm(streak.vectors, axis=1), 1.0, atol=1e-9)
        assert streak.vectors[:, 2].min() > 0
        assert streak.seconds.shape == streak.v_mag.shape == streak.vectors.shape[:1]


def test_truth_ends_lie_on_the_drawn_streak() -> None:
    site = Site("La Palma", 28.7606, -17.8816, 2326.0)
    sensor = SensorDescription(width=604, height=504, pattern=None)
    empty = SkyConditions(
        cloud_cover=0.0,
        stars=False,
        bodies=False,
        milky_way=False,
        transients=TransientRates(0, 0, 0),
    )
    busy = replace(empty, transients=TransientRates(0, 600, 0))
    request = ExposureRequest(START - timedelta(hours=2), 20.0)
    source = SkySource(site, sensor, conditions=busy)
    truth = source.expose(request).truth["transients"]
    extra = source.expected_electrons(request) - SkySource(
        site, sensor, conditions=empty
    ).expected_electrons(request)
    assert len(truth) > 5
    near = cv2.dilate((extra > 0.5).astype(np.uint8), np.ones((5, 5), np.uint8))
    for streak in truth:
        if sum(streak["electrons"]) < 3000:
            continue
        for x, y in zip(streak["x"], streak["y"], strict=True):
            assert near[round(y), round(x)] == 1
    assert extra.sum() == pytest.approx(sum(sum(t["electrons"]) for t in truth), rel=0.02)
