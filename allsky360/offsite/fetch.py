"""Bring a night back from the copy, every file proven."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from allsky360.archive.durable import make_folder, sync_folder, write_atomic
from allsky360.archive.elsewhere import (
    Record,
    Safe,
    kind_of,
    parse_record,
    read_record,
    write_record,
)
from allsky360.archive.errors import archive_error
from allsky360.archive.layout import current_version
from allsky360.archive.removed import FILE as REMOVED
from allsky360.archive.removed import removed
from allsky360.config_offsite import OffsiteSettings
from allsky360.objects.place import ObjectsError, open_place
from allsky360.objects.push import rank, trouble
from allsky360.offsite.copy import MANIFEST, Copied
from allsky360.offsite.select import Unit


class NoCopy(ObjectsError):
    """The store holds no copy of a folder."""


def fetch_unit(root: Path, unit: Unit, settings: OffsiteSettings) -> Copied:
    """Bring back what is missing of a folder; files that are here stay as they are.

    Data comes first, then what announces it. A file appears whole and proven, or not at all; what
    came stays where it ends early, and the next try goes on.

    Raises
    ------
    ObjectsError
        The copy has no such folder, does not answer, or holds damaged objects: these are named, and
        everything else was brought.
    ArchiveError
        The disk refuses.
    """
    store = open_place(settings)
    prefix = unit.folder.relative_to(root).as_posix()
    try:
        record = read_record(unit.folder, settings.url) | _manifest(store, prefix)
        if not record:
            raise NoCopy(
                f"{settings.url} has no copy of {prefix}.", mend="Check the night and offsite.url."
            )
        missing = [n for n in record if not (unit.folder / n).exists()]
        damaged: list[str] = []
        total = 0
        for step in sorted({rank(Path(n)) for n in missing}):
            names = [n for n in missing if rank(Path(n)) == step]
            with ThreadPoolExecutor(settings.at_once, "offsite") as pool:
                sizes = pool.map(lambda n: _one(store, prefix, unit.folder, n, record[n]), names)
                for name, size in zip(names, sizes, strict=True):
                    total += max(size, 0)
                    if size < 0:
                        damaged.append(name)
            if damaged:
                break  # what announces must not come without what it announces
        if missing:
            _settle(unit.folder, settings, record, [n for n in missing if n not in damaged])
    except ObjectsError:
        raise
    except OSError as error:
        raise archive_error(error, unit.folder) from error
    except Exception as error:  # obstore's errors have no common base but Exception
        raise trouble(settings, error) from error
    if damaged:
        raise ObjectsError(
            f"{settings.url}: {len(damaged)} objects of {prefix} are missing or damaged there, "
            f"the first is {damaged[0]}.",
            mend="The others were brought. 'allsky360 offsite verify' names all.",
        )
    return Copied(len(missing), total, len(record) - len(missing))


def _manifest(store: Any, prefix: str) -> Record:
    """Return the record beside the copy, which is all there is where the disk was lost."""
    try:
        return parse_record(bytes(store.get(f"{prefix}/{MANIFEST}").bytes()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ObjectsError(f"{prefix}/{MANIFEST} is damaged there: {error}.") from error


def _one(store: Any, prefix: str, folder: Path, name: str, safe: Safe) -> int:
    """Bring one file; return its size, or -1 where the object is missing or not what was sent."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return -1  # a manifest that somebody else wrote leads out of the archive
    try:
        data = bytes(store.get(f"{prefix}/{name}").bytes())
    except FileNotFoundError:
        return -1
    if hashlib.sha256(data).hexdigest() != safe.sha256:
        return -1
    make_folder(path.parent)
    write_atomic(path, data, sync=True)
    os.utime(path, ns=(safe.mtime_ns, safe.mtime_ns))  # so that it counts as safe there
    sync_folder(path.parent)
    return len(data)


def _settle(folder: Path, settings: OffsiteSettings, record: Record, brought: list[str]) -> None:
    """Record what is safe; what came back is no longer named as removed."""
    current = current_version(folder)
    back = {kind_of(Path(n), current) for n in brought}
    left = {k: at.isoformat() for k, at in removed(folder).items() if k not in back}
    if (folder / REMOVED).exists():
        write_atomic(folder / REMOVED, json.dumps(left, indent=1).encode(), sync=True)
    with contextlib.suppress(FileNotFoundError):
        write_record(folder, settings.url, record)
