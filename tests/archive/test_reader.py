"""Reading while others write, from read-only folders, and what is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.archive import Archive, FrameRef, NoSuchFrame, RawWriter
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

NIGHT = date(2026, 11, 22)
CAMERA = "sim-camera-1"


def fill(
    root: Path, site: Site, count: int, *, camera: str = "Sim Camera 1", days: int = 0
) -> None:
    writer = RawWriter(root, camera, site)
    for k in range(count):
        start = EVENING + timedelta(days=days, seconds=20 * k)
        writer.append(make_bracket(k, exposures=1, shape=(8, 8), start=start), {"level": k / 10})
    writer.close()


def test_nights_and_cameras_are_listed_and_nothing_else(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 1)
    fill(tmp_path, site, 2, days=1)
    fill(tmp_path, site, 1, camera="Other", days=2)
    for stray in ("prefect", "rescue", "Sim Camera 1", f"{CAMERA}/notes", f"{CAMERA}/2026-02-30"):
        (tmp_path / stray).mkdir(parents=True)
    (tmp_path / CAMERA / "2026-11-30").mkdir()  # a night whose first frame is still to come
    (tmp_path / "file").touch()
    archive = Archive(tmp_path)
    assert archive.cameras() == ["other", CAMERA]
    assert archive.nights("Sim Camera 1") == [NIGHT, date(2026, 11, 23)]
    assert archive.nights() == [NIGHT, date(2026, 11, 23), date(2026, 11, 24)]
    newest = archive.latest()
    assert newest is not None
    assert newest.ref == FrameRef("other", date(2026, 11, 24), 0)
    mine = archive.latest("Sim Camera 1")
    assert mine is not None
    assert mine.ref == FrameRef(CAMERA, date(2026, 11, 23), 1)
    assert archive.latest(processed=True) is None
    assert archive.site(CAMERA, NIGHT) == site
    assert archive.device(CAMERA, NIGHT) == "Sim Camera 1"


def test_a_part_of_a_night_is_read_by_number(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 5)
    archive = Archive(tmp_path)
    assert [r.ref.index for r in archive.frames(CAMERA, NIGHT, 1, 3)] == [1, 2]
    assert [r.ref.index for r in archive.frames(CAMERA, NIGHT, 3, 99)] == [3, 4]
    assert archive.frames(CAMERA, NIGHT, 5) == []
    assert archive.count(CAMERA, NIGHT) == 5


@pytest.mark.parametrize("index", [-1, 3, 10**6])
def test_frames_that_do_not_exist_are_named(tmp_path: Path, site: Site, index: int) -> None:
    fill(tmp_path, site, 3)
    ref = FrameRef(CAMERA, NIGHT, index)
    with pytest.raises(NoSuchFrame, match="no frame"):
        Archive(tmp_path).frame(ref)
    with pytest.raises(NoSuchFrame, match="no frame"):
        Archive(tmp_path).bracket(ref)
    assert Archive(tmp_path).picture(ref) is None


@pytest.mark.parametrize("camera", ["..", "../..", "a/b", "", "-x", "A"])
def test_a_camera_name_never_leaves_the_archive(tmp_path: Path, camera: str) -> None:
    with pytest.raises(ValueError, match="not a camera name"):
        Archive(tmp_path).bracket(FrameRef(camera, NIGHT, 0))


def test_one_reader_follows_a_growing_night(tmp_path: Path, site: Site) -> None:
    archive = Archive(tmp_path)
    assert archive.latest() is None
    writer = RawWriter(tmp_path, "Sim Camera 1", site)
    for k in range(4):
        writer.append(make_bracket(k, exposures=1), {"level": k / 10})
        newest = archive.latest()
        assert newest is not None
        assert newest.ref.index == k
        assert newest.scalars["level"] == pytest.approx(k / 10)
        assert archive.commits(CAMERA, NIGHT) == (k + 1, 0)
    writer.close()


def test_readers_never_see_half_a_frame(tmp_path: Path, site: Site) -> None:
    count = 12
    done = threading.Event()
    wrong: list[str] = []
    seen: list[int] = []

    def read() -> None:
        while True:
            last = done.is_set()
            archive = Archive(tmp_path)
            for record in archive.frames(CAMERA, NIGHT)[-2:]:
                k = record.ref.index
                expected = make_bracket(k, exposures=1 + k % 3, shape=(8, 8))
                if record.scalars.get("number") != k or len(record.exposures_s) != 1 + k % 3:
                    wrong.append(f"numbers of {k}: {record}")
                pixels = archive.bracket(record.ref).exposures[-1].pixels
                if not np.array_equal(pixels, expected.exposures[-1].pixels):
                    wrong.append(f"pixels of {k}")
                seen.append(k)
            if last:
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        writer = RawWriter(tmp_path, "Sim Camera 1", site)
        for k in range(count):
            writer.append(make_bracket(k, exposures=1 + k % 3, shape=(8, 8)), {"number": k})
        writer.close()
    finally:
        done.set()
        reader.join(60)
    assert wrong == []
    assert seen


READ = """
import os, sys
from datetime import date
from pathlib import Path
import zarr.storage, zarr.codecs
from allsky360.archive import Archive, FrameRef, verify_night
os.setgid(65534)
os.setuid(65534)
root = Path(sys.argv[1])
archive = Archive(root)
assert not os.access(root, os.W_OK)
print(len(archive.frames("sim-camera-1", date(2026, 11, 22))))
print(archive.bracket(FrameRef("sim-camera-1", date(2026, 11, 22), 1)).exposures[0].pixels.shape)
print([p for p in verify_night(root / "sim-camera-1" / "2026-11-22") if p.severity == "error"])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to be without write access")
def test_reading_needs_no_write_access(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("readonly")
    fill(root, site, 2)
    for folder in (root, *root.parents):
        # pytest keeps its folders to itself, and xdist nests them one deeper
        if folder.owner() == "root" and "pytest-of-" in str(folder):
            folder.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", READ, str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout.splitlines() == ["2", "(8, 8)", "[]"], result.stderr
