"""Processed frames: written whole, again, by many at once; read beside raw; plain xarray works."""

from __future__ import annotations

import errno
import multiprocessing
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from allsky360.archive import (
    Archive,
    ArchiveError,
    ArchiveFull,
    FrameRef,
    ProcessedWriter,
    RawWriter,
    processed,
    verify,
    verify_night,
)
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"
JPEG = b"\xff\xd8" + b"picture" * 9 + b"\xff\xd9"


def linear_of(number: int, shape: tuple[int, ...] = (12, 18, 3)) -> np.ndarray:
    return np.random.default_rng(number).normal(0.1, 0.05, shape).astype(np.float32)


def write(root: Path, ref: FrameRef, number: int = 0, **changes: Any) -> None:
    given: dict[str, Any] = {
        "time": EVENING + timedelta(seconds=20 * ref.index),
        "linear": linear_of(number),
        "picture_jpeg": JPEG,
        "scalars": {"background": 0.5 + number, "star_count": float(number)},
        "provenance": {"number": number},
    }
    ProcessedWriter(root, ref.camera, ref.night).write(ref, **(given | changes))


@pytest.fixture
def night(tmp_path: Path, site: Site) -> list[FrameRef]:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    refs = [writer.append(make_bracket(k, exposures=1), {"level": 0.1}) for k in range(6)]
    writer.close()
    return refs


def test_a_night_that_grows_while_it_is_checked_is_no_error(
    tmp_path: Path, site: Site, night: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, night[0])
    check = verify._verify_raw

    def and_grow(*what: Any) -> Any:
        found = check(*what)
        writer = RawWriter(tmp_path, "Sim Camera 1", site)
        write(tmp_path, writer.append(make_bracket(6, exposures=1), {"level": 0.1}))
        writer.close()
        return found

    monkeypatch.setattr(verify, "_verify_raw", and_grow)
    assert errors_of(tmp_path) == []
    monkeypatch.undo()
    write(tmp_path, FrameRef(CAMERA, NIGHT, 9))
    assert [p.what for p in errors_of(tmp_path)] == ["is processed but has no raw frame"]


def errors_of(root: Path) -> list[Any]:
    found = verify_night(root / CAMERA / "2026-11-22")
    return [p for p in found if p.severity in ("error", "warning")]


def test_a_processed_frame_is_read_beside_its_raw(tmp_path: Path, night: list[FrameRef]) -> None:
    before = datetime.now(UTC)
    write(tmp_path, night[2], 7)
    archive = Archive(tmp_path)
    record = archive.frame(night[2])
    assert record.processed
    assert record.version == "v0001"
    assert record.processed_at is not None
    assert before - timedelta(seconds=1) < record.processed_at <= datetime.now(UTC)
    assert record.scalars["background"] == pytest.approx(7.5)
    assert record.scalars["level"] == pytest.approx(0.1)  # of capture
    picture = archive.picture(night[2])
    assert picture is not None
    assert picture.read_bytes() == JPEG
    stored = archive.record(night[2])
    assert stored["id"] == "2026-11-22/000002"
    assert stored["provenance"] == {"number": 7}
    assert archive.unprocessed(CAMERA, NIGHT) == [r for r in night if r.index != 2]
    newest = archive.latest(processed=True)
    assert newest is not None
    assert newest.ref == night[2]
    assert archive.picture(night[3]) is None
    assert archive.record(night[3]) == {}
    assert not errors_of(tmp_path)


def test_plain_xarray_reads_the_version_store(tmp_path: Path, night: list[FrameRef]) -> None:
    for ref in night:
        write(tmp_path, ref, ref.index)
    ds = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "v0001.zarr")
    assert ds.sizes["time"] == len(night)
    assert not np.isnat(ds.time.values).any()
    assert ds.linear.dims == ("time", "y", "x", "band")
    np.testing.assert_array_equal(ds.linear[4], linear_of(4))
    np.testing.assert_allclose(ds.star_count, range(6))
    assert ds.attrs["kind"] == "processed"


def test_writing_again_replaces_and_adds_no_row(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[0], 1)
    first = Archive(tmp_path).commits(CAMERA, NIGHT)
    write(tmp_path, night[0], 2, picture_jpeg=b"\xff\xd8new\xff\xd9", scalars={"background": 9.0})
    archive = Archive(tmp_path)
    assert archive.commits(CAMERA, NIGHT)[1] > first[1]
    record = archive.frame(night[0])
    assert record.scalars["background"] == 9.0
    assert "star_count" not in record.scalars  # of the first time only: not carried over
    picture = archive.picture(night[0])
    assert picture is not None
    assert picture.read_bytes() == b"\xff\xd8new\xff\xd9"
    ds = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "v0001.zarr")
    assert ds.sizes["time"] == 1
    np.testing.assert_array_equal(ds.linear[0], linear_of(2))


def test_pictures_of_steps_are_kept_with_the_frame_and_replaced(
    tmp_path: Path, night: list[FrameRef]
) -> None:
    archive = Archive(tmp_path)
    write(tmp_path, night[1], steps={"00-balance": b"a", "07-tone_map": b"b"})
    write(tmp_path, night[4], steps={"00-balance": b"c"})
    found = archive.step_pictures(night[1])
    assert {n: p.read_bytes() for n, p in found.items()} == {0: b"a", 7: b"b"}
    assert archive.step_pictures(night[2]) == {}
    assert archive.frames_with_steps(CAMERA, NIGHT) == [1, 4]
    write(tmp_path, night[1], steps={"00-balance": b"d"})
    assert [p.read_bytes() for p in archive.step_pictures(night[1]).values()] == [b"d"]
    assert archive.frames_with_steps(CAMERA, date(2020, 1, 1)) == []
    assert errors_of(tmp_path) == []


