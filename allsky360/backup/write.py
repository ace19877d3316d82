"""Write a backup: one compressed tar file with a manifest of checksums."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from allsky360 import __version__
from allsky360.archive.durable import sync_folder
from allsky360.backup.places import DATABASE, MANIFEST, SETTINGS, database, plain_files
from allsky360.config import ENV_FILE, ENV_PREFIX, ENV_THREADS, Settings
from allsky360.errors import AllskyError

FORMAT = 1
ENDINGS = (".tar.gz", ".tgz")
DATABASE_WAIT_S = 30.0


class BackupError(AllskyError):
    """A backup cannot be written, or not be used."""

    name = "backup"


@dataclass(frozen=True)
class Written:
    """What a backup holds, and what it does not.

    Attributes
    ----------
    files
        Members, the manifest not counted.
    bytes
        Their sizes together.
    notes
        What is not in it and why, a sentence each.
    """

    files: int
    bytes: int
    notes: tuple[str, ...]


def write_backup(out: Path, settings: Settings, settings_file: Path | None) -> Written:
    """Write a backup while the system runs or not; whole or not at all, readable by its user only.

    Parameters
    ----------
    out
        ``….tar.gz``; must not exist.
    settings, settings_file
        The settings in force, and the file they come from, None where there is none.

    Raises
    ------
    BackupError
        The file exists or cannot be written, a file of ours cannot be read, or Prefect's database
        is damaged or locked.
    """
    if not out.name.endswith(ENDINGS):
        raise BackupError(f"{out} has another ending than .tar.gz.", mend="Name it so.")
    if out.exists():
        raise BackupError(f"{out} exists.", mend="Name another file.")
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as file:
            written = _fill(file, settings, settings_file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, out)
        sync_folder(out.absolute().parent)
    except OSError as error:
        where = error.filename or out
        raise BackupError(
            f"the backup {out} cannot be written: {where}: {error.strerror or error}.",
            mend="Run it as the user that runs allsky360, and look at the room on the disk.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return written


def _fill(file: BinaryIO, settings: Settings, settings_file: Path | None) -> Written:
    entries: dict[str, dict[str, object]] = {}
    notes = list(_notes(settings, settings_file))
    with (
        tempfile.TemporaryDirectory(prefix="allsky360-backup-") as scratch,
        tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar,
    ):
        if settings_file is not None:
            entries[SETTINGS] = _add(tar, SETTINGS, settings_file)
        source = database(settings)
        if source.is_file():
            copy = Path(scratch) / "prefect.db"
            copy_database(source, copy)
            entries[DATABASE] = _add(tar, DATABASE, copy)
        for name, path in plain_files(settings):
            if path.is_file():
                entries[name] = _add(tar, name, path)
            elif name.startswith("named/"):
                notes.append(f"{path}, which the settings name, is not there")
        manifest = {
            "format": FORMAT,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "allsky360": __version__,
            "members": entries,
        }
        text = json.dumps(manifest, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        tar.addfile(info, io.BytesIO(text))
    sizes = [e["bytes"] for e in entries.values()]
    return Written(len(entries), sum(s for s in sizes if isinstance(s, int)), tuple(notes))


def _add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, object]:
    """Add a file; the checksum is of the very bytes that went into the tar."""
    with path.open("rb") as opened:
        status = os.fstat(opened.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), 0o600
        reader = _Hashing(opened)
        tar.addfile(info, reader)
    return {"bytes": info.size, "sha256": reader.digest.hexdigest()}


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def copy_database(source: Path, out: Path) -> None:
    """Copy a SQLite database that may be in use, as of one instant, into one file of its own.

    Raises
    ------
    BackupError
        It is locked for longer than :data:`DATABASE_WAIT_S`, or damaged.
    """
    until = time.monotonic() + DATABASE_WAIT_S

    def still(*_: int) -> None:  # called in between, also while the database is locked
        if time.monotonic() > until:
            raise sqlite3.OperationalError("it is locked")

    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(out)) as copy,
        ):
            live.execute("PRAGMA busy_timeout=250")
            live.backup(copy, progress=still)
            copy.execute("PRAGMA journal_mode=DELETE")  # no journal beside it
            found = str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise BackupError(
            f"Prefect's database {source} cannot be copied: {error}.",
            mend="Try again later; where it is damaged, restart the Prefect server.",
        ) from error
    if found != "ok":
        raise BackupError(
            f"Prefect's database {source} is damaged: {found}.",
            mend="Restart the Prefect server: it puts it aside and begins a new one.",
        )


def _notes(settings: Settings, settings_file: Path | None) -> Iterator[str]:
    if settings_file is None:
        yield "there is no settings file: the defaults are in force"
    variables = sorted(
        v for v in os.environ if v.startswith(ENV_PREFIX) and v not in (ENV_FILE, ENV_THREADS)
    )
    if variables:
        yield "settings of the environment are not in it: " + ", ".join(variables)
    if settings.prefect.url:
        yield f"Prefect's database is at {settings.prefect.url}: back it up there"
    elif settings.prefect.database_file is not None:
        yield "Prefect's database is on PostgreSQL and not in it: use pg_dump"
