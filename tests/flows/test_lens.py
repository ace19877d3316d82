"""The flow that keeps lenses up to date, without a server; the night behind it is simulated."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import flows.lens as flow_module
import tasks.lens as task_module
from allsky360.archive import Archive, ArchiveError
from allsky360.config import Settings
from allsky360.lens_history import NightEntry, note_night
from allsky360.lenses import lens_paths
from tests.lens_nights import CAMERA, SLUG, settings_for, store

EVENING = datetime(2026, 11, 13, 23, tzinfo=UTC)
NIGHT = date(2026, 11, 13)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    seen: dict[str, str] = {}
    monkeypatch.setattr(
        flow_module, "create_markdown_artifact", lambda text, key: seen.update({key: text})
    )
    return seen


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run the flow with the task's own function, at an instant of the rehearsal clock."""

    def at(now: datetime, **parameters: Any) -> Any:
        settings = settings_for(tmp_path).model_copy(
            update={"clock": Settings(clock={"start": now}).clock}  # type: ignore[arg-type]
        )
        monkeypatch.setattr(flow_module, "load_settings", lambda: settings)
        monkeypatch.setattr(flow_module, "calibrate", task_module.calibrate.fn)
        return flow_module.calibrate_lens.fn(**parameters)

    return at


def test_the_first_clear_frames_make_a_lens_and_the_morning_looks_once(
    run: Callable[..., Any], tmp_path: Path, published: dict[str, str]
) -> None:
    assert run(EVENING).message == "nothing due"  # no archive yet
    store(tmp_path, [EVENING])
    state = run(EVENING + timedelta(minutes=5))
    assert (state.type.value, len(lens_paths(tmp_path, SLUG))) == ("COMPLETED", 1)
    assert "written" in state.message
    assert "| altitude |" in published[f"lens-{SLUG}"]
    assert run(EVENING + timedelta(minutes=35)).message == "nothing due"
    store(tmp_path, [EVENING + timedelta(hours=4)])
    morning = EVENING + timedelta(hours=9)
    state = run(morning)
    assert "looked at again: moved by 0.0" in state.message
    assert "Drift:" in published[f"lens-{SLUG}"]
    assert run(morning + timedelta(minutes=30)).message == "nothing due"
    assert len(lens_paths(tmp_path, SLUG)) == 1


def test_a_cloudy_night_is_completed_with_the_reason(
    run: Callable[..., Any], tmp_path: Path, published: dict[str, str]
) -> None:
    store(tmp_path, [EVENING], cloud_cover=1.0)
    state = run(EVENING + timedelta(hours=10))
    assert state.type.value == "COMPLETED"
    assert "refused" in state.message
    assert "stars" in state.message or "Moon" in state.message
    assert list(published) == [f"lens-{SLUG}"]
    assert run(EVENING + timedelta(hours=11)).message == "nothing due"


@pytest.mark.parametrize(
    ("reason", "type_"), [("wrong-time", "FAILED"), ("too-few-stars", "COMPLETED")]
)
def test_what_a_person_must_mend_is_failed(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    published: dict[str, str],
    reason: str,
    type_: str,
) -> None:
    made = {
        "camera": "cam", "night": "2026-11-13", "outcome": "refused", "reason": reason,
        "message": "because", "serial": 0, "markdown": "table",
    }  # fmt: skip

    def calibrate(_: Settings, camera: str, night: str, force: bool) -> dict[str, Any]:
        if camera == "broken":
            raise ArchiveError("damaged")
        return made

    monkeypatch.setattr(flow_module, "load_settings", lambda: settings)
    monkeypatch.setattr(flow_module, "calibrate", calibrate)
    monkeypatch.setattr(flow_module, "due_nights", lambda _: [("cam", "2026-11-13")])
    state = flow_module.calibrate_lens.fn()
    assert (state.type.value, state.message) == (type_, "cam 2026-11-13: refused, because")
    monkeypatch.setattr(
        flow_module, "due_nights", lambda _: [("broken", "2026-11-12"), ("cam", "2026-11-13")]
    )
    published.clear()
    state = flow_module.calibrate_lens.fn()
    assert state.type.value == "FAILED"
    assert "broken 2026-11-12: damaged" in state.message
    assert published == {"lens-cam": "table"}  # the others go on


def test_by_hand_a_night_is_named_or_the_newest_is_taken(
    tmp_path: Path, run: Callable[..., Any], published: dict[str, str]
) -> None:
    store(tmp_path, [EVENING, EVENING + timedelta(days=1)])
    settings = settings_for(tmp_path)
    assert task_module.wanted_nights(settings, CAMERA, "") == [(SLUG, "2026-11-14")]
    assert task_module.wanted_nights(settings, "", "2026-11-13") == [(SLUG, "2026-11-13")]
    state = run(EVENING, camera=SLUG, night="2026-11-13")
    assert "written" in state.message
    assert len(lens_paths(tmp_path, SLUG)) == 1
    for night in ("yesterday", "2020-01-01"):
        state = run(EVENING, night=night)
        assert state.type.value == "FAILED"
        assert night in state.message


def test_a_damaged_night_of_one_camera_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store(tmp_path, [EVENING])
    real = Archive.site

    def site(self: Archive, camera: str, night: date) -> Any:
        if camera == "broken":
            raise ArchiveError("the night is damaged.")
        return real(self, camera, night)

    nights = Archive.nights
    monkeypatch.setattr(Archive, "site", site)
    monkeypatch.setattr(Archive, "cameras", lambda _: ["broken", SLUG])
    monkeypatch.setattr(
        Archive, "nights", lambda self, c=None: [NIGHT] if c == "broken" else nights(self, c)
    )
    assert task_module.due_nights(settings_for(tmp_path)) == [(SLUG, "2026-11-13")]
    assert "broken is left out" in caplog.text


def test_the_cheap_check_reads_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, [EVENING])
    monkeypatch.setattr(Archive, "bracket", lambda *_: pytest.fail("no pixels"))
    note_night(
        tmp_path,
        SLUG,
        NightEntry(NIGHT, "kept", "", "fits", EVENING, over=True, frames=1, serial=1),
    )
    assert json.loads((tmp_path / SLUG / "lens" / "nights.json").read_text())
    assert task_module.due_nights(settings_for(tmp_path)) == []
