from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest

from allsky360.config import OwnerSettings, Settings
from allsky360.owner.client import OwnerUnreachable
from tasks import artifacts
from tasks.burst import (
    RETRY_DELAYS,
    retry_delays_s,
    settle_burst,
    take_burst,
    take_burst_for,
    worth_another_try,
)
from tasks.burst_log import BurstFailed, report_markdown
from tasks.slots import settle_s
from tests.flows.conftest import burst_of
from tests.flows.fake_owner import FakeOwner

FAULT = {"event": "fault", "name": "timeout", "message": "no | image", "retry_in_s": 1.0}
FAILED = {"event": "failed", "name": "device-gone", "message": "the camera was unplugged"}
BRACKET = {
    "event": "bracket", "camera": "fake", "night": "2026-11-22", "index": 3,
    "time": "2026-11-22T20:00:00+00:00", "exposures_s": [8.0, 2.0], "gain": 100.0,
    "level": 0.12, "sun_altitude_deg": -31.5,
}  # fmt: skip
END = {"event": "end", "brackets": 1, "open_s": 9.5, "elapsed_s": 10.0}


class Given:
    """Stands for the hand-over: remembers what it got."""

    def __init__(self, settled: dict[str, Any] | None = None) -> None:
        self.frames: list[tuple[str, date, int]] = []
        self.waited_s = -1.0
        self._settled = settled or {}

    def give(self, camera: str, night: date, index: int, log: logging.Logger) -> None:
        self.frames.append((camera, night, index))

    def settle(self, timeout_s: float) -> dict[str, Any]:
        self.waited_s = timeout_s
        counts = dict.fromkeys(("processed", "failed", "running", "left"), 0)
        return {**counts, "errors": {}, **self._settled}


def test_a_burst_hands_over_every_frame_until_the_slot_ends(
    settings: Settings, owner: FakeOwner, published: dict[str, list[Any]]
) -> None:
    given, burst = Given(), burst_of(0.6)
    record = take_burst.fn(settings, given, burst, "run-1")
    assert record["brackets"] == owner.bursts[0]["brackets"] == len(given.frames) >= 2
    assert [index for _, _, index in given.frames] == list(range(1, len(given.frames) + 1))
    assert owner.bursts[0]["run_id"] == "run-1"
    assert owner.bursts[0]["until"] == burst.slot.end.isoformat()
    bars = published[artifacts.PROGRESS_KEY]
    assert bars[-1] == 100.0
    assert len(bars) == 2  # the first frame and the end: not one a frame


