"""Raw frames: written whole, read back exactly, seen by plain xarray, safe from every fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from allsky360.archive import (
    Archive,
    ArchiveBusy,
    ArchiveError,
    ArchiveFull,
    FrameRef,
    RawWriter,
    verify_night,
)
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"


def same(a: object, b: object) -> None:
    assert len(a.exposures) == len(b.exposures)  # type: ignore[attr-defined]
    for x, y in zip(a.exposures, b.exposures, strict=True):  # type: ignore[attr-defined]
        np.testing.assert_array_equal(x.pixels, y.pixels)
        assert x.pixels.dtype == y.pixels.dtype
        for name in ("pattern", "start", "exposure_s", "gain", "offset", "temperature_c", "egain"):
            assert getattr(x, name) == getattr(y, name), name


@pytest.mark.parametrize(
    ("shape", "dtype", "exposures"),
    [((33, 50), np.uint16, 1), ((40, 41), np.uint8, 5), ((20, 30, 3), np.uint16, 3)],
)
def test_a_bracket_comes_back_exactly(
    tmp_path: Path, site: Site, shape: tuple[int, ...], dtype: type, exposures: int
) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    brackets = [make_bracket(k, shape=shape, dtype=dtype, exposures=exposures) for k in range(3)]
    refs = [writer.append(b, {"sun_altitude_deg": -30.5 + k}) for k, b in enumerate(brackets)]
    writer.close()
    archive = Archive(tmp_path)
    assert refs == [FrameRef(CAMERA, NIGHT, k) for k in range(3)]
    for ref, bracket in zip(refs, brackets, strict=True):
        same(archive.bracket(ref), bracket)
    records = archive.frames("Sim Camera 1", NIGHT)
    assert [r.ref for r in records] == refs
    assert records[2].scalars["sun_altitude_deg"] == pytest.approx(-28.5)
    assert records[0].exposures_s == tuple(8.0 / 4**k for k in range(exposures))
    assert records[0].time == EVENING
    assert not records[0].processed
    assert verify_night(tmp_path / CAMERA / "2026-11-22") == [
        p for p in verify_night(tmp_path / CAMERA / "2026-11-22") if p.severity == "info"
    ]


def test_plain_xarray_sees_the_committed_frames_and_nothing_else(
    tmp_path: Path, site: Site
) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    for k in range(3):
        writer.append(make_bracket(k), {"level": 0.1 * k})
        ds = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "raw.zarr")  # while it grows
        assert ds.sizes["time"] == k + 1
        assert not np.isnat(ds.time.values).any()
        assert float(ds.level[-1]) == pytest.approx(0.1 * k)
        np.testing.assert_array_equal(ds.raw[k, 1], make_bracket(k).exposures[1].pixels)
    assert ds.raw.dims == ("time", "exposure", "y", "x")
    assert ds.exposure_s.attrs["units"] == "s"
    assert ds.attrs["pattern"] == "RGGB"
    assert np.isnat(ds.exposure_start.values[0, 2])
    writer.close()
    sealed = xr.open_zarr(tmp_path / CAMERA / "2026-11-22" / "raw.zarr", consolidated=False)
    assert sealed.sizes["time"] == 3


def test_a_writer_resumes_after_close_and_changes_night_at_noon(tmp_path: Path, site: Site) -> None:
    for k in range(2):
        writer = RawWriter(tmp_path, "Sim Camera 1", site)
        assert writer.append(make_bracket(k), {}).index == k
        writer.close()
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    tomorrow = writer.append(make_bracket(9, start=EVENING + timedelta(hours=20)), {})
    assert (tomorrow.night, tomorrow.index) == (date(2026, 11, 23), 0)
    back = writer.append(make_bracket(10, start=EVENING - timedelta(hours=1)), {})
    assert (back.night, back.index) == (NIGHT, 2)  # the clock went back: kept, in order of arrival
    writer.close()
    archive = Archive(tmp_path)
    assert archive.nights() == [NIGHT, date(2026, 11, 23)]
    assert len(archive.frames(CAMERA, NIGHT)) == 3
    problems = verify_night(tmp_path / CAMERA / "2026-11-22")
    assert any("clock was set back" in p.what for p in problems)
    assert not [p for p in problems if p.severity == "error"]


def test_new_scalars_and_a_new_sensor_shape_join_a_running_night(
    tmp_path: Path, site: Site
) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    writer.append(make_bracket(0), {})
    writer.append(make_bracket(1), {"level": 0.5})
    other = writer.append(make_bracket(2, shape=(16, 24)), {"level": 0.6})
    third = writer.append(make_bracket(3), {"level": 0.7})
    writer.close()
    archive = Archive(tmp_path)
    assert (other.index, third.index) == (2, 3)
    assert archive.bracket(other).exposures[0].pixels.shape == (16, 24)
    same(archive.bracket(third), make_bracket(3))
    assert [r.scalars.get("level") for r in archive.frames(CAMERA, NIGHT)] == [
        None,
        pytest.approx(0.5),
        pytest.approx(0.6),
        pytest.approx(0.7),
    ]
    assert len(archive.unprocessed(CAMERA, NIGHT)) == 4
    assert not [p for p in verify_night(tmp_path / CAMERA / "2026-11-22") if p.severity == "error"]


def test_two_writers_are_refused(tmp_path: Path, site: Site) -> None:
    first = RawWriter(tmp_path, "Sim Camera 1", site)
    with pytest.raises(ArchiveBusy, match="another process"):
        RawWriter(tmp_path, "Sim Camera 1", site)
    RawWriter(tmp_path, "Other", site).close()
    first.close()
    RawWriter(tmp_path, "Sim Camera 1", site).close()


@pytest.mark.parametrize("name", ["Level", "time", "raw", "../x", "", "a" * 80])
def test_unusable_scalar_names_are_refused(tmp_path: Path, site: Site, name: str) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    with pytest.raises(ArchiveError, match="cannot name a scalar"):
        writer.append(make_bracket(), {name: 1.0})
    assert writer.append(make_bracket(), {}).index == 0


def test_an_image_of_zeros_is_kept(tmp_path: Path, site: Site) -> None:
    dark = make_bracket(0, exposures=1)
    dark.exposures[0].pixels[:] = 0
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    ref = writer.append(dark, {})
    same(Archive(tmp_path).bracket(ref), dark)
    folder = tmp_path / CAMERA / "2026-11-22"
    assert not [p for p in verify_night(folder) if p.severity == "error"]


def test_damage_is_named(tmp_path: Path, site: Site) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    for k in range(4):
        writer.append(make_bracket(k), {})
    writer.close()
    store = tmp_path / CAMERA / "2026-11-22" / "raw.zarr"
    (store / "raw" / "c.1.0.0.0").unlink()
    flipped = store / "raw" / "c.2.1.0.0"
    data = bytearray(flipped.read_bytes())
    data[len(data) // 3] ^= 0xFF
    flipped.write_bytes(data)
    truncated = store / "raw" / "c.3.0.0.0"
    truncated.write_bytes(truncated.read_bytes()[:100])
    (store / "gain" / "c.0").write_bytes(b"short")
    problems = verify_night(store.parent)
    wrong = " | ".join(f"{p.where}: {p.what}" for p in problems if p.severity == "error")
    assert "frame 1 exposure 0: c.1.0.0.0 is missing" in wrong
    assert "frame 2 exposure 1" in wrong
    assert "frame 3 exposure 0" in wrong
    assert "gain" in wrong
    assert "frame 0" not in wrong
    (store / "zarr.json").write_text("{")
    (store / "attributes.json").unlink()  # or the writer builds the marker again
    with pytest.raises(ArchiveError, match="damaged"):
        Archive(tmp_path).frames(CAMERA, NIGHT)
    with pytest.raises(ArchiveError, match="damaged"):
        RawWriter(tmp_path, "Sim Camera 1", site).append(make_bracket(9), {})
    assert "damaged" in verify_night(store.parent)[0].what


def test_uncommitted_rows_of_a_crash_are_overwritten(tmp_path: Path, site: Site) -> None:
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    writer.append(make_bracket(0), {})
    root = (tmp_path / CAMERA / "2026-11-22" / "raw.zarr" / "zarr.json").read_bytes()
    writer.append(make_bracket(1, exposures=3), {"level": 9.0})
    writer.close()
    # as if the power went before the marker of frame 1 reached the disk
    (tmp_path / CAMERA / "2026-11-22" / "raw.zarr" / "zarr.json").write_bytes(root)
    assert len(Archive(tmp_path).frames(CAMERA, NIGHT)) == 1
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    ref = writer.append(make_bracket(2), {})
    assert ref.index == 1
    record = Archive(tmp_path).frame(ref)
    assert len(record.exposures_s) == 2
    assert "level" not in record.scalars
    same(Archive(tmp_path).bracket(ref), make_bracket(2))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small tmpfs here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_same_frame_goes_in_later(tiny_disk: Path, site: Site) -> None:
    writer = RawWriter(tiny_disk, "Sim Camera 1", site)
    first = writer.append(make_bracket(0), {})
    ballast = tiny_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            assert ballast.stat().st_size > 0
    with pytest.raises(ArchiveFull, match="disk is full"):
        writer.append(make_bracket(1), {})
    same(Archive(tiny_disk).bracket(first), make_bracket(0))
    ballast.unlink()
    second = writer.append(make_bracket(1), {})
    assert second.index == 1
    same(Archive(tiny_disk).bracket(second), make_bracket(1))
    assert not [p for p in verify_night(tiny_disk / CAMERA / "2026-11-22") if p.severity == "error"]


WRITER = """
import sys
from pathlib import Path
from allsky360.archive import RawWriter
from allsky360.model import Site
from datetime import timedelta
from tests.archive.conftest import EVENING, make_bracket
writer = RawWriter(Path(sys.argv[1]), "Sim Camera 1", Site("s", 28.76, -17.88))
k = int(sys.argv[2])
while True:
    ref = writer.append(make_bracket(k, start=EVENING + timedelta(seconds=k)), {"number": k})
    print(f"{ref.index} {k}", flush=True)
    k += 1
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_no_acknowledged_frame(tmp_path: Path, site: Site) -> None:
    rng = np.random.default_rng(360)
    acknowledged: dict[int, int] = {}
    for life in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(1000 * life)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(float(rng.uniform(0.0, 0.6)))
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
        process.wait()
        process.stdout.close()
        for line in lines:
            if len(line.split()) == 2:
                index, number = map(int, line.split())
                assert index not in acknowledged, "a committed frame was overwritten"
                acknowledged[index] = number
    archive = Archive(tmp_path)
    records = archive.frames(CAMERA, NIGHT)
    assert len(records) >= len(acknowledged) >= 10
    for index, number in acknowledged.items():
        assert records[index].scalars["number"] == number
        expected = make_bracket(number, start=EVENING + timedelta(seconds=number))
        same(archive.bracket(records[index].ref), expected)
    problems = verify_night(tmp_path / CAMERA / "2026-11-22")
    assert not [p for p in problems if p.severity == "error"], problems


def test_frame_ids_read_back_and_refuse_nonsense() -> None:
    ref = FrameRef("cam", NIGHT, 7)
    assert ref.id == "2026-11-22/000007"
    assert FrameRef.parse("cam", ref.id) == ref
    for camera, text in [
        ("..", ref.id),
        ("cam", "../etc/1"),
        ("cam", "2026-11-22/-1"),
        ("cam", ""),
    ]:
        with pytest.raises(ValueError, match="does not name a frame"):
            FrameRef.parse(camera, text)


def test_an_empty_archive_is_empty(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "none")
    assert archive.cameras() == []
    assert archive.nights() == []
    assert archive.latest() is None
    assert archive.frames("x", NIGHT) == []
    with pytest.raises(ArchiveError, match="no frame"):
        archive.bracket(FrameRef("x", NIGHT, 0))
