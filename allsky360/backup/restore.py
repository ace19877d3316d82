"""Bring a backup back: all of it is checked before anything is touched, and nothing is lost.

What is replaced stays beside the new file under a dated name. Killed in between, a second restore
does the rest: what is the same already is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allsky360.archive import Archive, ArchiveError
from allsky360.archive.durable import TryLock, WriterLock, make_folder, sync_file, sync_folder
from allsky360.backup.places import DATABASE, MANIFEST, SETTINGS, place_of
from allsky360.backup.write import FORMAT, BackupError
from allsky360.config import Settings, load_settings
from allsky360.errors import in_words
from allsky360.net import reachable
from allsky360.supervisor.parts import parts_of

MOST_MEMBERS = 100_000
ANSWER_S = 1.0
_JOURNALS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Restored:
    """One file of a backup: where it belongs, and what became of what was there.

    Attributes
    ----------
    name
        In the backup.
    path
        Where it belongs.
    kept
        Where what it replaced is now; None where nothing was there.
    same
        It was there already, to the byte.
    """

    name: str
    path: Path
    kept: Path | None = None
    same: bool = False


def restore(file: Path, settings_file: Path, *, dry_run: bool = False) -> list[Restored]:
    """Put everything of a backup in its place.

    Parameters
    ----------
    file
        What ``allsky360 backup`` wrote.
    settings_file
        Where the settings go. All else goes where the settings in the backup say; variables of
        the environment win over them, as ever.
    dry_run
        Only check, and say what would be done.

    Raises
    ------
    BackupError
        The backup is damaged, not one, or of a newer allsky360; the system runs; the disk refuses.
    SettingsError
        This allsky360 does not take the settings in it.
    """
    with _unpacked(file) as (staged, entries):
        present = settings_file if settings_file.exists() else None
        settings = load_settings(staged / SETTINGS if SETTINGS in entries else present)
        targets = {name: _target(file, name, settings, settings_file) for name in entries}
        if dry_run:
            return [_compared(n, p, entries[n]) for n, p in targets.items()]
        with ExitStack() as held:
            _refuse_while_running(settings, held)
            stamp = f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            done = []
            # settings last: until all else is in place, the old ones are in force
            for name in sorted(targets, key=lambda n: n == SETTINGS):
                done.append(_put(staged / name, name, targets[name], entries[name], stamp))
            return done


@contextmanager
def _unpacked(file: Path) -> Iterator[tuple[Path, dict[str, Mapping[str, Any]]]]:
    """Unpack into a folder of its own and compare every checksum."""
    try:
        with tempfile.TemporaryDirectory(prefix="allsky360-restore-") as scratch:
            try:
                with tarfile.open(file, "r:gz") as tar:
                    sums = _unpack(tar, file, Path(scratch))
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise _damaged(file, str(error)) from error
            yield Path(scratch), _checked(file, Path(scratch), sums)
    except OSError as error:  # gzip tells damage so, too
        raise BackupError(
            f"{error.filename or file}: {error.strerror or error}.",
            mend="Check the file, its disk and its permissions.",
        ) from error


def _unpack(tar: tarfile.TarFile, file: Path, scratch: Path) -> dict[str, tuple[int, str]]:
    """Write every member below the folder; nothing of a member but name and bytes is used."""
    sums: dict[str, tuple[int, str]] = {}
    for member in tar:
        parts = member.name.split("/")
        plain = all(p not in ("", ".", "..") and "\\" not in p and "\0" not in p for p in parts)
        if not member.isreg() or not plain or member.name in sums or len(sums) >= MOST_MEMBERS:
            raise BackupError(
                f"{file} is no backup of ours: it has {member.name!r}.", mend="Use another file."
            )
        if member.size > shutil.disk_usage(scratch).free:
            raise BackupError(f"{file}: no room to unpack {member.name}.", mend="Set TMPDIR.")
        target = scratch / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None  # a regular file
        digest, size = hashlib.sha256(), 0
        with target.open("wb") as out:
            while block := source.read(1 << 20):
                digest.update(block)
                size += len(block)
                out.write(block)
        sums[member.name] = size, digest.hexdigest()
    rest = tar.fileobj
    while rest is not None and rest.read(1 << 20):
        continue  # to its end, where gzip has its own checksum
    return sums


def _checked(
    file: Path, scratch: Path, sums: Mapping[str, tuple[int, str]]
) -> dict[str, Mapping[str, Any]]:
    """Return the manifest's entries; refuse what is missing, damaged or not named in it."""
    if MANIFEST not in sums:
        raise _damaged(file, "its end is missing")
    try:
        manifest = json.loads((scratch / MANIFEST).read_bytes())
        number, entries = int(manifest["format"]), dict(manifest["members"])
        wanted = {n: (int(e["bytes"]), str(e["sha256"])) for n, e in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file, f"its manifest: {in_words(error)}") from error
    if number > FORMAT:
        raise BackupError(f"{file} is of a newer allsky360.", mend="Upgrade allsky360.")
    found = {n: s for n, s in sums.items() if n != MANIFEST}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            what = "is missing" if name not in found else "differs from its checksum"
            raise _damaged(file, f"{name} {what if name in wanted else 'is not in its manifest'}")
    if DATABASE in entries:
        _check_database(file, scratch / DATABASE)
    return entries


