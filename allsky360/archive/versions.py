"""Versions of a night's processed frames: what there is, what readers see, how it was made.

``<night>/v0002.zarr`` and ``<night>/v0002/`` are one version; ``v0002/version.json`` says how it
was begun and whether it is whole. ``current.json`` names the one readers are shown, and is replaced
atomically: a reader sees all of the old version or all of the new.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from allsky360.archive.durable import make_folder, sync_folder, write_atomic
from allsky360.archive.errors import ArchiveError, archive_error
from allsky360.archive.layout import VERSION, current_version
from allsky360.archive.products import LeftOut
from allsky360.errors import in_words

_NAME = re.compile(r"v(\d{4,})", re.ASCII)
_MANIFEST = "version.json"


@dataclass(frozen=True)
class VersionRecord:
    """How a version was made; ``version.json``. The first version, made live, has none.

    Attributes
    ----------
    version
        Its name.
    begun_at, whole_at
        UTC; ``whole_at`` is None while frames are missing.
    digest
        Of everything that makes its frames what they are; the same digest goes on, another begins
        a version of its own.
    overrides
        Settings changed for it, by dotted key; frames that arrive later are made with them too.
    provenance
        Code, parameters, lens file, masters; plain JSON values.
    start_memory
        What was known of the clear sky before its first frame; plain JSON values.
    frames
        How many frames it has, once whole.
    failed
        Frames that could not be made, and why.
    """

    version: str
    begun_at: datetime
    digest: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    start_memory: Mapping[str, Any] | None = None
    whole_at: datetime | None = None
    frames: int = 0
    failed: tuple[LeftOut, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        whole = self.whole_at.isoformat() if self.whole_at else None
        return asdict(self) | {"begun_at": self.begun_at.isoformat(), "whole_at": whole}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VersionRecord:
        """Read it back; ValueError where it is none."""
        try:
            whole = content["whole_at"]
            return cls(
                version=str(content["version"]),
                begun_at=datetime.fromisoformat(content["begun_at"]),
                digest=str(content["digest"]),
                overrides=dict(content["overrides"]),
                provenance=dict(content["provenance"]),
                start_memory=content["start_memory"],
                whole_at=datetime.fromisoformat(whole) if whole else None,
                frames=int(content["frames"]),
                failed=tuple(LeftOut(**x) for x in content["failed"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a version record: {in_words(error)}") from error


def versions(folder: Path) -> list[str]:
    """Versions of a night's folder, oldest first."""
    try:
        names = {p.name.removesuffix(".zarr") for p in folder.iterdir() if p.is_dir()}
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((n for n in names if _NAME.fullmatch(n)), key=_number)


def next_version(folder: Path) -> str:
    """Name of a version that is not there yet."""
    known = versions(folder)
    return f"v{_number(known[-1]) + 1:04d}" if known else VERSION


def switch(folder: Path, version: str) -> None:
    """Show readers another version.

    Raises
    ------
    ArchiveError
        There is no such version, or the disk refuses.
    """
    _check(folder, version)
    try:
        text = json.dumps({"version": version}).encode()
        write_atomic(folder / "current.json", text, sync=True)
        sync_folder(folder)
    except OSError as error:
        raise archive_error(error, folder / "current.json") from error


def drop(folder: Path, version: str) -> None:
    """Delete a version that readers are not shown, its products included. Raw is not touched.

    Raises
    ------
    ArchiveError
        It is the current one, there is none of that name, or the disk refuses.
    """
    _check(folder, version)
    if version == current_version(folder):
        raise ArchiveError(
            f"{version} of {folder} is the version that is shown.",
            mend="Switch to another one first.",
        )
    try:
        store = folder / f"{version}.zarr"
        (store / "zarr.json").unlink(missing_ok=True)  # first: half of it must not be read as one
        for path in (store, folder / version):
            if path.is_dir():
                shutil.rmtree(path)
        (folder / f".{version}.lock").unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise archive_error(error, folder / version) from error


def read_record(folder: Path, version: str) -> VersionRecord | None:
    """Return how a version was made; None for one made live.

    Raises
    ------
    ArchiveError
        The record is damaged.
    """
    path = folder / version / _MANIFEST
    try:
        return VersionRecord.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ArchiveError(
            f"{path} is damaged: {error}.", mend="Drop that version and make it again."
        ) from error


def write_record(folder: Path, record: VersionRecord) -> None:
    """Write how a version is made; durable on return."""
    path = folder / record.version / _MANIFEST
    try:
        make_folder(path.parent)
        text = json.dumps(record.to_json(), indent=1, allow_nan=False).encode()
        write_atomic(path, text, sync=True)
        sync_folder(path.parent)
    except OSError as error:
        raise archive_error(error, path) from error


def _check(folder: Path, version: str) -> None:
    if version not in versions(folder):
        known = ", ".join(versions(folder)) or "none"
        raise ArchiveError(f"{folder} has no version {version!r}.", mend=f"There is: {known}.")


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0
