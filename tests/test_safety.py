"""The verdict a script gets: fresh, or unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from allsky360.archive import ProcessedWriter, RawWriter
from allsky360.cli import app
from allsky360.measure.memory import SkyMemory
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing.records import plain
from allsky360.safety import current_safety
from allsky360.sky.safety import SafetyState

WHEN = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
SITE = Site("Test", 28.0, -17.0)


def frame(root: Path, start: datetime, provenance: dict[str, Any] | None) -> None:
    pixels = np.zeros((16, 16), np.uint16)
    writer = RawWriter(root, "Test", SITE)
    ref = writer.append(Bracket((Exposure(pixels, None, start, 1.0),)), {})
    writer.close()
    if provenance is None:
        return
    ProcessedWriter(root, ref.camera, ref.night).write(
        ref, time=start, linear=np.zeros((8, 8, 3), np.float32), picture_jpeg=b"x",
        scalars={}, provenance=provenance,
    )  # fmt: skip


def verdict(word: str, when: datetime) -> dict[str, Any]:
    state = SafetyState(verdict=word, reason="because", frame_time=when)  # type: ignore[arg-type]
    return {"sky": {"memory": plain(SkyMemory(safety=state).to_json())}}


@pytest.mark.parametrize(("word", "code"), [("safe", 0), ("unsafe", 1), ("unknown", 2)])
def test_the_newest_measured_frame_decides(
    tmp_path: Path, word: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame(tmp_path, WHEN, verdict(word, WHEN))
    frame(tmp_path, WHEN + timedelta(seconds=30), None)  # not processed yet
    found = current_safety(tmp_path, WHEN + timedelta(seconds=40))
    assert (found.verdict, found.reason, found.age_s) == (word, "because", 40.0)
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(tmp_path))
    monkeypatch.setenv("ALLSKY360_CLOCK__START", (WHEN + timedelta(seconds=40)).isoformat())
    monkeypatch.setenv("ALLSKY360_CLOCK__ANCHOR", datetime.now(UTC).isoformat())
    run = CliRunner().invoke(app, ["safety"])
    assert run.exit_code == code, run.output
    assert run.output.startswith(f"{word}: because (4")


def test_stale_is_unknown(tmp_path: Path) -> None:
    frame(tmp_path, WHEN, verdict("safe", WHEN))
    found = current_safety(tmp_path, WHEN + timedelta(seconds=301))
    assert found.verdict == "unknown"
    assert "301 s old" in found.reason


def test_nothing_and_nonsense_are_unknown(tmp_path: Path) -> None:
    assert current_safety(tmp_path, WHEN).verdict == "unknown"
    for nonsense in ({}, {"sky": None}, {"sky": {"memory": {"safety": 3}}}):
        frame(tmp_path, WHEN, nonsense)
        assert current_safety(tmp_path, WHEN).verdict == "unknown"
    assert date(2026, 1, 1).isoformat() in str(next(tmp_path.rglob("frames")))
