"""What counts as wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from allsky360.alarms.troubles import Look, troubles
from allsky360.config_alarms import AlarmSettings
from tests.conftest import utc

NOW = utc("2026-11-28T03:00:00")
OWNER: dict[str, Any] = {"state": "exposing", "fault": None, "plan": {"enabled": True}}
WELL = Look(NOW, NOW - timedelta(seconds=30), OWNER, free_bytes=5e10, min_free_bytes=1e9)


def names(**changes: Any) -> list[str]:
    look = Look(**{**WELL.__dict__, **changes})
    return [t.name for t in troubles(look, AlarmSettings(), 180.0)]


def test_all_is_well() -> None:
    assert names() == []
    assert names(newest=None) == []  # nothing was captured yet: the parts tell why


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"newest": NOW - timedelta(seconds=200)}, ["no-new-frame"]),
        ({"newest": NOW + timedelta(seconds=200)}, ["clock"]),
        ({"silent": ("dask", "owner"), "owner": None}, ["part-down-dask", "part-down-owner"]),
        ({"free_bytes": 9e8}, ["disk-full"]),
        ({"free_bytes": None}, ["disk-gone"]),
        ({"backlog": 201}, ["backlog"]),
        ({"temperature_c": 61.0}, ["too-hot"]),
        ({"temperature_c": -61.0}, ["too-cold"]),
    ],
)
def test_each_trouble_has_a_name(changes: dict[str, Any], expected: list[str]) -> None:
    assert names(**changes) == expected


def test_a_fault_says_more_than_its_silence() -> None:
    fault = {**OWNER, "fault": {"name": "timeout", "message": "No image in 75 s."}}
    assert names(owner=fault, newest=NOW - timedelta(hours=1)) == ["camera-timeout"]


def test_no_frames_are_missed_while_none_are_wanted() -> None:
    off = {**OWNER, "plan": {"enabled": False, "period": "day"}}
    assert names(owner=off, newest=NOW - timedelta(hours=9)) == []
