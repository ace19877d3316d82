"""The safe copy: proven, resumed, looked after, believed by retention, and brought back."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from allsky360.alarms.looking import offsite_words
from allsky360.alarms.troubles import Look, troubles
from allsky360.archive import Archive, FrameRef, elsewhere, verify_night
from allsky360.archive.elsewhere import Elsewhere, elsewhere_of, read_record
from allsky360.archive.layout import night_folder
from allsky360.archive.retention import plan, tidy
from allsky360.cli import app
from allsky360.config import Settings, StorageSettings
from allsky360.config_alarms import AlarmSettings
from allsky360.config_offsite import OffsiteSettings
from allsky360.config_retention import RetentionSettings
from allsky360.model import Site
from allsky360.objects.place import ObjectsError, open_place
from allsky360.offsite import copy as copy_room
from allsky360.offsite import proof
from allsky360.offsite.copy import Pace, copy_nights, copy_unit
from allsky360.offsite.fetch import fetch_unit
from allsky360.offsite.proof import Unreadable
from allsky360.offsite.select import Unit
from allsky360.offsite.state import read_state
from allsky360.offsite.verify import verify_unit
from tests.report.conftest import CAMERA, NIGHT, make_night

GO = RetentionSettings(low_free_percent=0, high_free_percent=0, versions_days=0, keep_nights=1)
NOW = datetime(2027, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def place(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OffsiteSettings:
    """A bucket of an S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    bucket = "b" + str(abs(hash(str(tmp_path))))[:12]
    assert httpx.put(f"{s3}/{bucket}", timeout=60).status_code == 200
    return OffsiteSettings(url=f"s3://{bucket}/archive", endpoint=s3)


@pytest.fixture
def archive(tmp_path: Path, site: Site) -> Archive:
    made = make_night(tmp_path / "archive", site, 3)
    products = night_folder(made.root, CAMERA, NIGHT) / "v0001" / "products"
    products.mkdir(parents=True)
    (products / "timelapse.mp4").write_bytes(bytes(range(256)) * 40_000)  # goes in parts
    (products / "timelapse.json").write_text("{}")
    (made.root / CAMERA / "lens").mkdir()
    (made.root / CAMERA / "lens" / "0001.json").write_text("{}")
    return made


def unit(archive: Archive) -> Unit:
    return Unit(CAMERA, NIGHT.isoformat(), night_folder(archive.root, CAMERA, NIGHT))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


