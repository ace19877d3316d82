from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import flows.pending as flow_module
from allsky360 import archive as archive_module
from allsky360 import cluster
from allsky360.archive import Archive, FrameRef
from allsky360.cluster import ClusterError
from allsky360.config import ClockSettings, Settings
from allsky360.model import Site
from allsky360.products.due import due_nights
from tasks import pending
from tasks.handover import frame_key
from tasks.pending import Batch, Failures, batches, due_frames, pending_frames, process_batch
from tasks.products import growing_nights
from tests.report.conftest import CAMERA, DUSK, NIGHT, make_night

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
REFS = [FrameRef("cam", date(2026, 11, 22), i) for i in range(5)]


class FakeArchive:
    """Three nights of one camera; frame 0 of each is processed already."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def cameras(self) -> list[str]:
        return ["cam"]

    def nights(self, camera: str) -> list[date]:
        return [date(2026, 11, d) for d in (20, 21, 22)]

    def unprocessed(self, camera: str, night: date) -> list[FrameRef]:
        return [FrameRef(camera, night, i) for i in (1, 2)]


def test_a_night_that_cannot_be_read_holds_up_no_other(
    settings: Settings, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    root = settings.storage.root
    for name in ("cam-a", "cam-b"):
        make_night(root, site, 2, unprocessed=[1])
        (root / CAMERA).rename(root / name)
    (root / "cam-a" / NIGHT.isoformat() / "raw.zarr" / "zarr.json").write_text("{")
    assert pending_frames(settings, 3) == [FrameRef("cam-b", NIGHT, 1)]
    assert f"cam-a {NIGHT} is left out" in caplog.text
    clock = ClockSettings(start=DUSK + timedelta(hours=1), anchor=datetime.now(UTC))
    rehearsal = settings.model_copy(update={"clock": clock})
    assert growing_nights(rehearsal) == [("cam-b", NIGHT.isoformat())]
    later = DUSK + timedelta(days=9)
    assert [d.camera for d in due_nights(Archive(root), later)] == ["cam-b"]


def test_frames_come_in_the_order_of_capture(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "Archive", FakeArchive)
    found = [(f.night.day, f.index) for f in pending_frames(settings, 2)]
    assert found == [(21, 1), (21, 2), (22, 1), (22, 2)]
    assert len(pending_frames(settings, 0)) == 6


def test_an_empty_archive_has_nothing_pending(settings: Settings) -> None:
    assert pending_frames(settings, 3) == []


def test_batches_hold_every_frame_once() -> None:
    cut = list(batches(REFS, 2))
    assert [len(b.frames) for b in cut] == [2, 2, 1]
    assert [f for b in cut for f in b.frames] == REFS
    assert cut[0].keys == [frame_key(r) for r in REFS[:2]]


def test_a_failing_frame_is_tried_ever_more_rarely_and_never_given_up(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "failed.json"
    key, good = frame_key(REFS[0]), frame_key(REFS[1])
    now, pauses = NOW, []
    for _ in range(12):
        failures = Failures(file)
        assert failures.due(key, now)
        failures.note([key, good], {key: "ValueError: bad"}, now)
        assert not Failures(file).due(key, now)
        later = datetime.fromisoformat(json.loads(file.read_text())[key]["not_before"])
        pauses.append(later - now)
        now = later
    assert pauses[:3] == [timedelta(minutes=m) for m in (4, 8, 16)]
    assert pauses[-1] == timedelta(days=1)
    assert due_frames(REFS[:2], Failures(file), now - timedelta(hours=1)) == [REFS[1]]
    Failures(file).note([key], {}, now)
    assert json.loads(file.read_text()) == {}


def test_a_broken_memory_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "failed.json"
    file.write_text("{half")
    assert Failures(file).due("any", NOW)
    assert str(file) in caplog.text


def test_a_batch_without_a_cluster_fails_so_that_prefect_tries_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.5)
    batch = Batch(REFS[:1])
    with pytest.raises(ClusterError):
        process_batch.fn(settings, batch.keys, batch)
    assert process_batch.retries == 3


@pytest.mark.parametrize(
    ("errors", "state", "words"),
    [
        ({}, "COMPLETED", "5 frame(s) processed"),
        ({frame_key(REFS[3]): "ValueError: bad"}, "FAILED", "4 processed, 1 failed"),
    ],
)
def test_the_flow_processes_all_batches_and_names_what_failed(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    errors: dict[str, str],
    state: str,
    words: str,
) -> None:
    def process(_: Settings, keys: list[str], batch: Batch) -> dict[str, Any]:
        mine = {k: v for k, v in errors.items() if k in keys}
        return {"processed": len(keys) - len(mine), "errors": mine}

    replace = replacing(monkeypatch, settings)
    replace("process_batch", process)
    replace("pending_frames", lambda *_: REFS)
    ended = flow_module.process_pending.fn(nights=3, batch_size=2)
    assert ended.type.value == state
    assert words in ended.message
    again = flow_module.process_pending.fn(nights=3, batch_size=2)
    assert ("nothing pending" in again.message) is False
    failed = json.loads((settings.storage.root / "prefect" / "failed-frames.json").read_text())
    assert set(failed) == set(errors)


def test_the_flow_has_nothing_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    replacing(monkeypatch, settings)("process_batch", lambda *_: pytest.fail("nothing to do"))
    assert flow_module.process_pending.fn().message == "nothing pending"


def replacing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Callable[[str, Callable[..., Any]], None]:
    monkeypatch.setattr(flow_module, "load_settings", lambda: settings)
    monkeypatch.setattr(pending, "utc_now", lambda: NOW)
    return lambda name, value: monkeypatch.setattr(flow_module, name, value)
