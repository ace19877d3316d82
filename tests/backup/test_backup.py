"""Backup and restore: a round trip, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner

from allsky360.archive import RawWriter
from allsky360.backup import write
from allsky360.backup.places import place_of
from allsky360.backup.restore import restore
from allsky360.backup.write import BackupError, copy_database, write_backup
from allsky360.cli import app
from allsky360.config import Settings, load_settings
from allsky360.errors import AllskyError
from allsky360.model import Site
from tests.archive.conftest import make_bracket

CAMERA = "sim-camera-1"


def toml(folder: Path, port: Callable[[], int]) -> str:
    return "\n".join(
        [
            "# my own words",
            f'storage.root = "{folder / "data"}"',
            f'prefect.auth_file = "{folder / "auth"}"',
            f"prefect.port = {port()}",
            f"owner.port = {port()}",
            f"api.port = {port()}",
            f"dask.port = {port()}",
            f"simulator.port = {port()}",
        ]
    )


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it only takes time here


@pytest.fixture
def home(tmp_path: Path, site: Site, free_port: Callable[[], int]) -> Path:
    """An installation: settings, a secret, a database, a camera with a lens, masters."""
    folder = tmp_path / "home"
    root = folder / "data"
    writer = RawWriter(root, "Sim Camera 1", site)
    writer.append(make_bracket(0, exposures=1, shape=(8, 8)), {})
    writer.close()
    for name, text in {
        "allsky360.toml": toml(folder, free_port),
        "auth": "admin:very-secret",
        f"data/{CAMERA}/exposure-control.json": '{"known": 1}',
        f"data/{CAMERA}/lens/0001.json": '{"lens": 1}',
        "data/masters/dark_10s.fits": "SIMPLE",
        "data/prefect/failed-frames.json": "{}",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    database = sqlite3.connect(root / "prefect" / "prefect.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE run (name TEXT)")
    database.execute("INSERT INTO run VALUES ('one')")
    database.close()
    return folder


def settings_of(home: Path) -> Settings:
    return load_settings(home / "allsky360.toml")


def back_up(home: Path, out: Path) -> write.Written:
    return write_backup(out, settings_of(home), home / "allsky360.toml")


def everything(home: Path) -> dict[str, bytes]:
    kept = (p for p in home.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    return {str(p.relative_to(home)): p.read_bytes() for p in kept}


def rows(database: Path) -> list[str]:
    opened = sqlite3.connect(database)
    found = [str(r[0]) for r in opened.execute("SELECT name FROM run")]
    opened.close()
    return found


def test_round_trip_of_a_running_installation(home: Path, tmp_path: Path) -> None:
    live = sqlite3.connect(home / "data" / "prefect" / "prefect.db", isolation_level=None)
    live.execute("INSERT INTO run VALUES ('two')")  # in the journal only
    live.execute("BEGIN IMMEDIATE")
    live.execute("INSERT INTO run VALUES ('not committed')")
    out = tmp_path / "b.tar.gz"
    written = back_up(home, out)
    live.execute("ROLLBACK")
    live.close()
    assert written.files == 7
    assert written.notes == ()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = everything(home)
    gone = [n for n in before if "/2026-" not in n]
    for name in gone:
        (home / name).unlink()
    done = restore(out, home / "allsky360.toml")
    assert {r.kept for r in done} == {None}
    after = everything(home)
    database = "data/prefect/prefect.db"
    before.pop("data/prefect/prefect.db-wal", None)
    before.pop("data/prefect/prefect.db-shm", None)
    assert set(after) == set(before)
    assert {n for n in before if before[n] != after[n]} <= {database}
    assert rows(home / database) == ["one", "two"]
    assert stat.S_IMODE((home / "auth").stat().st_mode) == 0o600
    again = restore(out, home / "allsky360.toml")
    assert all(r.same for r in again)


def test_what_is_replaced_stays_under_a_dated_name(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.tar.gz"
    back_up(home, out)
    database = home / "data" / "prefect" / "prefect.db"
    live = sqlite3.connect(database, isolation_level=None)
    live.execute("PRAGMA wal_autocheckpoint=0")
    live.execute("INSERT INTO run VALUES ('later')")
    journal = database.with_name("prefect.db-wal").read_bytes()
    assert journal
    (home / "auth").write_text("admin:changed")
    (home / "auth").chmod(0o640)
    dry = restore(out, home / "allsky360.toml", dry_run=True)
    assert sum(not r.same for r in dry) == 2
    assert (home / "auth").read_text() == "admin:changed"
    done = {r.name: r for r in restore(out, home / "allsky360.toml")}
    live.close()
    kept = done["named/prefect.auth_file"].kept
    assert kept is not None
    assert kept.read_text() == "admin:changed"
    assert "before-restore-2" in kept.name
    assert (home / "auth").read_text() == "admin:very-secret"
    assert stat.S_IMODE((home / "auth").stat().st_mode) == 0o640
    assert rows(database) == ["one"]
    old = done["prefect/prefect.db"].kept
    assert old is not None
    assert old.with_name(old.name + "-wal").read_bytes() == journal
    assert rows(old) == ["one", "later"]
    assert done[f"cameras/{CAMERA}/lens/0001.json"].same


def test_it_refuses_while_anything_runs(home: Path, tmp_path: Path, site: Site) -> None:
    out = tmp_path / "b.tar.gz"
    back_up(home, out)
    (home / "auth").write_text("admin:changed")
    before = everything(home)
    writer = RawWriter(home / "data", "Sim Camera 1", site)
    with pytest.raises(BackupError, match="allsky360 runs on"):
        restore(out, home / "allsky360.toml")
    writer.close()
    with (
        socket.create_server(("127.0.0.1", settings_of(home).prefect.port)),
        pytest.raises(BackupError, match=r"prefect runs.*systemctl stop"),
    ):
        restore(out, home / "allsky360.toml")
    assert everything(home) == before
    restore(out, home / "allsky360.toml")


def test_damage_anywhere_is_told_before_anything_is_touched(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.tar.gz"
    back_up(home, out)
    (home / "auth").write_text("admin:changed")
    before = everything(home)
    whole = out.read_bytes()
    plain = gzip.decompress(whole)
    at = plain.index(b"very-secret")
    broken = [whole[:n] for n in (0, 5, len(whole) // 2, len(whole) - 30)]
    for place in range(20, len(whole) - 8, max(1, len(whole) // 12)):
        broken.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    broken.append(gzip.compress(plain[:at] + b"V" + plain[at + 1 :]))
    broken.append(b"no archive at all")
    for k, data in enumerate(broken):
        bad = tmp_path / f"bad-{k}.tar.gz"
        bad.write_bytes(data)
        with pytest.raises(AllskyError):
            restore(bad, home / "allsky360.toml")
        assert everything(home) == before, k
    with pytest.raises(BackupError, match="No such file"):
        restore(tmp_path / "none.tar.gz", home / "allsky360.toml")


def members(*infos: tarfile.TarInfo, manifest: object = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info in infos:
            info.size = 1 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(b"x"))
        if manifest is not None:
            text = json.dumps(manifest).encode()
            info = tarfile.TarInfo("manifest.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


SUM = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "masters/../../x", "masters//x", "other/x", "cameras/A B/x", "x\\y"]
)
def test_no_member_gets_outside(name: str, home: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.gz"
    manifest = {"format": 1, "members": {name: SUM}}
    bad.write_bytes(members(tarfile.TarInfo(name), manifest=manifest))
    before = everything(tmp_path)
    with pytest.raises(BackupError):
        restore(bad, home / "allsky360.toml")
    assert everything(tmp_path) == before
    assert place_of(name, settings_of(home), home / "allsky360.toml") is None


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_only_plain_files_are_taken(kind: bytes, home: Path, tmp_path: Path) -> None:
    info = tarfile.TarInfo("masters/x.fits")
    info.type, info.linkname = kind, "/etc/passwd"
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(members(info, manifest={"format": 1, "members": {}}))
    with pytest.raises(BackupError, match="no backup of ours"):
        restore(bad, home / "allsky360.toml")


def test_a_backup_of_a_newer_allsky360_says_so(home: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(members(manifest={"format": 2, "members": {}}))
    with pytest.raises(BackupError, match="Upgrade"):
        restore(bad, home / "allsky360.toml")


def test_killed_at_any_rename_a_second_restore_does_the_rest(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar.gz"
    back_up(home, out)
    whole = everything(home)
    names = {n for n in whole if "/2026-" not in n and "prefect.db" not in n}

    def spoil() -> None:
        for name in names - {"allsky360.toml"}:
            (home / name).write_text("other")

    def killed(at: int) -> Iterator[None]:
        passed = 0

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                nonlocal passed
                passed += 1
                if passed > at:
                    raise KeyboardInterrupt
                real(*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "rename", "link"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                restore(out, home / "allsky360.toml")
            except KeyboardInterrupt:
                yield

    for at in count():
        spoil()
        if not list(killed(at)):
            break
        now = everything(home)
        assert all(now[n] in (whole[n], b"other") for n in names)
        restore(out, home / "allsky360.toml")
        now = everything(home)
        assert all(now[n] == whole[n] for n in names)
        assert rows(home / "data" / "prefect" / "prefect.db") == ["one"]
    assert at > 8


def test_what_keeps_a_backup_from_being_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar.gz"
    with pytest.raises(BackupError, match="ending"):
        back_up(home, tmp_path / "b.zip")
    monkeypatch.setattr(write, "DATABASE_WAIT_S", 0.2)
    database = home / "data" / "prefect" / "prefect.db"
    locked = sqlite3.connect(database, isolation_level=None)
    locked.execute("PRAGMA journal_mode=DELETE")
    locked.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BackupError, match="locked"):
        back_up(home, out)
    locked.close()
    assert list(tmp_path.glob("b.tar*")) == []
    spoiled = bytearray(database.read_bytes())
    spoiled[:16] = b"not a database.."
    database.write_bytes(spoiled)
    with pytest.raises(BackupError, match="database"):
        back_up(home, out)
    with pytest.raises(BackupError, match="cannot be copied"):
        copy_database(tmp_path / "none.db", tmp_path / "copy.db")
    database.unlink()
    back_up(home, out)
    with pytest.raises(BackupError, match="exists"):
        back_up(home, out)


def test_the_commands_say_what_is_not_in_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLSKY360_SITE__NAME", "Roof")
    monkeypatch.setenv("ALLSKY360_PREFECT__DATABASE_FILE", str(tmp_path / "pg"))
    monkeypatch.chdir(home)
    made = CliRunner().invoke(app, ["backup", "b.tar.gz"])
    assert made.exit_code == 0, made.output
    assert "passwords included" in made.output
    assert "ALLSKY360_SITE__NAME" in made.output
    assert "pg_dump" in made.output
    assert "pg, which the settings name, is not there" in made.output
    dry = CliRunner().invoke(app, ["restore", "b.tar.gz", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "is there already" in dry.output
    assert "7 files checked" in dry.output
