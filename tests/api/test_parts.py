"""The small pure parts: cursors, validators, condition, series, times."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from allsky360.api.condition import duration, judge, stale_after_s
from allsky360.api.conditional import make_etag, unchanged
from allsky360.api.index.thin import thin
from allsky360.api.paging import Position, decode, encode
from allsky360.api.parameters import iso_date, iso_time
from allsky360.api.problems import BadCursor, Kind, NotFound, kind_of
from allsky360.config import ClockSettings, Settings

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@given(
    camera=st.text(min_size=1, max_size=40),
    night=st.dates(),
    index=st.integers(-1, 10**9),
    order=st.sampled_from(["oldest", "newest"]),
)
def test_cursors_round_trip(camera: str, night: date, index: int, order: str) -> None:
    position = Position(camera, night, index, order)  # type: ignore[arg-type]
    cursor = encode(position)
    assert decode(cursor) == position
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=80))
def test_any_other_text_is_refused_as_a_cursor(text: str) -> None:
    with pytest.raises(BadCursor, match=r"links\.next"):
        decode(text)


@pytest.mark.parametrize(
    "plain",
    [
        b"[]",
        b'["c","2026-11-22",1]',
        b'["c","2026-13-22",1,"oldest"]',
        b'["c","2026-11-22",-7,"oldest"]',
        b'["c","2026-11-22",1,"sideways"]',
        b'["c","2026-11-22",1e400,"oldest"]',
        b'{"a":1}',
        b"[" * 5000,
        b"\xff\xfe",
    ],
)
def test_forged_cursors_are_refused(plain: bytes) -> None:
    import base64

    with pytest.raises(BadCursor):
        decode(base64.urlsafe_b64encode(plain).decode())


def request(**headers: str) -> Request:
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "headers": raw, "method": "GET", "path": "/"})


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, False),
        ({"if_none_match": '"a"'}, True),
        ({"if_none_match": 'W/"a"'}, True),
        ({"if_none_match": '"x", "a"'}, True),
        ({"if_none_match": "*"}, True),
        ({"if_none_match": '"b"'}, False),
        ({"if_modified_since": "Sun, 22 Nov 2026 03:00:00 GMT"}, True),
        ({"if_modified_since": "Sun, 22 Nov 2026 02:59:59 GMT"}, False),
        ({"if_modified_since": "Sun, 22 Nov 2026 03:00:01 -0000"}, True),
        ({"if_modified_since": "yesterday"}, False),
        # RFC 9110 13.2.2: If-None-Match decides alone
        (
            {"if_none_match": '"b"', "if_modified_since": "Sun, 22 Nov 2026 03:00:00 GMT"},
            False,
        ),
    ],
)
def test_validators(headers: dict[str, str], answer: bool) -> None:
    modified = NOW + timedelta(microseconds=900)
    assert unchanged(request(**headers), '"a"', modified) is answer


def test_tags_differ_with_what_they_depend_on() -> None:
    assert make_etag("a", 1) != make_etag("a", 2)
    assert make_etag("a", weak=True).startswith('W/"')


@pytest.mark.parametrize(
    ("age_s", "owner", "state", "words"),
    [
        (10, {"state": "exposing", "fault": None}, "live", "coming in"),
        (10, None, "live", "does not answer"),
        (900, {"state": "ready", "fault": None}, "stale", "15 min"),
        (900, None, "stale", "does not answer"),
        (
            10,
            {"state": "fault", "fault": {"name": "timeout", "message": "No image."}},
            "fault",
            "Camera fault (timeout): No image.",
        ),
        (10, {"state": "fault", "fault": None}, "fault", "fault"),
        (10, {"state": "fault", "fault": "what"}, "fault", "fault"),
        (900, {"state": "paused"}, "paused", "paused"),
        (900, {"state": "ready", "plan": {"period": "day", "enabled": False}}, "paused", "for day"),
        (None, {"state": "connecting"}, "waiting", "connecting"),
        (None, {"state": "ready"}, "waiting", "next slot"),
        (None, {}, "waiting", "Nothing has been captured yet."),
        (None, None, "waiting", "does not answer"),
        (-30, {"state": "ready"}, "live", "coming in"),
        (-7200, {"state": "ready"}, "stale", "2 h 0 min in the future"),
    ],
)
def test_the_condition_is_one_word_and_one_sentence(
    age_s: float | None, owner: dict[str, object] | None, state: str, words: str
) -> None:
    newest = None if age_s is None else NOW - timedelta(seconds=age_s)
    condition = judge(NOW, newest, owner, 200.0)
    assert condition.state == state
    assert words in condition.message


def test_stale_follows_slot_bracket_and_clock() -> None:
    # twilight: 10 s + 2.5 s + 0.625 s; two slots of 60 s; 30 s for processing
    assert stale_after_s(Settings()) == pytest.approx(120 + 15 + 30)
    fast = Settings(clock=ClockSettings(start=NOW, rate=60.0))
    assert stale_after_s(fast) == pytest.approx(120 + 15 + 1800)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.9, "89 s"), (90, "1 min"), (5400, "1 h 30 min"), (172800, "2 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(rows=st.integers(0, 1200), points=st.integers(20, 400), seed=st.integers(0, 99))
def test_thinning_one_course_keeps_its_extremes_and_its_bound(
    rows: int, points: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=rows)
    values[rng.random(rows) < 0.1] = math.nan
    kept = thin(values, points)
    assert len(kept) <= max(points, 2)
    assert (np.diff(kept) > 0).all()
    if np.isfinite(values).any():
        assert np.nanmin(values[kept]) == np.nanmin(values)
        assert np.nanmax(values[kept]) == np.nanmax(values)


@pytest.mark.parametrize("text", ["20261122", "1763769600", "today", "", "2026-11-22T00:00"])
def test_nights_are_iso_dates_only(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        iso_date(text)


def test_an_unescaped_plus_of_the_zone_is_understood() -> None:
    assert iso_time("2026-11-22T01:02:03 00:00") == "2026-11-22T01:02:03+00:00"
    with pytest.raises(ValueError, match="write the time"):
        iso_time("1763769600")


def test_the_nearest_class_of_the_table_wins() -> None:
    class Special(NotFound):
        pass

    assert kind_of(Special("x")).slug == "not-found"
    assert kind_of(FileNotFoundError()).slug == "storage-unreadable"
    assert kind_of(ZeroDivisionError()) == Kind(500, "internal-error", "The service made a mistake")