def test_a_night_is_proven_without_being_read_back(
    archive: Archive, place: OffsiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own checksums are enough, for plain uploads and for those in parts."""

    def never(store: Any, key: str) -> str:
        raise AssertionError(f"{key} was read back")

    monkeypatch.setattr(proof, "read_back", never)
    done = copy_unit(archive.root, unit(archive), place)
    record = read_record(unit(archive).folder, place.url)
    assert done.files == len(record) > 10
    assert record["v0001/products/timelapse.mp4"].etag.endswith("-2")
    again = copy_unit(archive.root, unit(archive), place)
    assert (again.files, again.there) == (0, done.files)
    monkeypatch.undo()
    count, wrong = verify_unit(archive.root, unit(archive), place.model_copy())
    assert (count, wrong) == (done.files, [])


def test_what_arrives_damaged_is_sent_again_and_then_refused(
    archive: Archive, tmp_path: Path
) -> None:
    place = OffsiteSettings(url=(tmp_path / "there").as_uri(), at_once=1)
    inner = open_place(place)

    class Flaky:
        def __init__(self, times: int) -> None:
            self.left = times

        def put(self, key: str, data: Any, **options: Any) -> Any:
            if "c.1.0" in key and self.left:
                self.left -= 1
                data = b"\0" * 10
            return inner.put(key, data, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    for times, good in ((2, False), (1, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copy_room, "open_place", lambda _, t=times: Flaky(t))
            if good:
                copy_unit(archive.root, unit(archive), place)
            else:
                with pytest.raises(ObjectsError, match="did not arrive as it was sent"):
                    copy_unit(archive.root, unit(archive), place)
    assert verify_unit(archive.root, unit(archive), place)[1] == []


@pytest.mark.slow
def test_a_killed_copy_goes_on_where_it_ended(
    archive: Archive, place: OffsiteSettings, tmp_path: Path, site: Site
) -> None:
    pictures = unit(archive).folder / "v0001" / "pictures"
    for k in range(100, 160):
        (pictures / f"{k:06d}.jpg").write_bytes(os.urandom(60_000))
    (tmp_path / "allsky360.toml").write_text(
        f'[storage]\nroot = "{archive.root}"\n[offsite]\nurl = "{place.url}"\n'
        f'endpoint = "{place.endpoint}"\nmax_mbit_s = 8\n'
    )
    store = open_place(place)

    def there() -> dict[str, str]:
        return {str(o["path"]): str(o["last_modified"]) for chunk in store.list() for o in chunk}

    script = (
        "import allsky360.offsite.copy as c; c.SAVE_EVERY_S = 0.2;"
        "from allsky360.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "-c", str(tmp_path / "allsky360.toml")]
    child = subprocess.Popen([*command, "offsite", "copy"], cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 60
    folder = unit(archive).folder
    while len(read_record(folder, place.url)) < 12 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    safe, before = read_record(folder, place.url), there()
    assert 12 <= len(safe) < 70
    root, shown = archive.root, f"{CAMERA}/{NIGHT}/raw.zarr/zarr.json"
    assert shown not in before  # no store is announced before its data are there
    done = copy_unit(root, unit(archive), place)
    assert done.there == len(safe)
    after = there()
    prefix = f"{CAMERA}/{NIGHT}/"
    assert all(after[prefix + name] == before[prefix + name] for name in safe)
    assert verify_unit(root, unit(archive), place)[1] == []


def test_damage_there_is_found_and_mended_and_no_longer_counts(
    archive: Archive, place: OffsiteSettings
) -> None:
    copy_unit(archive.root, unit(archive), place)
    store, prefix = open_place(place), f"{CAMERA}/{NIGHT}/"
    raw = "raw.zarr/raw/c.0.0.0.0"
    good = bytes(store.get(prefix + raw).bytes())
    store.put(prefix + raw, good[:-1] + bytes([good[-1] ^ 1]))
    store.delete(prefix + "v0001/pictures/000001.jpg")
    store.put(prefix + "v0001/frames/000000.json", b"{}")
    for deep in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("allsky360.offsite.verify._forget", lambda *_: None)
            found = verify_unit(archive.root, unit(archive), place, deep=deep)[1]
        assert {d.key.removeprefix(prefix) for d in found} == {
            raw, "v0001/pictures/000001.jpg", "v0001/frames/000000.json",
        }  # fmt: skip
        assert not any(d.lost for d in found)
    (unit(archive).folder / "v0001/pictures/000001.jpg").unlink()
    lost = [d for d in verify_unit(archive.root, unit(archive), place)[1] if d.lost]
    assert [d.what for d in lost] == ["is missing there"]
    assert elsewhere_of(place).lacks(unit(archive).folder, [unit(archive).folder / raw], "v0001")  # type: ignore[union-attr]
    copy_unit(archive.root, unit(archive), place)
    assert bytes(store.get(prefix + raw).bytes()) == good
    assert verify_unit(archive.root, unit(archive), place)[1] == []


def two_nights(tmp_path: Path, site: Site) -> Archive:
    """An old night and a newer one that retention never touches."""
    archive = make_night(tmp_path / "archive", site, 2)
    new = night_folder(archive.root, CAMERA, NIGHT + timedelta(days=9))
    shutil.copytree(unit(archive).folder, new)
    return archive


def test_retention_removes_nothing_that_is_not_safe_elsewhere(
    tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    archive = two_nights(tmp_path, site)
    place = OffsiteSettings(url=(tmp_path / "there").as_uri(), kinds=("raw", "pictures"), at_once=1)
    rules = GO.model_copy(update={"raw_days": 1, "pictures_days": 1, "linear_days": 1})
    copy = elsewhere_of(place)
    assert copy is not None
    root, folder = archive.root, unit(archive).folder
    waits = {r.kind: r.waits for r in plan(root, rules, NOW, elsewhere=copy)}
    assert waits == {"raw": True, "linear": False, "pictures": True}  # linear is not copied at all
    copy_unit(root, unit(archive), place)
    # a picture that was made anew since is not safe
    (folder / "v0001/pictures/000000.jpg").write_bytes(b"\xff\xd8 another \xff\xd9")
    done = tidy(root, rules, NOW, elsewhere=copy)
    assert [r.kind for r in done] == ["raw", "linear"]
    assert "stay until they are safe" in caplog.text
    assert (folder / "v0001/pictures/000001.jpg").exists()
    # on a disk without room, too: nothing else may go
    full = GO.model_copy(update={"low_free_percent": 5.0, "high_free_percent": 10.0})
    found = plan(root, full, NOW, free_bytes=1, total_bytes=10**12, elsewhere=copy)
    assert [(r.kind, r.waits) for r in found] == [("pictures", True)]
    other = Elsewhere("s3://another/place", copy.kinds)  # a new URL holds nothing yet
    assert all(r.waits for r in plan(root, full, NOW, free_bytes=1, total_bytes=9, elsewhere=other))
    copy_unit(root, unit(archive), place)
    assert [r.kind for r in tidy(root, rules, NOW, elsewhere=copy)] == ["pictures"]


def test_a_full_disk_that_takes_no_record_is_freed_by_what_is_safe(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = two_nights(tmp_path, site)
    place = OffsiteSettings(url=(tmp_path / "there").as_uri())
    settings = Settings(
        storage=StorageSettings(root=archive.root),
        offsite=place,
        retention=GO.model_copy(update={"raw_days": 1}),
    )
    folder = unit(archive).folder
    raw = folder / "raw.zarr" / "raw"
    write = elsewhere.write_atomic

    def full(path: Path, data: bytes, *, sync: bool) -> None:
        if path.name == elsewhere.FILE and any(raw.glob("c.*")):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data, sync=sync)

    monkeypatch.setattr(elsewhere, "write_atomic", full)
    copy_nights(settings, [(CAMERA, NIGHT)])
    assert not any(raw.glob("c.*"))  # what is safe made the room
    assert len(read_record(folder, place.url)) > 5
    state = read_state(archive.root)
    assert state is not None
    assert state.problem == ""
    monkeypatch.undo()
    fetch_unit(archive.root, unit(archive), place)
    assert len(Archive(archive.root).bracket(FrameRef(CAMERA, NIGHT, 0)).exposures) == 1


@pytest.mark.parametrize("all_lost", [False, True])
def test_a_night_comes_back_proven(
    archive: Archive, place: OffsiteSettings, tmp_path: Path, all_lost: bool
) -> None:
    copy_unit(archive.root, unit(archive), place)
    folder, before = unit(archive).folder, contents(unit(archive).folder)
    if all_lost:
        root = tmp_path / "new disk"
    else:
        root = archive.root
        make_second = night_folder(root, CAMERA, NIGHT + timedelta(days=9))
        shutil.copytree(folder, make_second)
        gone = tidy(root, GO.model_copy(update={"raw_days": 1}), NOW, elsewhere=elsewhere_of(place))
        assert [r.kind for r in gone] == ["raw"]
    back = Unit(CAMERA, NIGHT.isoformat(), night_folder(root, CAMERA, NIGHT))
    fetch_unit(root, back, place)
    now = contents(back.folder)
    assert now.pop("removed.json", b"{}") == b"{}"
    assert now == before
    assert [p for p in verify_night(back.folder) if p.severity == "error"] == []
    ref = FrameRef(CAMERA, NIGHT, 1)
    pixels = Archive(root).bracket(ref).exposures[0].pixels
    assert np.array_equal(pixels, np.full((16, 16), 900))
    assert copy_unit(root, back, place).files <= 1  # removed.json changed; the rest is safe


def test_a_damaged_object_does_not_come_back(archive: Archive, place: OffsiteSettings) -> None:
    copy_unit(archive.root, unit(archive), place)
    name = "raw.zarr/raw/c.0.0.0.0"
    open_place(place).put(f"{CAMERA}/{NIGHT}/{name}", b"not what it was")
    (unit(archive).folder / name).unlink()
    with pytest.raises(ObjectsError, match=r"1 objects .* damaged there"):
        fetch_unit(archive.root, unit(archive), place)
    assert not (unit(archive).folder / name).exists()


def test_a_manifest_cannot_lead_out_of_the_archive(archive: Archive, tmp_path: Path) -> None:
    place = OffsiteSettings(url=(tmp_path / "there").as_uri())
    store = open_place(place)
    store.put("x", b"evil")
    store.put(
        f"{CAMERA}/{NIGHT}/offsite.json",
        b'{"url": "u", "files": {"../../../evil": [4, 0, "", ""]}}',
    )
    with pytest.raises(ObjectsError, match="damaged there"):
        fetch_unit(archive.root, unit(archive), place)
    assert not (tmp_path / "evil").exists()


def test_the_pace_is_kept() -> None:
    waits: list[float] = []
    pace = Pace(8.0)  # a megabyte a second
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_room.time, "sleep", waits.append)
        for _ in range(4):
            pace.wait(500_000)
    assert waits == pytest.approx([0.5, 1.0, 1.5], abs=0.2)


def look(**changes: Any) -> list[str]:
    seen = Look(now=NOW, free_bytes=5e10, **changes)
    return [t.name for t in troubles(seen, AlarmSettings(), 180.0)]


def test_people_are_told_when_the_copy_lags(archive: Archive, tmp_path: Path) -> None:
    place = OffsiteSettings(url=(tmp_path / "there").as_uri(), alarm_after_h=1)
    settings = Settings(storage=StorageSettings(root=archive.root), offsite=place)
    copy_nights(settings, [(CAMERA, NIGHT)])
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert offsite_words(settings, soon) == ""
    late = offsite_words(settings, soon + timedelta(hours=2))
    assert "not whole since" in late
    assert look(offsite=late) == ["offsite"]
    assert look(offsite="") == []
    short = look(offsite="", offsite_holds_bytes=3e9, short=True)
    assert short == ["offsite-holds-disk"]


def unreadable(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Make reading a file fail as on a broken sector."""
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == file:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)


