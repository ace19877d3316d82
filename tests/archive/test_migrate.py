"""Schemas of stores: other times are refused by name, and a migration survives any interruption."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from allsky360.archive import (
    Archive,
    ArchiveBusy,
    ArchiveError,
    FrameRef,
    ProcessedWriter,
    RawWriter,
    durable,
    group,
    migrate,
    verify_night,
)
from allsky360.archive.errors import ArchiveFull, UnknownSchema
from allsky360.archive.layout import SCHEMA
from allsky360.cli import app
from allsky360.model import Site
from tests.archive.conftest import EVENING, make_bracket
from tests.archive.powercut import Disk, record

CAMERA = "sim-camera-1"
NIGHT = date(2026, 11, 22)
STORES = ("raw.zarr", "raw-2.zarr", "v0001.zarr")
SHAPES = ((8, 9), (8, 9), (6, 9))


def write_night(root: Path) -> Path:
    """Three frames in two raw stores, one processed."""
    writer = RawWriter(root, "Sim Camera 1", Site("s", 28.76, -17.88))
    refs = [writer.append(make_bracket(k, exposures=1, shape=s), {}) for k, s in enumerate(SHAPES)]
    writer.close()
    ProcessedWriter(root, CAMERA, NIGHT).write(
        refs[1],
        time=EVENING,
        linear=np.full((4, 5, 3), 0.5, np.float32),
        picture_jpeg=b"\xff\xd8x\xff\xd9",
        scalars={"stars": 7.0},
        provenance={},
    )
    return root / CAMERA / NIGHT.isoformat()


def mark(store: Path, schema: int | None) -> None:
    """Give a store another number, durably; None takes it away."""
    marker = store / "zarr.json"
    content = json.loads(marker.read_bytes())
    content["attributes"].pop("schema", None)
    if schema is not None:
        content["attributes"]["schema"] = schema
    durable.write_atomic(marker, json.dumps(content).encode(), sync=True)
    durable.sync_folder(store)


def schemas(folder: Path) -> list[int | None]:
    markers = [json.loads((folder / s / "zarr.json").read_bytes()) for s in STORES]
    return [m["attributes"].get("schema") for m in markers]


def check(root: Path, more: int = 0) -> None:
    """Everything of the night is there, whatever the schema, and ``more`` frames."""
    archive = Archive(root)
    for k, shape in enumerate(SHAPES):
        want = make_bracket(k, exposures=1, shape=shape).exposures[0].pixels
        got = archive.bracket(FrameRef(CAMERA, NIGHT, k)).exposures[0].pixels
        np.testing.assert_array_equal(got, want)
    assert [r.index for r in archive.unprocessed(CAMERA, NIGHT)] == [0, 2, *range(3, 3 + more)]
    assert archive.frames(CAMERA, NIGHT)[1].scalars["stars"] == 7.0
    linear = archive.linear(FrameRef(CAMERA, NIGHT, 1))
    assert linear is not None
    assert float(linear.min()) == 0.5


def contents(root: Path) -> dict[str, bytes]:
    """Everything of an archive but what announces its stores, and what is left over from a cut."""
    kept = (p for p in root.rglob("*") if p.is_file() and p.parent.suffix != ".zarr")
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in kept
        if p.suffix not in (".partial", ".lock") and "half" not in p.parts
    }


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is synced is seen where a program of its own is recorded; here it only takes time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return write_night(tmp_path / "data")


@pytest.mark.parametrize("store", STORES)
def test_a_newer_store_is_refused_by_name_and_left_alone(night: Path, store: str) -> None:
    root = night.parents[1]
    mark(night / store, SCHEMA + 1)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in night.rglob("*"))
    for act in (
        lambda: Archive(root).frames(CAMERA, NIGHT),
        lambda: Archive(root).unprocessed(CAMERA, NIGHT),
        lambda: group.Root.load(night / store),
    ):
        with pytest.raises(ArchiveError, match=r"newer allsky360.*Upgrade allsky360") as told:
            act()
        assert str(night / store) in str(told.value)
    assert [p.mend for p in verify_night(night) if p.severity == "error"][:1] == [
        "Upgrade allsky360."
    ]
    if store == "v0001.zarr":
        with pytest.raises(UnknownSchema):
            ProcessedWriter(root, CAMERA, NIGHT).write(
                FrameRef(CAMERA, NIGHT, 0),
                time=EVENING,
                linear=np.zeros((4, 5, 3), np.float32),
                picture_jpeg=b"\xff\xd8x\xff\xd9",
                scalars={},
                provenance={},
            )
    found = list(migrate.migrate(root))
    assert [(f.store, f.schema) for f in found] == [(store, None)]
    assert "Upgrade" in found[0].problem
    left = sorted((p.name, p.stat().st_mtime_ns) for p in night.rglob("*"))
    assert [x for x in left if not x[0].endswith(".lock")] == [
        x for x in before if not x[0].endswith(".lock")
    ]


def test_the_owner_does_not_write_into_a_newer_night(night: Path, site: Site) -> None:
    mark(night / "raw-2.zarr", SCHEMA + 1)
    writer = RawWriter(night.parents[1], "Sim Camera 1", site)
    with pytest.raises(UnknownSchema):
        writer.append(make_bracket(9, exposures=1, shape=(6, 9)), {})
    writer.close()


def test_a_store_too_old_to_read_names_the_command(night: Path) -> None:
    mark(night / "raw.zarr", None)
    with pytest.raises(UnknownSchema, match="allsky360 migrate"):
        group.Root.load(night / "raw.zarr", oldest=SCHEMA)


def test_an_unnumbered_archive_is_read_and_migrated(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLSKY360_STORAGE__ROOT", str(night.parents[1]))
    for store in STORES[1:]:
        mark(night / store, None)
    check(night.parents[1])
    dry = CliRunner().invoke(app, ["migrate", "--dry-run"])
    assert dry.exit_code == 0
    assert "2 stores would be migrated" in dry.output
    assert schemas(night) == [SCHEMA, None, None]
    done = CliRunner().invoke(app, ["migrate"])
    assert done.exit_code == 0, done.output
    assert "raw-2.zarr: schema 0 to 2" in done.output
    assert schemas(night) == [SCHEMA] * 3
    check(night.parents[1])
    assert [p for p in verify_night(night) if p.severity == "error"] == []
    assert list(migrate.migrate(night.parents[1])) == []
    mark(night / "raw.zarr", SCHEMA + 1)
    assert CliRunner().invoke(app, ["migrate"]).exit_code == 1


def test_a_marker_lost_after_the_migration_is_built_again(night: Path, site: Site) -> None:
    for store in STORES[:2]:  # as they were before attributes were kept beside
        mark(night / store, 1)
        (night / store / "attributes.json").unlink()
    assert [m.schema for m in migrate.migrate(night.parents[1])] == [1, 1]
    (night / "raw-2.zarr" / "zarr.json").unlink()
    writer = RawWriter(night.parents[1], "Sim Camera 1", site)
    bracket = make_bracket(3, exposures=1, shape=SHAPES[2])
    assert writer.append(bracket, {}).index == 3
    writer.close()
    check(night.parents[1], more=1)
    assert schemas(night)[1] == SCHEMA


def test_nothing_is_migrated_beside_a_running_owner(night: Path, site: Site) -> None:
    mark(night / "raw.zarr", None)
    writer = RawWriter(night.parents[1], "Sim Camera 1", site)
    with pytest.raises(ArchiveBusy):
        list(migrate.migrate(night.parents[1]))
    writer.close()
    assert schemas(night)[0] is None


def add_halves(store: Path, root: group.Root) -> None:
    """Write an array of its own, as a later schema may want: values and description, then named."""
    if "half" in root.arrays:
        return
    metadata = group.scalar_metadata("float64", attributes={})
    root.add_array(store, "half", metadata, sync=True)
    times = group.read_rows(store, "time", root.arrays["time"], root.rows)
    chunk = group.empty_rows(metadata, group.CHUNK)
    chunk[: len(times)] = times / 2
    path = group.chunk_path(store, "half", 0, metadata)
    durable.write_atomic(path, chunk.tobytes(), sync=True)
    durable.sync_folder(store / "half")


def interruptions(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> Iterator[type[BaseException]]:
    """Break ``act`` at its first, second, … file operation until it gets through."""
    for fault, step in ((KeyboardInterrupt(), 1), (OSError(28, "no space left on device"), 5)):
        for at in count(0, step):
            told = None
            with monkeypatch.context() as patch:
                _break(patch, at, fault)
                try:
                    act()
                except (KeyboardInterrupt, ArchiveFull) as error:
                    told = type(error)
            if told is None:
                break
            yield told


def _break(patch: pytest.MonkeyPatch, at: int, fault: BaseException) -> None:
    """Let every file operation from a number on fail."""
    passed = count()

    def broken(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if next(passed) >= at:
                raise fault
            return real(*arguments)

        return call

    for name in ("fsync", "replace"):
        patch.setattr(os, name, broken(getattr(os, name)))


def test_broken_at_any_operation_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps, one of which writes an array; the disk is full, or the program ends, at each."""
    monkeypatch.setattr(migrate, "SCHEMA", 3)
    monkeypatch.setattr(group, "SCHEMA", 3)
    steps = {**migrate.STEPS, 2: add_halves}
    first = write_night(tmp_path / "first")
    for store in STORES[::2]:
        mark(first / store, None)
    mark(first / STORES[1], 3)
    whole = contents(tmp_path / "first")
    number = count()
    breaks = []

    def act() -> None:
        root = tmp_path / f"try-{next(number)}"
        shutil.copytree(tmp_path / "first", root)
        tried.append(root)
        list(migrate.migrate(root, steps))

    tried: list[Path] = []
    for kind in interruptions(monkeypatch, act):
        breaks.append(kind)
        root = tried.pop()
        assert len(Archive(root).frames(CAMERA, NIGHT)) == 3
        list(migrate.migrate(root, steps))
        assert contents(root) == whole
        folder = root / CAMERA / NIGHT.isoformat()
        assert schemas(folder) == [3] * 3
        for store in STORES[::2]:
            loaded = group.Root.load(folder / store)
            half = group.read_rows(folder / store, "half", loaded.arrays["half"], loaded.rows)
            time = group.read_rows(folder / store, "time", loaded.arrays["time"], loaded.rows)
            np.testing.assert_array_equal(half, time / 2)
        shutil.rmtree(root)
    check(tried.pop())
    assert {KeyboardInterrupt, ArchiveFull} == set(breaks)
    assert len(breaks) > 30


