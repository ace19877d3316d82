from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client import orchestration
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed as completed
from prefect.states import Failed as failed

from allsky360.archive.retention import Removal
from allsky360.config import PrefectSettings, Settings
from flows import capture, housekeeping
from tasks import retention


def scheduled_at(monkeypatch: pytest.MonkeyPatch, when: datetime) -> None:
    monkeypatch.setattr(capture, "flow_run", SimpleNamespace(scheduled_start_time=when, id="run-7"))


def test_a_run_whose_slot_has_passed_is_skipped_visibly(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "load_settings", lambda: settings)
    monkeypatch.setattr(capture, "take_burst_for", lambda *_: pytest.fail("must not capture"))
    scheduled_at(monkeypatch, datetime.now(UTC) - timedelta(minutes=4))
    state = capture.capture_burst.fn()
    assert (state.name, state.type.value) == ("Skipped", "COMPLETED")
    assert "has passed" in state.message


@pytest.mark.parametrize(
    ("taken", "type_", "words"),
    [
        (completed(), "COMPLETED", "1 frame(s)"),
        (failed(message="device-gone: unplugged"), "FAILED", "1 frame(s); device-gone: unplugged"),
    ],
)
def test_a_burst_is_settled_whatever_came_of_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, taken: Any, type_: str, words: str
) -> None:
    steps: list[str] = []

    def task_for(_: Settings, burst: Any) -> Any:
        def take(_: Settings, handover: Any, log: Any, run_id: str, *, return_state: bool) -> Any:
            assert return_state
            assert run_id == "run-7"
            log.note({"event": "bracket"})
            steps.append("taken")
            return taken

        return take

    monkeypatch.setattr(capture, "load_settings", lambda: settings)
    monkeypatch.setattr(capture, "take_burst_for", task_for)
    monkeypatch.setattr(capture, "settle_burst", lambda *_: steps.append("settled"))
    scheduled_at(monkeypatch, datetime.now(UTC))
    state = capture.capture_burst.fn()
    assert steps == ["taken", "settled"]
    assert (state.type.value, state.message) == (type_, words)


class Client:
    """A Prefect client that holds old runs."""

    def __init__(self, count: int) -> None:
        self.ids = [uuid4() for _ in range(count)]
        self.filters: list[Any] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_runs(self, *, flow_run_filter: Any, limit: int) -> list[Any]:
        self.filters.append(flow_run_filter)
        return [SimpleNamespace(id=i) for i in self.ids[:limit]]

    def delete_flow_run(self, run: Any) -> None:
        self.ids.remove(run)
        if len(self.ids) % 7 == 0:
            raise ObjectNotFound(Exception("the vacuum was quicker"))


def as_state(task: Any) -> Any:
    """Return a task as a plain function that returns a state."""

    def call(*given: Any, return_state: bool) -> Any:
        assert return_state
        try:
            return completed(data=task.fn(*given))
        except OSError as error:
            return failed(message=str(error))

    return call


def test_old_runs_of_ours_are_deleted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, written = Client(250), []
    monkeypatch.setattr(orchestration, "get_client", lambda **_: client)
    monkeypatch.setattr(housekeeping, "load_settings", lambda: settings)
    monkeypatch.setattr(housekeeping, "delete_old_runs", as_state(retention.delete_old_runs))
    monkeypatch.setattr(housekeeping, "tidy_archive", as_state(retention.tidy_archive))
    monkeypatch.setattr(
        housekeeping, "create_markdown_artifact", lambda text, **_: written.append(text)
    )
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(b"x" * 2_500_000)
    state = housekeeping.housekeeping.fn()
    assert client.ids == []
    asked = client.filters[0]
    assert asked.tags.all_ == ["allsky360"]
    age = datetime.now(UTC) - asked.end_time.before_
    assert age.days == settings.prefect.retention_days
    assert state.message.startswith("250 run(s) older than")
    assert "2.5 MB" in state.message
    assert written == [state.message]


def test_a_server_that_does_not_answer_keeps_no_disk_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: Any) -> None:
        raise OSError("no server")

    gone = Removal("cam", date(2026, 1, 2), "raw", 3, 5_000_000_000, "older")
    monkeypatch.setattr(orchestration, "get_client", away)
    monkeypatch.setattr(housekeeping, "load_settings", lambda: settings)
    monkeypatch.setattr(housekeeping, "delete_old_runs", as_state(retention.delete_old_runs))
    monkeypatch.setattr(
        housekeeping, "tidy_archive", lambda *_, return_state: completed(data=[gone])
    )
    monkeypatch.setattr(housekeeping, "create_markdown_artifact", lambda *_, **__: None)
    state = housekeeping.housekeeping.fn()
    assert state.is_failed()
    assert "no server; 5.00 GB removed from the archive" in state.message


def test_a_database_elsewhere_has_no_size_here(settings: Settings) -> None:
    away = settings.model_copy(update={"prefect": PrefectSettings(url="http://big:4200")})
    assert retention.database_bytes(away) is None
    assert retention.database_bytes(settings) is None  # not made yet
