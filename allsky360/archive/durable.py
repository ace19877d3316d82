"""Writing files so that a reader, or a restart after a power cut, sees all of one or none of it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allsky360.archive.errors import ArchiveBusy


def write_atomic(path: Path, data: bytes, *, sync: bool) -> None:
    """Replace ``path`` by ``data``; with ``sync`` it survives a power cut on return.

    The folder is not synced here, since one sync serves many files: see :func:`sync_folder`.
    """
    partial = stage(path, data, sync=sync)
    try:
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def stage(path: Path, data: bytes, *, sync: bool) -> Path:
    """Write ``data`` beside ``path``; return the file that is to replace it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return partial


def sync_file(path: Path) -> None:
    """Make the content of a file that is already written survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each name synced."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a lock file; waits for other processes and threads."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class TryLock:
    """A lock held as long as the object lives; BlockingIOError at once when another holds it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the lock."""
        self._file.close()


class WriterLock:
    """A lock held as long as the object lives; refused at once when another process has it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ArchiveBusy(
                f"another process writes the raw frames below {path.parent}.",
                mend="Run one owner per camera; stop the other one.",
            ) from error

    def close(self) -> None:
        """Let go of the lock."""
        self._file.close()
