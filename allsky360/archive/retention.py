"""Retention: what leaves the archive by age, and what gives way when the disk is nearly full.

Only whole kinds of data of whole nights go, oldest night first. These never go: measurements and
records, the raw images of frames that were not processed, the newest nights, favourites, a night
that is being reprocessed; where an off-site copy is set up, what it does not hold yet. Deleting
needs no free space: on a full disk the largest file goes before the note that says so is written.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from allsky360.archive import group
from allsky360.archive.elsewhere import Elsewhere
from allsky360.archive.errors import FULL, ArchiveError, UnknownSchema, archive_error
from allsky360.archive.layout import current_version, raw_stores
from allsky360.archive.reader import Archive
from allsky360.archive.removed import KINDS, Kind, is_favourite, note_removed
from allsky360.config_retention import RetentionSettings

log = logging.getLogger(__name__)

_VERSION = re.compile(r"v(\d{4,})(?:\.zarr(?:\.damaged-\d+)?)?", re.ASCII)
_RAW_FILE = re.compile(r"c\.(\d+)\.[\d.]+", re.ASCII)
_IMAGE_FILE = re.compile(r"c\.[\d.]+", re.ASCII)
_LINEAR = re.compile(r"linear(?:_\d+)?", re.ASCII)


@dataclass(frozen=True)
class Removal:
    """One kind of data of one night.

    Attributes
    ----------
    camera, night, kind
        What.
    files, bytes
        How much: files, and the space that comes free, none for a file with a second name.
    reason
        Why it goes, for people.
    waits
        It would go, but the off-site copy lacks some of it: it stays.
    """

    camera: str
    night: date
    kind: Kind
    files: int
    bytes: int
    reason: str
    waits: bool = False


@dataclass(frozen=True)
class _Night:
    camera: str
    night: date
    folder: Path


def plan(
    root: Path,
    rules: RetentionSettings,
    now: datetime,
    *,
    floor_bytes: float = 0.0,
    free_bytes: int | None = None,
    total_bytes: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> list[Removal]:
    """Say what would go now, in order, and what waits for the off-site copy.

    Parameters
    ----------
    root
        Folder of the archive.
    rules
        Settings of retention.
    now
        UTC.
    floor_bytes
        Free space under which capture would pause: the low mark is never below it, the high mark
        never below twice as much.
    free_bytes, total_bytes
        Of the disk; left out: asked of the disk.
    elsewhere
        The off-site copy, None where there is none.
    """
    usage = None if free_bytes is None or total_bytes is None else (free_bytes, total_bytes)
    chosen = _chosen(root, rules, now, floor_bytes, usage, elsewhere)
    return [removal for removal, _ in chosen]


def tidy(
    root: Path,
    rules: RetentionSettings,
    now: datetime,
    *,
    floor_bytes: float = 0.0,
    elsewhere: Elsewhere | None = None,
) -> list[Removal]:
    """Remove what the rules name; return what went. Parameters as of :func:`plan`.

    Returns at once where another process is at it. What cannot be removed is logged and passed
    over, so that one bad folder does not keep the disk full.

    Raises
    ------
    ArchiveError
        The archive's folder cannot be read.
    """
    if not root.is_dir():
        return []
    done: list[Removal] = []
    waiting = 0
    with _alone(root) as first:
        if not first:
            return []
        refused: list[Removal] = []
        chosen = _chosen(root, rules, now, floor_bytes, None, elsewhere, refused)
        for removal, files in chosen:
            if removal.waits:
                waiting += removal.bytes
                continue
            night = root / removal.camera / removal.night.isoformat()
            try:
                _remove(night, removal.kind, files, now)
            except OSError as error:
                log.error("%s of %s cannot be removed: %s", removal.kind, night, error)
                refused.append(removal)
                continue
            log.info(
                "removed %s of %s %s: %d files, %.2f GB, %s",
                removal.kind,
                removal.camera,
                removal.night,
                removal.files,
                removal.bytes / 1e9,
                removal.reason,
            )
            done.append(removal)
    if waiting and elsewhere is not None:
        log.warning(
            "%.2f GB that should go stay until they are safe at %s: see 'allsky360 offsite status'",
            waiting / 1e9,
            elsewhere.url,
        )
    return done


def is_short(root: Path, rules: RetentionSettings, floor_bytes: float) -> bool:
    """Whether the disk is below the low mark; OSError where it does not answer."""
    usage = shutil.disk_usage(root)
    return bool(rules.low_free_percent) and usage.free < _low(rules, usage.total, floor_bytes)


def _low(rules: RetentionSettings, total_bytes: float, floor_bytes: float) -> float:
    return max(total_bytes * rules.low_free_percent / 100, floor_bytes)


def _chosen(
    root: Path,
    rules: RetentionSettings,
    now: datetime,
    floor_bytes: float,
    usage: tuple[int, int] | None,
    elsewhere: Elsewhere | None,
    refused: Collection[Removal] = (),
) -> Iterator[tuple[Removal, list[Path]]]:
    """Yield what is to go, with its files; ``refused`` names those that did not go after all."""
    try:
        nights = _touchable(root, rules)
        if usage is None:
            disk = shutil.disk_usage(root)
            usage = disk.free, disk.total
    except OSError as error:
        raise archive_error(error, root) from error
    free_bytes, total_bytes = usage
    gone: set[tuple[Path, Kind]] = set()
    for night in nights:
        for kind in KINDS:
            reason = _by_age(night, kind, rules, now)
            if reason and (files := _files(root, night, kind)):
                removal = _removal(night, kind, files, reason, elsewhere)
                gone.add((night.folder, kind))
                yield removal, files
                free_bytes += 0 if removal.waits or removal in refused else removal.bytes
    low = _low(rules, total_bytes, floor_bytes)
    if not rules.low_free_percent or free_bytes >= low:
        return
    reason = f"less than {low / 1e9:.3g} GB of the disk is free"
    enough = max(total_bytes * rules.high_free_percent / 100, 2 * floor_bytes)
    for kind in KINDS:
        for night in nights:
            if free_bytes >= enough:
                return
            if (night.folder, kind) in gone or not (files := _files(root, night, kind)):
                continue
            removal = _removal(night, kind, files, reason, elsewhere)
            if not removal.bytes:  # a snapshot holds all of it by second names: nothing is gained
                continue
            yield removal, files
            free_bytes += 0 if removal.waits or removal in refused else removal.bytes
    log.warning(
        "%s: only %.1f %% of the disk is free, and retention may remove nothing more",
        root,
        100 * free_bytes / total_bytes,
    )


def _touchable(root: Path, rules: RetentionSettings) -> list[_Night]:
    """Nights that may lose something, oldest first."""
    archive = Archive(root)
    found = [
        _Night(camera, night, root / camera / night.isoformat())
        for camera in archive.cameras()
        for night in archive.nights(camera)[: -rules.keep_nights]
    ]
    return sorted((n for n in found if _may_lose(n.folder)), key=lambda n: (n.night, n.camera))


def _may_lose(folder: Path) -> bool:
    """Whether a night is open to retention; one that cannot be read holds up no other."""
    try:
        return not is_favourite(folder) and not _being_reprocessed(folder)
    except OSError as error:
        log.error("retention passes over %s: %s", folder, error)
        return False


def _current(folder: Path) -> int:
    """Return the number of the version readers are shown."""
    match = _VERSION.fullmatch(current_version(folder))
    return int(match[1]) if match else 1


def _being_reprocessed(folder: Path) -> bool:
    current = _current(folder)
    return any(number > current for number, _ in _versions(folder))


def _versions(folder: Path) -> Iterator[tuple[int, Path]]:
    for entry in folder.iterdir():
        if (match := _VERSION.fullmatch(entry.name)) and entry.is_dir() and not entry.is_symlink():
            yield int(match[1]), entry


def _by_age(night: _Night, kind: Kind, rules: RetentionSettings, now: datetime) -> str:
    days = _days(rules)[kind]
    if not days:
        return ""
    if kind == "versions":
        try:
            switched = (night.folder / "current.json").stat().st_mtime
        except OSError:
            return ""
        old = now - datetime.fromtimestamp(switched, UTC) > timedelta(days=days)
    else:
        old = now.date() - night.night > timedelta(days=days)
    return f"older than retention.{kind}_days = {days}" if old else ""


def _days(rules: RetentionSettings) -> dict[Kind, int]:
    return {
        "versions": rules.versions_days,
        "raw": rules.raw_days,
        "linear": rules.linear_days,
        "pictures": rules.pictures_days,
        "products": rules.products_days,
    }


def _files(root: Path, night: _Night, kind: Kind) -> list[Path]:
    """Files of one kind in one night; none where they cannot be listed."""
    try:
        return _listed(root, night, kind)
    except OSError as error:
        log.error("retention passes over %s of %s: %s", kind, night.folder, error)
        return []


def _listed(root: Path, night: _Night, kind: Kind) -> list[Path]:
    folder = night.folder
    if kind == "raw":
        return list(_raw_files(root, night))
    if kind == "versions":
        current = _current(folder)
        old = [p for number, p in _versions(folder) if number < current or "damaged" in p.name]
        return [f for p in old for f in _below(p)]
    found: list[Path] = []
    for _, version in _versions(folder):
        if kind == "linear" and version.suffix == ".zarr":
            arrays = [p for p in version.iterdir() if _LINEAR.fullmatch(p.name)]
            found += [f for a in arrays for f in _below(a) if _IMAGE_FILE.fullmatch(f.name)]
        elif kind != "linear" and version.suffix == "":
            found += _below(version / kind)
    return found


def _raw_files(root: Path, night: _Night) -> Iterator[Path]:
    """Raw images of the frames that were processed; the others can be had from nowhere else."""
    archive = Archive(root)
    try:
        waiting = {ref.index for ref in archive.unprocessed(night.camera, night.night)}
    except ArchiveError as error:
        log.warning("the raw images in %s stay: %s", night.folder, error)
        return
    for store in raw_stores(night.folder):
        try:
            first = int(group.Root.load(store).attributes["first_index"])
        except (OSError, ValueError, KeyError, UnknownSchema) as error:
            log.warning("the raw images in %s stay: %s", store, error)
            continue
        for file in _below(store / "raw"):
            match = _RAW_FILE.fullmatch(file.name)
            if match and first + int(match[1]) not in waiting:
                yield file


def _below(folder: Path) -> list[Path]:
    """Plain files below a folder, by name; nothing behind a link."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        found += [Path(place, name) for name in sorted(names)]
    return [p for p in found if not p.is_symlink()]


