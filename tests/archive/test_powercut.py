"""A power cut at any instant costs no frame that was announced, and the archive opens."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from allsky360.archive import Archive, FrameRef, RawWriter, verify_night
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket
from tests.archive.powercut import Disk, Operation, record

CAMERA = "sim-camera-1"
REPLAYS = int(os.environ.get("ALLSKY360_TEST_REPLAYS", "30"))  # 200 take a minute and a half

WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from allsky360.archive import RawWriter
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket

for part in range(2):  # closed in between, and opened again
    writer = RawWriter(Path(sys.argv[1]), "Sim Camera 1", Site("s", 28.76, -17.88))
    for k in range(4 * part, 4 * part + 4):
        day, shape = divmod(k, 6)  # a new night, and a new shape within a night
        bracket = make_bracket(
            k,
            exposures=1 + k % 3,
            shape=(8, 8) if k != 5 else (6, 10),
            start=EVENING + timedelta(days=day, seconds=20 * k),
        )
        ref = writer.append(bracket, {"level": 0.1 * k, **({"late": 1.0} if k > 2 else {})})
        print(f"{ref.night} {ref.index} {k}", flush=True)
    writer.close()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Operation]]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    folder = tmp_path_factory.mktemp("recorded")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let programs be traced")
    root = folder / "data"
    root.mkdir()
    command = [sys.executable, "-c", WRITER, str(root)]
    quiet = subprocess.DEVNULL
    done = record(command, root, folder / "log", cwd=Path(__file__).parents[2], stdout=quiet)
    return root, done


def announced(done: list[Operation]) -> list[tuple[date, int, int]]:
    text = b"".join(op.data for op in done if op.what == "said").decode()
    rows = [line.split() for line in text.splitlines()]
    return [(date.fromisoformat(a), int(b), int(c)) for a, b, c in rows]


def expected(k: int) -> list[np.ndarray]:
    shape = (8, 8) if k != 5 else (6, 10)
    return [e.pixels for e in make_bracket(k, exposures=1 + k % 3, shape=shape).exposures]


def check(root: Path, frames: list[tuple[date, int, int]], *, plainly: bool) -> None:
    archive = Archive(root)
    for night, index, k in frames:
        bracket = archive.bracket(FrameRef(CAMERA, night, index))
        for exposure, pixels in zip(bracket.exposures, expected(k), strict=True):
            np.testing.assert_array_equal(exposure.pixels, pixels)
    for night in archive.nights(CAMERA):
        folder = root / CAMERA / night.isoformat()
        assert [p for p in verify_night(folder) if p.severity == "error"] == []
        for store in folder.glob("raw*.zarr") if plainly else ():
            if (store / "zarr.json").exists():
                with xr.open_zarr(store) as opened:
                    assert opened.sizes["time"] >= 1


def test_the_model_ends_where_the_program_ended(
    recorded: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    root, done = recorded
    disk = Disk(root)
    for op in done:
        disk.follow(op)
    disk.after_power_cut(tmp_path / "left", "all")
    names = sorted(p.relative_to(root) for p in root.rglob("*"))
    left = tmp_path / "left"
    assert names == sorted(p.relative_to(left) for p in left.rglob("*"))
    for name in names:
        if (root / name).is_file():
            assert (left / name).read_bytes() == (root / name).read_bytes(), name
    assert len(announced(done)) == 8


def test_the_model_notices_a_missing_sync(
    recorded: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    root, done = recorded
    disk = Disk(root)
    for op in done:
        if op.what != "sync":
            disk.follow(op)
    disk.after_power_cut(tmp_path / "left", "promised")
    assert list((tmp_path / "left").iterdir()) == []


def test_no_announced_frame_is_lost_whenever_the_power_goes(
    recorded: tuple[Path, list[Operation]], tmp_path: Path, site: Site
) -> None:
    root, done = recorded
    chance = random.Random(20261128)
    for replay in range(REPLAYS):
        until = chance.randrange(len(done) + 1)
        disk = Disk(root)
        for op in done[:until]:
            disk.follow(op)
        left = tmp_path / f"cut-{replay}"
        disk.after_power_cut(left, "promised" if replay % 4 == 0 else chance)
        frames = announced(done[:until])
        check(left, frames, plainly=replay % 5 == 0)
        if replay % 10 == 0:  # and the owner goes on where it was
            writer = RawWriter(left, "Sim Camera 1", site)
            ref = writer.append(make_bracket(99, shape=(8, 8), start=EVENING), {})
            writer.close()
            check(left, frames, plainly=False)
            assert ref.index >= sum(night == ref.night for night, *_ in frames)
        shutil.rmtree(left)