def test_faults_are_logged_and_kept_and_the_burst_goes_on(
    settings: Settings,
    owner: FakeOwner,
    published: dict[str, list[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner.script.append([FAULT, BRACKET, {"event": "idle", "reason": "daylight"}, END])
    given, burst = Given(), burst_of(20)
    with caplog.at_level(logging.INFO, "tasks"):
        record = take_burst.fn(settings, given, burst, "r")
    assert record == {"brackets": 1, "open_s": 9.5, "elapsed_s": 10.0, "faults": 1, "tries": 1}
    assert "camera fault timeout: no | image" in caplog.text
    assert "no exposure: daylight" in caplog.text
    assert given.frames == [("fake", date(2026, 11, 22), 3)]


def test_an_owner_that_gives_up_fails_the_try_and_keeps_the_frames(
    settings: Settings, owner: FakeOwner, published: dict[str, list[Any]]
) -> None:
    owner.script.append([BRACKET, FAILED])
    given, burst = Given(), burst_of(20)
    with pytest.raises(BurstFailed, match="device-gone: the camera was unplugged"):
        take_burst.fn(settings, given, burst, "r")
    owner.script.append([{**BRACKET, "index": 4}, END])
    record = take_burst.fn(settings, given, burst, "r")
    assert record["tries"] == 2
    assert record["brackets"] == 2
    assert [index for _, _, index in given.frames] == [3, 4]


def test_an_owner_that_is_away_or_hangs_up_is_unreachable(
    settings: Settings,
    owner: FakeOwner,
    published: dict[str, list[Any]],
    free_port: Callable[[], int],
) -> None:
    owner.script.append([BRACKET])
    with pytest.raises(OwnerUnreachable):
        take_burst.fn(settings, Given(), burst_of(20), "r")
    away = settings.model_copy(update={"owner": OwnerSettings(port=free_port())})
    with pytest.raises(OwnerUnreachable):
        take_burst.fn(away, Given(), burst_of(20), "r")


def test_a_retry_after_the_slot_is_a_failure_not_an_empty_success(
    settings: Settings, owner: FakeOwner, published: dict[str, list[Any]]
) -> None:
    burst = burst_of(-0.1)
    burst.tries = 1
    burst.faults.append(FAILED)
    with pytest.raises(BurstFailed, match="device-gone"):
        take_burst.fn(settings, Given(), burst, "r")
    assert owner.bursts == []


def test_retries_double_their_pause_and_stop_with_the_slot(settings: Settings) -> None:
    assert retry_delays_s(6, 2.0) == [2, 4, 8, 15, 15, 15]
    assert retry_delays_s(2, 60.0) == [60, 60]
    assert len(retry_delays_s(100, 1.0)) == RETRY_DELAYS
    burst = burst_of(20)
    again = worth_another_try(burst)
    assert again(take_burst, None, None)  # type: ignore[arg-type]
    assert not worth_another_try(burst_of(0.5))(take_burst, None, None)  # type: ignore[arg-type]
    task = take_burst_for(settings, burst)
    assert task.retries == settings.capture.retries
    assert task.timeout_seconds is not None
    assert task.timeout_seconds > 20 + settings.exposure.night.max_exposure_s


def test_settling_reports_what_became_of_the_frames(
    settings: Settings, published: dict[str, list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    burst = burst_of(-1)
    for event in (BRACKET, FAULT, END):
        burst.note(event)
    given = Given({"processed": 1, "failed": 1, "left": 2, "errors": {"frame-9": "Bad | pipe"}})
    with caplog.at_level(logging.INFO, "tasks"):
        record = settle_burst.fn(settings, given, burst)
    assert "errors" not in record
    assert record["processed"] == 1
    assert settle_s(20) - 3 < given.waited_s <= settle_s(20) - 1
    report = published[artifacts.REPORT_KEY][0]
    assert "shutter open 95 % of the time" in report
    assert "| 2026-11-22 #3 | 2026-11-22T20:00:00+00:00 | 8, 2 | 100 | 0.12 | -31.5 |" in report
    assert "| timeout | no \\| image |" in report
    assert "| frame-9 | Bad \\| pipe |" in report
    (picture,) = published[artifacts.PICTURE_KEY]
    url = httpx.URL(picture)
    assert (url.host, url.port) == ("127.0.0.1", settings.api.port)
    assert url.path == "/api/v1/latest/picture"
    assert url.params["t"] == BRACKET["time"]
    assert "frame-9 failed: Bad | pipe" in caplog.text


def test_an_idle_burst_has_no_picture(settings: Settings, published: dict[str, list[Any]]) -> None:
    burst = burst_of(-1)
    burst.note({"event": "idle", "reason": "daylight is not captured"})
    settle_burst.fn(settings, Given(), burst)
    assert artifacts.PICTURE_KEY not in published
    assert burst.sentence() == "idle: daylight is not captured"
    assert "| frame |" not in report_markdown(burst, {})


def test_an_artifact_that_cannot_be_written_costs_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("server away")

    monkeypatch.setattr(artifacts, "create_markdown_artifact", refuse)
    assert not artifacts.attempt(refuse, logging.getLogger("tasks"))
    settle_burst.fn(settings, Given(), burst_of(-1))
    assert "artifact not written: ConnectError: server away" in caplog.text


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("10.0.0.5", "10.0.0.5")])
def test_the_picture_is_asked_of_the_read_service(
    settings: Settings, host: str, shown: str
) -> None:
    api = settings.api.model_copy(update={"host": host, "port": 80})
    url = artifacts.picture_url(settings.model_copy(update={"api": api}))
    assert url == f"http://{shown}:80/api/v1/latest/picture"