def _removal(
    night: _Night, kind: Kind, files: list[Path], reason: str, elsewhere: Elsewhere | None
) -> Removal:
    size = sum(_room(f) for f in files)
    lacking = 0
    if elsewhere is not None:
        current = current_version(night.folder)
        lacking = len(elsewhere.lacks(night.folder, files, current))
    if lacking:
        reason += f"; stays until {lacking} of its files are safe elsewhere"
    return Removal(night.camera, night.night, kind, len(files), size, reason, lacking > 0)


def _remove(folder: Path, kind: Kind, files: list[Path], now: datetime) -> None:
    places = sorted({f.parent for f in files}, reverse=True)
    files = sorted(files, key=_room)
    while True:
        try:
            note_removed(folder, kind, now)
            break
        except OSError as error:
            if error.errno not in FULL or not files or not _room(files[-1]):
                raise
            # makes the room that the note needs; more than once where others are quicker to take it
            files.pop().unlink(missing_ok=True)
    for file in files:
        file.unlink(missing_ok=True)
    if kind in ("versions", "pictures", "products"):
        for place in places:
            _remove_empty(place, folder)


def _room(file: Path) -> int:
    """Bytes that come free with a file: none where it has a second name."""
    try:
        status = file.lstat()
    except OSError:  # gone meanwhile, or unreadable
        return 0
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def _remove_empty(place: Path, stop: Path) -> None:
    while place != stop and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Hold the archive's folder itself as the lock: on a full disk no lock file could be made."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise archive_error(error, root) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
