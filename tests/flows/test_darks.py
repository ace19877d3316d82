"""The flow of the dark library, over an owner that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allsky360.darks import Order
from allsky360.owner.client import OwnerClient
from tasks.darks import take_masters
from tests.test_darks import FakeOwner, settings


def test_the_task_reports_what_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeOwner(tmp_path)

    def calibration(self: OwnerClient, *args: Any, **more: Any) -> Iterator[dict[str, Any]]:
        yield {"event": "fault", "name": "timeout", "message": "slow"}
        yield from fake.calibration(*args, **more)

    monkeypatch.setattr(OwnerClient, "calibration", calibration)
    made = take_masters.fn(settings(tmp_path), Order((2.0,), 5, None, 5), "run")
    assert [name.split("_")[1] for name in made["built"]] == ["bias", "dark"]
    assert made["left_out"] == made["failed"] == []
