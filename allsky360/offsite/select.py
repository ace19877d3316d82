"""Which folders and files of the archive are copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from allsky360.archive import Archive
from allsky360.archive.elsewhere import kind_of
from allsky360.archive.layout import current_version, night_folder
from allsky360.objects.push import files_below

SHARED = ("lens", "calibration")
"""Folders of a camera that its nights are read and made with."""


@dataclass(frozen=True)
class Unit:
    """A folder that is copied as one, with one record: a night, or what a camera's nights share."""

    camera: str
    name: str
    folder: Path


def units_of(archive: Archive, nights: Iterable[tuple[str, date]]) -> list[Unit]:
    """List the folders to copy: what is shared first, then the nights in order."""
    listed = list(nights)
    found = [
        Unit(camera, name, archive.root / camera / name)
        for camera in sorted({c for c, _ in listed})
        for name in SHARED
        if (archive.root / camera / name).is_dir()
    ]
    for camera, night in listed:
        folder = night_folder(archive.root, camera, night)
        found.append(Unit(camera, night.isoformat(), folder))
    return found


def wanted_files(folder: Path, kinds: Iterable[str]) -> Iterator[Path]:
    """Yield the files of a folder that are to be copied."""
    chosen, current = frozenset(kinds), current_version(folder)
    for file in files_below(folder):
        kind = kind_of(file.relative_to(folder), current)
        if kind == "" or kind in chosen:
            yield file
