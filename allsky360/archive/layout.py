"""Where things lie: names of cameras, nights, stores and frames."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

SCHEMA = 2
"""Number of the layout, in the attributes of every store; 0 where a store has none.

1: as in docs/archive.md; 2: raw stores keep their attributes a second time, ``attributes.json``.
"""
OLDEST_READ = 0
"""Stores from this number on are read as they are; older ones must be migrated first."""
VERSION = "v0001"
RAW_STORE = re.compile(r"raw(?:-(\d+))?\.zarr")
_FRAME_ID = re.compile(r"(\d{4}-\d{2}-\d{2})/(\d{1,7})", re.ASCII)
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_VERSION_NAME = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, order=True)
class FrameRef:
    """Names one frame of the archive.

    Attributes
    ----------
    camera
        Camera slug, see :func:`camera_slug`.
    night
        Night the frame belongs to.
    index
        Number within the night, from 0, in order of arrival.
    """

    camera: str
    night: date
    index: int

    @property
    def id(self) -> str:
        """``2026-11-22/000123``."""
        return f"{self.night.isoformat()}/{self.index:06d}"

    @classmethod
    def parse(cls, camera: str, text: str) -> FrameRef:
        """Read an id back; ValueError for anything else."""
        match = _FRAME_ID.fullmatch(text)
        if match is None or _SLUG.fullmatch(camera) is None:
            raise ValueError(f"{camera!r}, {text!r} does not name a frame")
        return cls(camera, date.fromisoformat(match[1]), int(match[2]))


def camera_slug(name: str) -> str:
    """Turn a device name into a folder name: lower case, letters, digits and hyphens."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    return slug or "camera"


def is_slug(text: str) -> bool:
    """Whether ``text`` can be a camera's folder name (and nothing that escapes the archive)."""
    return _SLUG.fullmatch(text) is not None


def night_folder(root: Path, camera: str, night: date) -> Path:
    """Folder of one night of one camera; refuses what is not a slug."""
    if not is_slug(camera):
        raise ValueError(f"{camera!r} is not a camera name of this archive")
    return root / camera / night.isoformat()


def parse_night(text: str) -> date | None:
    """Read a night's folder name; None for any other name."""
    if _NIGHT.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def raw_stores(folder: Path) -> list[Path]:
    """List the raw stores of a night in order; more than one when the sensor's shape changed."""
    if not folder.is_dir():
        return []
    found = [(m, p) for p in folder.iterdir() if (m := RAW_STORE.fullmatch(p.name))]
    return [p for _, p in sorted(found, key=lambda x: int(x[0][1] or 1))]


def picture_path(folder: Path, version: str, index: int) -> Path:
    """Full-size display picture of a frame."""
    return folder / version / "pictures" / f"{index:06d}.jpg"


def steps_folder(folder: Path, version: str, index: int) -> Path:
    """Folder of the small pictures of a frame's steps, ``07-stretch.jpg``; few frames have one."""
    return folder / version / "pictures" / "steps" / f"{index:06d}"


def record_path(folder: Path, version: str, index: int) -> Path:
    """Metadata and provenance of a processed frame."""
    return folder / version / "frames" / f"{index:06d}.json"


def current_version(folder: Path) -> str:
    """Name of the version of a night's processed frames that readers are shown."""
    try:
        version = str(json.loads((folder / "current.json").read_bytes())["version"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return VERSION  # none yet, or damaged: the first version is always there
    return version if _VERSION_NAME.fullmatch(version) else VERSION