@pytest.mark.parametrize("name", ["balance", "../00-a", "00-", "0-a", "00-a/b", "00-A"])
def test_names_of_steps_lead_nowhere_else(tmp_path: Path, night: list[FrameRef], name: str) -> None:
    with pytest.raises(ArchiveError, match="cannot name a step"):
        write(tmp_path, night[0], steps={name: b"a"})
    assert Archive(tmp_path).picture(night[0]) is None


def test_frames_may_arrive_in_any_order(tmp_path: Path, night: list[FrameRef]) -> None:
    for number, ref in enumerate(reversed(night)):
        write(tmp_path, ref, number)
        records = Archive(tmp_path).frames(CAMERA, NIGHT)
        assert [r.processed for r in records] == [r.ref.index >= ref.index for r in records]
    assert Archive(tmp_path).unprocessed(CAMERA, NIGHT) == []


def test_an_open_reader_sees_what_others_write(tmp_path: Path, night: list[FrameRef]) -> None:
    archive = Archive(tmp_path)
    for ref in night:
        assert not archive.frame(ref).processed
        write(tmp_path, ref, ref.index)
        assert archive.frame(ref).scalars["star_count"] == ref.index
        write(tmp_path, ref, ref.index + 100)
        assert archive.frame(ref).scalars["star_count"] == ref.index + 100


def test_another_shape_gets_an_array_of_its_own(tmp_path: Path, night: list[FrameRef]) -> None:
    write(tmp_path, night[0], 0)
    write(tmp_path, night[1], 1, linear=linear_of(1, (6, 9, 3)))
    write(tmp_path, night[2], 2)
    ds = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "v0001.zarr")
    np.testing.assert_array_equal(ds.linear_2[1], linear_of(1, (6, 9, 3)))
    np.testing.assert_array_equal(ds.linear[2], linear_of(2))
    assert np.isnan(ds.linear[1]).all()


def test_values_that_are_not_numbers_count_as_not_measured(
    tmp_path: Path, night: list[FrameRef]
) -> None:
    write(tmp_path, night[0], scalars={"a": np.nan, "b": np.inf, "c": 1.0})
    scalars = Archive(tmp_path).frame(night[0]).scalars
    assert scalars["c"] == 1.0
    assert not {"a", "b"} & scalars.keys()


def test_without_a_raw_frame_there_is_nothing_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="Store the raw frame first"):
        write(tmp_path, FrameRef(CAMERA, NIGHT, 0))
    with pytest.raises(ValueError, match="not a camera name"):
        write(tmp_path, FrameRef("../up", NIGHT, 0))


def test_a_crash_before_the_commit_leaves_the_frame_unprocessed(
    tmp_path: Path, night: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, night[0], 0)

    def power_cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(processed.ProcessedWriter, "_commit", power_cut)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, night[1], 1)
    archive = Archive(tmp_path)
    assert archive.frame(night[0]).processed
    assert not archive.frame(night[1]).processed
    assert night[1] in archive.unprocessed(CAMERA, NIGHT)
    write(tmp_path, night[1], 1)
    assert archive.frame(night[1]).processed
    assert not errors_of(tmp_path)


def test_a_full_disk_is_named_and_the_frame_goes_in_later(
    tmp_path: Path, night: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, night[0], 0)
    real = processed.stage

    def full(path: Path, data: bytes, *, sync: bool) -> Path:
        if path.parent.name == "pictures":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, data, sync=sync)

    with monkeypatch.context() as patch:
        patch.setattr(processed, "stage", full)
        with pytest.raises(ArchiveFull, match="disk is full"):
            write(tmp_path, night[1], 1)
    assert not Archive(tmp_path).frame(night[1]).processed
    write(tmp_path, night[1], 1)
    assert Archive(tmp_path).frame(night[1]).processed


def _work(root: Path, worker: int, workers: int, count: int) -> None:
    for index in range(count):
        if index % workers == worker or index % 5 == 0:  # every fifth is done by all of them
            ref = FrameRef(CAMERA, NIGHT, index)
            write(root, ref, index, scalars={"star_count": float(index), f"by_{worker}": 1.0})


@pytest.mark.slow
def test_several_processes_write_one_night(tmp_path: Path, site: Site) -> None:
    count, workers = 10, 3
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    for k in range(count):
        writer.append(make_bracket(k, exposures=1, shape=(8, 8)), {})
    writer.close()
    context = multiprocessing.get_context("forkserver")
    processes = [
        context.Process(target=_work, args=(tmp_path, w, workers, count)) for w in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [p.exitcode for p in processes] == [0] * workers
    archive = Archive(tmp_path)
    assert archive.unprocessed(CAMERA, NIGHT) == []
    records = archive.frames(CAMERA, NIGHT)
    assert [r.scalars["star_count"] for r in records] == list(range(count))
    for record in records:  # the row of one writer is not mixed with another's
        assert sum(name.startswith("by_") for name in record.scalars) == 1
    ds = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "v0001.zarr")
    for index in range(count):
        np.testing.assert_array_equal(ds.linear[index], linear_of(index))
    assert not errors_of(tmp_path)
