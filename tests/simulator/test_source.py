from __future__ import annotations

from datetime import UTC, datetime

import pytest

from allsky360.model import Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, FrameSource, SensorDescription


def test_gain_in_decibels() -> None:
    sensor = SensorDescription(egain_at_zero=1.6, gain_unit_db=0.1)
    assert sensor.egain(0) == 1.6
    assert sensor.egain(200) == pytest.approx(0.16)  # 20 dB is a factor of ten in amplitude
    assert sensor.egain(60) == pytest.approx(1.6 / 1.995, rel=1e-3)


def test_offset_raises_the_pedestal() -> None:
    sensor = SensorDescription(bias_adu=100, offset_step_adu=16)
    assert sensor.pedestal_adu(0) == 100
    assert sensor.pedestal_adu(30) == 580


def test_middle_of_the_exposure() -> None:
    request = ExposureRequest(datetime(2026, 1, 1, tzinfo=UTC), 10.0)
    assert request.middle == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_the_sky_is_a_frame_source() -> None:
    source: FrameSource = SkySource(Site("", 0, 0), SensorDescription(width=64, height=64))
    assert source.sensor.width == 64