@pytest.mark.parametrize("name", ["raw.zarr/raw/c.0.0.0.0", "v0001/frames/000000.json"])
def test_a_file_that_cannot_be_read_holds_up_nothing_else_and_is_told(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    archive = two_nights(tmp_path, site)
    place = OffsiteSettings(url=(tmp_path / "there").as_uri(), at_once=1, alarm_after_h=1)
    settings = Settings(storage=StorageSettings(root=archive.root), offsite=place)
    bad, nights = unit(archive).folder, [(CAMERA, n) for n in archive.nights(CAMERA)]
    unreadable(monkeypatch, bad / name)
    with pytest.raises(Unreadable, match=r"c\.0\.0\.0\.0|000000\.json"):
        copy_nights(settings, nights)
    record = read_record(night_folder(archive.root, *nights[1]), place.url)
    assert name in record
    if name.startswith("raw"):  # data beside it go, what announces them does not
        record = read_record(bad, place.url)
        assert "raw.zarr/raw/c.1.0.0.0" in record
        assert "raw.zarr/zarr.json" not in record
    state = read_state(archive.root)
    assert state is not None
    assert (state.whole_at, "cannot be read" in state.problem) == (None, True)
    assert "never been whole" in offsite_words(settings, datetime.now(UTC))
    monkeypatch.undo()
    copy_nights(settings, nights)
    assert offsite_words(settings, datetime.now(UTC)) == ""


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(errno.EMFILE, "Too many open files")])
def test_a_copy_that_broke_off_is_not_noted_as_whole(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    place = OffsiteSettings(url=(tmp_path / "there").as_uri())
    settings = Settings(storage=StorageSettings(root=archive.root), offsite=place)

    def broken(*_: object, **__: object) -> None:
        raise end

    monkeypatch.setattr(copy_room, "copy_unit", broken)
    with pytest.raises(type(end)):
        copy_nights(settings, [(CAMERA, NIGHT)])
    state = read_state(archive.root)
    assert state is not None
    assert state.whole_at is None
    assert state.problem


def test_a_copy_of_one_night_makes_not_all_of_it_whole(tmp_path: Path, site: Site) -> None:
    archive = two_nights(tmp_path, site)
    place = OffsiteSettings(url=(tmp_path / "there").as_uri())
    settings = Settings(storage=StorageSettings(root=archive.root), offsite=place)
    for nights, whole in (([NIGHT], False), (archive.nights(CAMERA), True)):
        copy_nights(settings, [(CAMERA, n) for n in nights])
        state = read_state(archive.root)
        assert state is not None
        assert (state.whole_at is not None, state.problem) == (whole, "")


def test_the_commands(
    archive: Archive, place: OffsiteSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in (("ROOT", str(archive.root)),):
        monkeypatch.setenv(f"ALLSKY360_STORAGE__{key}", value)
    run: Callable[..., Any] = lambda *words: CliRunner().invoke(app, ["offsite", *words])  # noqa: E731
    assert "no off-site copy is set up" in run("status").output
    monkeypatch.setenv("ALLSKY360_OFFSITE__URL", place.url)
    monkeypatch.setenv("ALLSKY360_OFFSITE__ENDPOINT", place.endpoint)
    assert "nothing was copied" in run("status").output
    assert run("copy").exit_code == 0
    assert "0 files, 0.00 GB waited" in run("status").output
    assert run("verify", "--quick").exit_code == 0
    open_place(place).delete(f"{CAMERA}/lens/0001.json")
    assert run("verify").exit_code == 1
    (unit(archive).folder / "v0001/pictures/000000.jpg").unlink()
    assert "1 files" in run("fetch", "2026-11-13").output
