"""Copy folders of the archive elsewhere; go on where it ended; record what is safe."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from allsky360.archive import Archive
from allsky360.archive.elsewhere import (
    Elsewhere,
    Record,
    Safe,
    elsewhere_of,
    encode_record,
    lies,
    read_record,
    write_record,
)
from allsky360.archive.errors import FULL
from allsky360.archive.retention import tidy
from allsky360.config import Settings
from allsky360.config_offsite import OffsiteSettings
from allsky360.objects.place import ObjectsError, open_place
from allsky360.objects.push import rank, trouble
from allsky360.offsite.proof import Unreadable, put
from allsky360.offsite.select import Unit, units_of, wanted_files
from allsky360.offsite.state import State, note_state

log = logging.getLogger(__name__)

SAVE_EVERY_S = 20.0
MANIFEST = "offsite.json"
"""The record beside the copy, so that a night comes back proven where all is lost here."""

Relieve = Callable[[Elsewhere], object]
Alive = Callable[[], object]


@dataclass(frozen=True)
class Copied:
    """How many files and bytes were copied, and how many were safe already."""

    files: int = 0
    bytes: int = 0
    there: int = 0

    def __add__(self, other: Copied) -> Copied:
        return Copied(self.files + other.files, self.bytes + other.bytes, self.there + other.there)


class Pace:
    """Keeps all threads together below a rate; 0: no limit."""

    def __init__(self, mbit_s: float) -> None:
        self._s_per_byte = 8e-6 / mbit_s if mbit_s else 0.0
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, count: int) -> None:
        """Wait until ``count`` more bytes may go."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count * self._s_per_byte
        if start > now:
            time.sleep(start - now)


def copy_nights(
    settings: Settings, nights: Iterable[tuple[str, date]], *, alive: Alive | None = None
) -> Copied:
    """Copy nights and what their cameras share; note how far the copy is.

    A folder that cannot be read here holds up no other.

    Parameters
    ----------
    settings
        The whole tree.
    nights
        Camera (slug) and night of each. Only a copy of all that the archive has can be whole.
    alive
        Called whenever something has become safe.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer, or folders could not be read; what was copied is kept
        and counts.
    """
    root, place = settings.storage.root, settings.offsite
    archive, chosen = Archive(root), list(nights)
    done, unreadable = Copied(), []
    relieve = partial(tidy_now, root, settings, datetime.now(UTC))
    problem = "it was interrupted"
    try:
        for unit in units_of(archive, chosen):
            try:
                copied = copy_unit(root, unit, place, relieve=relieve, alive=alive)
            except Unreadable as error:
                log.error("%s %s: %s", unit.camera, unit.name, error)
                unreadable.append(error)
                continue
            done += copied
            if copied.files:
                log.info(
                    "%s %s: %d files, %.1f MB are safe at %s",
                    unit.camera,
                    unit.name,
                    copied.files,
                    copied.bytes / 1e6,
                    place.url,
                )
        problem = str(unreadable[0]) if unreadable else ""
    except Exception as error:
        problem = str(error)
        raise
    finally:
        _note(archive, place, problem, chosen)
    if unreadable:
        raise unreadable[0]
    return done


def tidy_now(root: Path, settings: Settings, now: datetime, elsewhere: Elsewhere) -> object:
    """Make room as retention says, believing records that the full disk did not take."""
    floor = settings.storage.min_free_gb * 1e9
    return tidy(root, settings.retention, now, floor_bytes=floor, elsewhere=elsewhere)


def copy_unit(
    root: Path,
    unit: Unit,
    settings: OffsiteSettings,
    *,
    relieve: Relieve | None = None,
    alive: Alive | None = None,
) -> Copied:
    """Copy what is new or changed of one folder.

    Data goes first, then what announces it, as it was before the data was listed: a reader of the
    copy sees whole frames and products also while the night still grows. Nothing is deleted there.

    Parameters
    ----------
    root
        Of the archive.
    unit
        The folder.
    settings
        Where to.
    relieve
        Makes room on a full disk, so that the record can be stored.
    alive
        Called with every file that has become safe.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer, or a file arrived damaged twice.
    Unreadable
        The folder or a file of it cannot be read here.
    """
    store = open_place(settings)
    record = read_record(unit.folder, settings.url)
    try:
        announcing = _announcing(unit.folder, settings)
        todo, there = _todo(unit.folder, settings, record, announcing)
    except OSError as error:
        raise Unreadable.of(error, unit.folder) from error
    if not todo:
        return Copied(there=there)
    pace, files, total = Pace(settings.max_mbit_s), 0, 0

    def one(file: Path) -> Safe | None:
        key = file.relative_to(root).as_posix()
        with contextlib.suppress(FileNotFoundError):
            if file not in announcing:
                pace.wait(file.stat().st_size)
                return put(store, key, file)
            mtime_ns, data = announcing[file]
            return replace(put(store, key, file, data), mtime_ns=mtime_ns)
        return None  # replaced or removed meanwhile

    saved = time.monotonic()
    try:
        for step in sorted(todo):
            for file, safe in _all(one, todo[step], settings):
                record[file.relative_to(unit.folder).as_posix()] = safe
                files, total = files + 1, total + safe.bytes
                if alive is not None:
                    alive()
                if time.monotonic() - saved > SAVE_EVERY_S:
                    _save(unit.folder, settings, record, relieve)
                    saved = time.monotonic()
        manifest = f"{unit.folder.relative_to(root).as_posix()}/{MANIFEST}"
        store.put(manifest, encode_record(settings.url, record))
    except ObjectsError:
        raise
    except Exception as error:  # obstore's errors have no common base but Exception
        raise trouble(settings, error) from error
    finally:
        _save(unit.folder, settings, record, relieve)
    return Copied(files, total, there)


