"""A frame of the simulated sky, measured: every number against what really was there."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from allsky360.config import Settings
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.steps import StepLog
from allsky360.measure.frame import Measurement, measure_frame
from allsky360.measure.memory import SkyMemory
from allsky360.measure.names import DESCRIPTIONS, descriptions
from allsky360.model import Bracket, Site
from allsky360.processing.records import plain
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
NIGHT = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 13, 13, 0, tzinfo=UTC)


@lru_cache(maxsize=2)
def source(cloud_cover: float) -> SkySource:
    settings = Settings(
        simulator={"width": 1200, "height": 900, "cloud_cover": cloud_cover}  # type: ignore[arg-type]
    )
    return SkySource.from_settings(settings, SITE)


@lru_cache(maxsize=4)
def shot(
    cloud_cover: float, when: datetime, exposure_s: float
) -> tuple[LinearFrame, dict[str, Any]]:
    request = ExposureRequest(start=when, exposure_s=exposure_s, gain=0.0)
    frame = source(cloud_cover).expose(request)
    exposure = as_exposure(frame, request)
    return linearise(Bracket((exposure,)), ChainParameters(), StepLog()), frame.truth


def measured(cloud_cover: float = 0.0, memory: SkyMemory | None = None) -> Measurement:
    frame, _ = shot(cloud_cover, NIGHT, 10.0)
    return measure_frame(frame, SITE, lens=source(cloud_cover).lens, memory=memory)


def test_a_clear_night_in_numbers() -> None:
    _, truth = shot(0.0, NIGHT, 10.0)
    found = measured()
    s = found.scalars
    assert s["sky_brightness_mag_arcsec2"] == pytest.approx(
        truth["sky_v_mag_arcsec2_zenith"], abs=0.1
    )
    assert s["cloud_fraction"] < 0.1
    assert s["stars_found"] > 800
    assert s["stars_matched"] > 0.8 * s["stars_found"]
    assert s["lens_residual_px"] < 0.4
    assert 1.5 < s["fwhm_px"] < 3.5
    assert s["sun_altitude_deg"] < -60
    assert 5.0 < s["limiting_mag"] < 7.5
    assert found.words["night_phase"] == "night"
    assert found.words["cloud_method"] == "stars"
    assert found.when == NIGHT + timedelta(seconds=5)
    assert all(np.isfinite(v) for v in s.values())


def test_memory_makes_the_verdict_and_travels_as_json() -> None:
    memory: SkyMemory | None = None
    frame, _ = shot(0.0, NIGHT, 10.0)
    verdicts = []
    for k in range(4):
        later = replace(
            frame, reference=replace(frame.reference, start=NIGHT + timedelta(seconds=30 * k))
        )
        # The same light 30 s later: near enough for the stars' circles.
        found = measure_frame(later, SITE, lens=source(0.0).lens, memory=memory)
        memory = SkyMemory.from_json(json.loads(json.dumps(plain(found.memory.to_json()))))
        assert memory == found.memory
        verdicts.append(found.words["safety"])
    assert verdicts[0] == "unknown"  # nothing to compare with yet
    assert verdicts[-1] == "safe"
    assert memory is not None
    assert list(memory.zero_points) == ["gain 0, binning 1"]


def test_star_colours_are_learned_in_clear_air_only() -> None:
    clear = measured()
    balance = clear.memory.balance
    assert balance is not None
    # What makes the simulator's B-V 0.65 star white.
    assert balance.red == pytest.approx(1.221, rel=0.05)
    assert balance.blue == pytest.approx(1.768, rel=0.05)
    assert clear.scalars["white_balance_red_stars"] == balance.red
    assert clear.scalars["white_balance_blue_stars_sigma"] == balance.blue_sigma
    assert measured(1.0, clear.memory).memory.balance == balance
    record = clear.memory.to_json()
    assert SkyMemory.from_json(record) == clear.memory
    del record["balance"]  # an older version wrote it
    assert SkyMemory.from_json(record).balance is None


def test_full_cloud_is_never_safe() -> None:
    memory = measured().memory
    for _ in range(4):
        found = measured(1.0, memory)
        memory = found.memory
        assert found.words["safety"] != "safe"


def test_without_a_lens_there_are_stars_sun_and_moon() -> None:
    frame, _ = shot(0.0, NIGHT, 10.0)
    found = measure_frame(frame, SITE)
    assert found.scalars["stars_found"] > 800
    assert "zero_point_mag" not in found.scalars
    assert found.clouds is None
    assert "safety" not in found.words


def test_by_day_colour_tells_the_clouds() -> None:
    frame, _ = shot(0.0, NOON, 0.00005)
    found = measure_frame(frame, SITE, lens=source(0.0).lens)
    assert found.stars is None
    assert found.words["night_phase"] == "day"
    assert found.words["cloud_method"] in ("texture", "none")
    assert found.scalars["sun_altitude_deg"] > 30


def test_every_number_has_its_unit_and_meaning() -> None:
    about = descriptions()
    assert set(measured().scalars) <= set(about)
    for name, what in about.items():
        assert what["units"], name
        assert what["long_name"], name
    for name in DESCRIPTIONS:
        if f"{name}_sigma" in about:
            assert about[name]["ancillary_variables"] == f"{name}_sigma"