def _check_database(file: Path, copy: Path) -> None:
    try:
        with closing(sqlite3.connect(copy)) as opened:
            said = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise _damaged(file, f"{DATABASE}: {said}")


def _damaged(file: Path, what: str) -> BackupError:
    return BackupError(
        f"{file} is damaged or no backup: {what}.", mend="Nothing was changed; use another one."
    )


def _target(file: Path, name: str, settings: Settings, settings_file: Path) -> Path:
    path = place_of(name, settings, settings_file)
    if path is None:
        raise BackupError(
            f"{file} has {name!r}, for which there is no place.", mend="Nothing was changed."
        )
    return path


def _refuse_while_running(settings: Settings, held: ExitStack) -> None:
    """Hold what ``up`` and the camera owners hold; see that no part listens."""
    root = settings.storage.root
    stop = "Stop it first: 'allsky360 up', or the units with 'systemctl stop allsky360-…'."
    try:
        if (root / "logs").is_dir():
            held.enter_context(closing(TryLock(root / "logs" / "up.lock")))
        for camera in Archive(root).cameras():
            held.enter_context(closing(WriterLock(root / camera / ".writer.lock")))
    except (BlockingIOError, ArchiveError) as error:
        raise BackupError(f"allsky360 runs on {root}.", mend=stop) from error
    for part in parts_of(settings):
        if part.port is not None and _answers(*part.port[:2]):
            host, port, key = part.port
            raise BackupError(f"{part.name} runs: {host}:{port} ({key}) answers.", mend=stop)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((reachable(host), port), ANSWER_S).close()
    except OSError:
        return False
    return True


def _compared(name: str, path: Path, entry: Mapping[str, Any]) -> Restored:
    if not path.exists():
        return Restored(name, path)
    if path.is_file() and path.stat().st_size == entry["bytes"]:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]:
                return Restored(name, path, same=True)
    return Restored(name, path, kept=path)


def _put(source: Path, name: str, path: Path, entry: Mapping[str, Any], stamp: str) -> Restored:
    """Keep what is there under a dated name, then put the new one in its place."""
    path = path.absolute()
    found = _compared(name, path, entry)
    journals = [e for e in _JOURNALS if path.with_name(path.name + e).exists()]
    if found.same and not (name == DATABASE and journals):
        return found
    make_folder(path.parent)
    old = _free(path.with_name(f"{path.name}.{stamp}"))
    kept = old if path.exists() else None
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.chmod(path.stat().st_mode & 0o777 if kept else _mode(name))
        sync_file(partial)
        if name == DATABASE:  # with its journals, which belong to it and not to the new one
            for ending in ("", *journals):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path.with_name(path.name + ending), f"{old}{ending}")
        elif kept is not None:
            _keep(path, kept)
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return Restored(name, path, kept)


def _free(path: Path) -> Path:
    number = 1
    found = path
    while found.exists():  # of another restore in the same second
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _keep(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)
        sync_file(kept)


def _mode(name: str) -> int:
    """Files that hold passwords are for their user alone; so is Prefect's database."""
    return 0o600 if name.startswith(("named/", "prefect/")) or name == SETTINGS else 0o644
