"""Flows and tasks without a server: plain functions, a fake owner, recorded artifacts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from allsky360.config import (
    ApiSettings,
    CaptureSettings,
    DaskSettings,
    OwnerSettings,
    PrefectSettings,
    Settings,
    StorageSettings,
)
from tasks import artifacts
from tasks.burst_log import BurstLog
from tasks.slots import Slot
from tests.flows.fake_owner import FakeOwner


@pytest.fixture
def owner() -> Iterator[FakeOwner]:
    server = FakeOwner(bracket_s=0.05)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(tmp_path: Path, owner: FakeOwner, free_port: Callable[[], int]) -> Settings:
    return Settings(
        storage=StorageSettings(root=tmp_path),
        owner=OwnerSettings(port=owner.port),
        capture=CaptureSettings(slot_s=20),
        dask=DaskSettings(gpu="never", port=free_port(), dashboard_port=free_port()),
        prefect=PrefectSettings(port=free_port()),
        api=ApiSettings(port=free_port()),
    )


def burst_of(seconds: float) -> BurstLog:
    """Return the log of a burst whose slot began now and ends in ``seconds``."""
    now = datetime.now(UTC)
    return BurstLog(Slot(now, now + timedelta(seconds=seconds)))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Record artifacts by key instead of sending them to a server."""
    seen: dict[str, list[Any]] = {}

    def create(value: Any, key: str, **_: Any) -> UUID:
        seen.setdefault(key, []).append(value)
        return uuid4()

    def update(_: UUID, *, progress: float, **__: Any) -> None:
        seen.setdefault(artifacts.PROGRESS_KEY, []).append(progress)

    monkeypatch.setattr(artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(artifacts, "create_markdown_artifact", create)
    monkeypatch.setattr(artifacts, "create_image_artifact", create)
    monkeypatch.setattr(artifacts, "update_progress_artifact", update)
    return seen