PROGRAM = """
import sys
from pathlib import Path
from allsky360.archive import migrate
from tests.archive.test_migrate import STORES, mark, write_night

night = write_night(Path(sys.argv[1]))
for store in STORES:
    mark(night / store, None)
for folder in (night, *night.parents[:2], *(p for p in night.rglob("*") if p.is_dir())):
    from allsky360.archive.durable import sync_file, sync_folder
    sync_folder(folder)
for file in night.rglob("*"):  # processed frames are not synced: they can be made again
    if file.is_file():
        sync_file(file)
print("begin", flush=True)
for found in migrate.migrate(Path(sys.argv[1])):
    print(found.store, flush=True)
"""


def test_a_power_cut_at_any_instant_costs_nothing(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let programs be traced")
    root = tmp_path / "data"
    root.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(root)]
    done = record(
        command, root, tmp_path / "log", cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL
    )
    words = [(k, op.data.decode().split()) for k, op in enumerate(done) if op.what == "said"]
    said = [(k, found) for k, found in words if found]
    begun = said[0][0]
    assert [found for _, found in said] == [["begin"], *([s] for s in STORES)]
    disk = Disk(root)
    for op in done[:begun]:
        disk.follow(op)
    chance = random.Random(20261128)
    whole = contents(root)
    for k in range(begun, len(done)):
        disk.follow(done[k])
        if k % 3:  # the others are broken in the test before
            continue
        left = tmp_path / "left"
        disk.after_power_cut(left, "promised" if k % 2 else chance)
        assert len(Archive(left).frames(CAMERA, NIGHT)) == 3
        folder = left / CAMERA / NIGHT.isoformat()
        told = sum(at <= k for at, _ in said[1:])
        assert schemas(folder)[:told] == [SCHEMA] * told
        list(migrate.migrate(left))
        assert contents(left) == whole
        assert schemas(folder) == [SCHEMA] * 3
        shutil.rmtree(left)
    check(root)
