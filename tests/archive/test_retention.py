"""Retention: what goes by age and by free space, what never does, and on a disk that is full."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import xarray as xr

from allsky360.archive import Archive, FrameRef, RawRemoved, RawWriter, verify_night
from allsky360.archive import retention as room
from allsky360.archive.errors import ArchiveFull
from allsky360.archive.removed import removed, set_favourite
from allsky360.archive.retention import is_short, plan, tidy
from allsky360.config_retention import RetentionSettings
from allsky360.model import Site
from allsky360.owner.relief import Relief
from tests.archive.conftest import EVENING, make_bracket
from tests.archive.test_processed import write

CAMERA = "sim-camera-1"
FIRST = date(2026, 11, 22)
NOW = datetime(2026, 12, 31, tzinfo=UTC)
KEEP_ALL = RetentionSettings(low_free_percent=0, high_free_percent=0, versions_days=0)


def fill(
    root: Path, site: Site, nights: int, frames: int = 3, processed: int = 3, side: int = 40
) -> None:
    writer = RawWriter(root, "Sim Camera 1", site)
    for day in range(nights):
        for k in range(frames):
            start = EVENING + timedelta(days=day, seconds=20 * k)
            bracket = make_bracket(k, exposures=2, start=start, shape=(side, side))
            ref = writer.append(bracket, {"level": 0.1})
            if k < processed:
                write(root, ref, k, time=start)
    writer.close()


def folder(root: Path, day: int) -> Path:
    return root / CAMERA / (FIRST + timedelta(days=day)).isoformat()


def raw_images(root: Path, day: int) -> list[Path]:
    return sorted((folder(root, day) / "raw.zarr" / "raw").glob("c.*"))


def break_folder(monkeypatch: pytest.MonkeyPatch, broken: Path) -> None:
    note = room.note_removed

    def refuse(night: Path, *rest: object) -> None:
        if night == broken:
            raise OSError(errno.EIO, "broken sector")
        note(night, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "note_removed", refuse)


def trouble(root: Path, day: int) -> list[str]:
    found = verify_night(folder(root, day))
    return [f"{p.where}: {p.what}" for p in found if p.severity in ("error", "warning")]


def rules(**changes: int) -> RetentionSettings:
    return KEEP_ALL.model_copy(update={"keep_nights": 1} | changes)


def test_the_defaults_remove_nothing_while_there_is_room(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 3)
    assert plan(tmp_path, RetentionSettings(), NOW, free_bytes=60, total_bytes=100) == []


def test_each_kind_goes_at_its_age_and_nothing_else(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 3)
    # the nights are 39, 38 and 37 days old; the newest is never touched
    done = tidy(tmp_path, rules(raw_days=37, pictures_days=38), NOW)
    assert [(r.night.day, r.kind) for r in done] == [(22, "raw"), (22, "pictures"), (23, "raw")]
    assert all(r.bytes > 0 and "older than" in r.reason for r in done)
    archive = Archive(tmp_path)
    night = FIRST
    assert len(archive.frames(CAMERA, night)) == 3  # numbers stay, pixels went
    assert archive.picture(FrameRef(CAMERA, night, 0)) is None
    with pytest.raises(RawRemoved, match="2026-12-31"):
        archive.bracket(FrameRef(CAMERA, night, 0))
    second = FrameRef(CAMERA, FIRST + timedelta(days=1), 0)
    assert archive.picture(second) is not None
    assert archive.bracket(FrameRef(CAMERA, FIRST + timedelta(days=2), 0)).exposures
    assert [trouble(tmp_path, day) for day in range(3)] == [[], [], []]
    with xr.open_zarr(folder(tmp_path, 0) / "v0001.zarr") as store:
        assert store.background.values.tolist() == [0.5, 1.5, 2.5]
    assert tidy(tmp_path, rules(raw_days=37, pictures_days=38), NOW) == []


def test_raw_that_was_not_processed_stays_and_still_reads(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 2, frames=4, processed=2)
    (done,) = tidy(tmp_path, rules(raw_days=1), NOW)
    assert done.files == 4  # two frames of two exposures
    archive = Archive(tmp_path)
    assert archive.bracket(FrameRef(CAMERA, FIRST, 3)).exposures
    with pytest.raises(RawRemoved):
        archive.bracket(FrameRef(CAMERA, FIRST, 1))
    # what retention spared and somebody else deleted is damage all the same
    next((folder(tmp_path, 0) / "raw.zarr" / "raw").glob("c.3.0*")).unlink()
    assert any("frame 3 exposure 0" in found for found in trouble(tmp_path, 0))


def test_the_oldest_raw_gives_way_first_and_only_as_much_as_needed(
    tmp_path: Path, site: Site
) -> None:
    fill(tmp_path, site, 4)
    wanted = rules(low_free_percent=5, high_free_percent=10)
    sizes = [r.bytes for r in plan(tmp_path, rules(raw_days=1), NOW)]
    total = 20 * sizes[0]
    short = plan(tmp_path, wanted, NOW, free_bytes=int(0.04 * total), total_bytes=total)
    assert [(r.night.day, r.kind) for r in short] == [(22, "raw"), (23, "raw")]
    assert plan(tmp_path, wanted, NOW, free_bytes=int(0.06 * total), total_bytes=total) == []
    nothing = plan(tmp_path, wanted, NOW, free_bytes=0, total_bytes=10**15)
    kinds = [r.kind for r in nothing]
    assert kinds == ["raw"] * 3 + ["linear"] * 3 + ["pictures"] * 3


def test_the_floor_of_capture_counts_on_a_small_disk(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 2)
    wanted = rules(low_free_percent=5, high_free_percent=10)
    usage = {"free_bytes": 7_000, "total_bytes": 100_000}
    assert plan(tmp_path, wanted, NOW, **usage) == []
    assert plan(tmp_path, wanted, NOW, floor_bytes=8_000, **usage)[0].kind == "raw"
    assert is_short(tmp_path, wanted, 1e18)
    assert not is_short(tmp_path, rules(), 1e18)


def test_favourites_and_nights_that_are_reprocessed_keep_everything(
    tmp_path: Path, site: Site
) -> None:
    fill(tmp_path, site, 4)
    set_favourite(folder(tmp_path, 0), True)
    (folder(tmp_path, 1) / "v0002.zarr").mkdir()  # being written, not yet current
    assert {r.night.day for r in plan(tmp_path, rules(raw_days=1), NOW)} == {24}
    set_favourite(folder(tmp_path, 0), False)
    assert {r.night.day for r in plan(tmp_path, rules(raw_days=1), NOW)} == {22, 24}


def test_a_version_that_was_replaced_goes_and_the_current_one_stays(
    tmp_path: Path, site: Site
) -> None:
    fill(tmp_path, site, 2)
    night = folder(tmp_path, 0)
    shutil.copytree(night / "v0001.zarr", night / "v0002.zarr")
    shutil.copytree(night / "v0001", night / "v0002")
    (night / "current.json").write_text('{"version": "v0002"}')
    (night / "v0001.zarr.damaged-1").mkdir()
    (night / "v0001.zarr.damaged-1" / "zarr.json").write_text("{")
    at = datetime.now(UTC) + timedelta(days=31)
    (done,) = tidy(tmp_path, rules(versions_days=30), at)
    assert done.kind == "versions"
    assert not list(night.glob("v0001*"))
    assert trouble(tmp_path, 0) == []
    assert Archive(tmp_path).picture(FrameRef(CAMERA, FIRST, 0)) == night / (
        "v0002/pictures/000000.jpg"
    )


def test_links_are_not_followed(tmp_path: Path, site: Site) -> None:
    root, outside = tmp_path / "archive", tmp_path / "precious"
    fill(root, site, 2)
    outside.mkdir()
    (outside / "photo.jpg").write_bytes(b"mine")
    products = folder(root, 0) / "v0001" / "products"
    products.mkdir()
    (products / "elsewhere").symlink_to(outside)
    (products / "photo.jpg").symlink_to(outside / "photo.jpg")
    (products / "keogram.png").write_bytes(b"ours")
    tidy(root, rules(products_days=1), NOW)
    assert (outside / "photo.jpg").read_bytes() == b"mine"
    assert not (products / "keogram.png").exists()


def test_one_folder_that_refuses_does_not_keep_the_disk_full(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, site, 3)
    break_folder(monkeypatch, folder(tmp_path, 0))
    assert [r.night.day for r in tidy(tmp_path, rules(raw_days=1), NOW)] == [23]
    assert trouble(tmp_path, 0) == []


def test_what_was_not_removed_makes_no_room(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, site, 4)
    size = plan(tmp_path, rules(raw_days=1), NOW)[0].bytes
    total = 20 * size
    usage = SimpleNamespace(total=total, free=int(0.04 * total))
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage)
    break_folder(monkeypatch, folder(tmp_path, 0))
    done = tidy(tmp_path, rules(low_free_percent=5, high_free_percent=10), NOW)
    assert [(r.night.day, r.kind) for r in done] == [(23, "raw"), (24, "raw")]


def test_a_night_that_cannot_be_listed_holds_up_no_other(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, site, 4)
    list_folder = Path.iterdir
    broken = {folder(tmp_path, 0), folder(tmp_path, 1) / "v0001.zarr"}

    def refuse(path: Path) -> Iterator[Path]:
        if path in broken:
            raise OSError(errno.EIO, "broken sector", str(path))
        return list_folder(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert [n.day for n in Archive(tmp_path).nights()] == [23, 24, 25]
    done = tidy(tmp_path, rules(raw_days=1, linear_days=1), NOW)
    assert [(r.night.day, r.kind) for r in done] == [(23, "raw"), (24, "raw"), (24, "linear")]
    broken |= {folder(tmp_path, day) for day in (1, 2, 3)}
    with pytest.raises(OSError, match="broken sector"):  # a dying disk is no empty archive
        Archive(tmp_path).cameras()


def test_only_one_process_tidies(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 2)
    with room._alone(tmp_path) as first:
        assert first
        assert tidy(tmp_path, rules(raw_days=1), NOW) == []
    assert len(tidy(tmp_path, rules(raw_days=1), NOW)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def use_up(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        written = 1
        while written:
            try:
                written = file.write(bytes(4096))
            except OSError:
                written = 0
    assert shutil.disk_usage(disk).free == 0


def test_a_disk_without_a_free_byte_is_freed(small_disk: Path, site: Site) -> None:
    fill(small_disk, site, 3, side=200)
    use_up(small_disk)
    following = make_bracket(9, start=EVENING + timedelta(days=3), shape=(200, 200))
    writer = RawWriter(small_disk, "Sim Camera 1", site)
    with pytest.raises(ArchiveFull):
        writer.append(following, {})
    done = tidy(small_disk, rules(low_free_percent=2, high_free_percent=8), NOW)
    assert [(r.night.day, r.kind) for r in done] == [(22, "raw")]
    assert "raw" in removed(folder(small_disk, 0))
    assert writer.append(following, {}).index == 0
    writer.close()
    assert [trouble(small_disk, day) for day in range(3)] == [[], [], []]


def test_files_with_a_second_name_make_no_room_for_the_note(small_disk: Path, site: Site) -> None:
    fill(small_disk, site, 3, side=200)
    images = raw_images(small_disk, 0)
    (small_disk / "snapshot").mkdir()
    for k, image in enumerate(images[1:]):
        os.link(image, small_disk / "snapshot" / str(k))
    use_up(small_disk)
    done = tidy(small_disk, rules(low_free_percent=2, high_free_percent=8), NOW)
    assert (FIRST, "raw") in [(r.night, r.kind) for r in done]
    assert [trouble(small_disk, day) for day in range(3)] == [[], [], []]
    again, other = raw_images(small_disk, 2)[:2]
    for image in (again, other):
        os.link(image, small_disk / "snapshot" / image.name)
    use_up(small_disk)
    with pytest.raises(OSError, match="No space left"):
        room._remove(folder(small_disk, 2), "raw", [again, other], NOW)
    assert again.exists()  # nothing was gained by deleting it
    assert other.exists()


def test_what_a_snapshot_holds_stays_for_it_would_free_nothing(tmp_path: Path, site: Site) -> None:
    fill(tmp_path, site, 4, side=200)
    (tmp_path / "snapshot").mkdir()
    for image in raw_images(tmp_path, 0):
        os.link(image, tmp_path / "snapshot" / image.name)
    short = rules(low_free_percent=2, high_free_percent=4)
    (chosen,) = plan(tmp_path, short, NOW, free_bytes=0, total_bytes=1_000_000)
    assert (chosen.night.day, chosen.kind) == (23, "raw")
    assert chosen.bytes > 0.04 * 1_000_000
    by_age = plan(tmp_path, rules(raw_days=1), NOW)
    assert [(r.night.day, r.bytes > 0) for r in by_age] == [(22, False), (23, True), (24, True)]


async def test_the_owner_makes_room_by_itself(small_disk: Path, site: Site) -> None:
    fill(small_disk, site, 3, side=200)
    use_up(small_disk)
    relief = Relief(small_disk, rules(low_free_percent=2, high_free_percent=8), 0.0, every_s=0.0)
    relief.look()
    await relief.stop()
    assert shutil.disk_usage(small_disk).free > 0.05 * 4 * 2**20
    assert "raw" in removed(folder(small_disk, 0))
    relief.look()  # enough is free: nothing more goes
    await relief.stop()
    assert removed(folder(small_disk, 1)) == {}
