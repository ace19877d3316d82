"""Flows and tasks without a server: plain functions, a fake owner, a fake cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allsky360.config import (
    ApiSettings,
    CaptureSettings,
    DaskSettings,
    OwnerSettings,
    Settings,
    StorageSettings,
)
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
        api=ApiSettings(port=free_port()),
    )