def _announcing(folder: Path, settings: OffsiteSettings) -> dict[Path, tuple[int, bytes]]:
    """Return time of change and content of the files that announce others, as they are now."""
    found = {}
    for file in wanted_files(folder, settings.kinds):
        if rank(file) > 0:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                found[file] = (file.stat().st_mtime_ns, file.read_bytes())
    return found


def _todo(
    folder: Path, settings: OffsiteSettings, record: Record, announcing: Container[Path]
) -> tuple[dict[int, list[Path]], int]:
    """Return what is to be copied, by step, and how many files are safe already."""
    todo: dict[int, list[Path]] = {}
    there = 0
    for file in wanted_files(folder, settings.kinds):
        if lies(file, record.get(file.relative_to(folder).as_posix())):
            there += 1
        elif rank(file) == 0 or file in announcing:  # what began to announce just now: next time
            todo.setdefault(rank(file), []).append(file)
    return todo, there


def _all(
    one: Callable[[Path], Safe | None], files: list[Path], settings: OffsiteSettings
) -> Iterator[tuple[Path, Safe]]:
    """Yield each file that is safe now; the first failure ends it, what is under way counts.

    A file that cannot be read here is raised when all others are there.
    """
    stop = threading.Event()

    def unless_stopped(file: Path) -> Safe | None:
        return None if stop.is_set() else one(file)

    failed: BaseException | None = None
    with ThreadPoolExecutor(settings.at_once, "offsite") as pool:
        running = {pool.submit(unless_stopped, f): f for f in files}
        for future in as_completed(running):
            if (error := future.exception()) is not None:
                failed = failed or error
                if not isinstance(error, Unreadable):
                    stop.set()
            elif (safe := future.result()) is not None:
                yield running[future], safe
    if failed is not None:
        raise failed


def _save(folder: Path, settings: OffsiteSettings, record: Record, relieve: Relieve | None) -> None:
    """Store the record. On a full disk what is safe may go first, and makes the room for it."""
    try:
        write_record(folder, settings.url, record)
    except FileNotFoundError:
        log.warning("%s is gone", folder)
    except OSError as error:
        elsewhere = elsewhere_of(settings)
        if error.errno not in FULL or relieve is None or elsewhere is None:
            log.error("%s: what is safe there is not recorded: %s", folder, error)
            return
        relieve(replace(elsewhere, fresh={folder: record}))
        try:
            write_record(folder, settings.url, record)
        except OSError as again:
            log.error("%s: what is safe there is not recorded: %s", folder, again)


def _note(
    archive: Archive, place: OffsiteSettings, problem: str, chosen: list[tuple[str, date]]
) -> None:
    """Note how far the copy of the whole archive is; a disk that refuses costs the note only."""
    try:
        nights = [(c, n) for c in archive.cameras() for n in archive.nights(c)]
        state = _state(archive, place, problem, nights)
        note_state(archive.root, state, everything=set(nights) <= set(chosen))
    except OSError as error:
        log.error("how far the copy is cannot be noted: %s", error)


def _state(
    archive: Archive, settings: OffsiteSettings, problem: str, nights: list[tuple[str, date]]
) -> State:
    """Look at the whole archive: how much is not safe yet."""
    files, total, held = 0, 0, 0
    for unit in units_of(archive, nights):
        record = read_record(unit.folder, settings.url)
        held += len(record)
        with contextlib.suppress(OSError):  # a folder that cannot be read; it is in the problem
            for file in wanted_files(unit.folder, settings.kinds):
                if not lies(file, record.get(file.relative_to(unit.folder).as_posix())):
                    files += 1
                    with contextlib.suppress(OSError):  # gone meanwhile, or unreadable
                        total += file.stat().st_size
    return State(settings.url, datetime.now(UTC), files, total, held, problem)
