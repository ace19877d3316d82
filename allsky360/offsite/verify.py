"""Look whether the copy is still what it was."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allsky360.archive.elsewhere import Record, Safe, read_record, write_record
from allsky360.config_offsite import OffsiteSettings
from allsky360.objects.place import ObjectsError, open_place
from allsky360.objects.push import trouble
from allsky360.offsite.proof import plain_etag, read_back
from allsky360.offsite.select import Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Damage:
    """One object that is not what it was.

    Attributes
    ----------
    key
        Its name.
    what
        What is wrong with it.
    lost
        Whether the file is no longer here either.
    """

    key: str
    what: str
    lost: bool


def verify_unit(
    root: Path, unit: Unit, settings: OffsiteSettings, *, deep: bool = True
) -> tuple[int, list[Damage]]:
    """Compare the copy of one folder with its record; return how many objects, and the damaged.

    What is damaged no longer counts as safe, and is copied again by the next copy where the file is
    still here.

    Parameters
    ----------
    root, unit
        Which folder.
    settings
        Where the copy is.
    deep
        Read every object and compare its SHA-256; else compare size and ETag only.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer.
    """
    record = read_record(unit.folder, settings.url)
    prefix = unit.folder.relative_to(root).as_posix()
    store = open_place(settings)
    try:
        listed = {
            str(o["path"]): (int(o["size"]), plain_etag(o.get("e_tag")))
            for chunk in store.list(f"{prefix}/")
            for o in chunk
        }

        def look(name: str) -> str:
            return _wrong(store, f"{prefix}/{name}", record[name], listed, deep)

        with ThreadPoolExecutor(settings.at_once, "offsite") as pool:
            found = dict(zip(record, pool.map(look, record), strict=True))
    except ObjectsError:
        raise
    except Exception as error:  # obstore's errors have no common base but Exception
        raise trouble(settings, error) from error
    wrong = {name: what for name, what in found.items() if what}
    if wrong:
        _forget(unit.folder, settings, record, set(wrong))
    return len(record), [
        Damage(f"{prefix}/{name}", what, not (unit.folder / name).exists())
        for name, what in wrong.items()
    ]


def _wrong(store: Any, key: str, safe: Safe, listed: dict[str, tuple[int, str]], deep: bool) -> str:
    if key not in listed:
        return "is missing there"
    size, etag = listed[key]
    if size != safe.bytes:
        return f"has {size} instead of {safe.bytes} bytes there"
    if not deep:
        return "" if etag == safe.etag else "was replaced there"
    try:
        return "" if read_back(store, key) == safe.sha256 else "is damaged there"
    except FileNotFoundError:
        return "is missing there"


def _forget(folder: Path, settings: OffsiteSettings, record: Record, names: set[str]) -> None:
    kept = {name: safe for name, safe in record.items() if name not in names}
    try:
        write_record(folder, settings.url, kept)
    except OSError as error:
        raise ObjectsError(
            f"{folder}: what is damaged there could not be noted: {error}.",
            mend="Free space, then verify again: until then retention believes it is safe.",
        ) from error
