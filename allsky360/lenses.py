"""The lens files of an archive: one series a camera, the newest counts.

``<storage.root>/<camera>/lens/0001.json``, ``0002.json``, … Nothing is overwritten, so that every
frame's record can name the file it was measured with. Beside the fields of a lens file they hold
the covariance of the parameters (``quality.covariance``): without it a tilt and a shift of the
centre, which nearly cancel, would hide every drift.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from allsky360.archive.layout import is_slug
from allsky360.errors import AllskyError
from allsky360.sky.lens_file import LensFile, read_lens

_NAME = re.compile(r"(\d{4,})\.json")


class LensStoreError(AllskyError):
    """A camera's lens files cannot be used."""


def lens_folder(root: Path, camera: str) -> Path:
    """Return the folder of a camera's lens files; ``camera`` is a slug."""
    if not is_slug(camera):
        raise LensStoreError(f"{camera!r} is not a camera name of this archive.")
    return root / camera / "lens"


def lens_paths(root: Path, camera: str) -> list[Path]:
    """List a camera's lens files, oldest first."""
    folder = lens_folder(root, camera)
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [p for _, p in sorted(found)]


def current_lens(
    root: Path, camera: str, width: int, height: int, *, upto: int | None = None
) -> LensFile | None:
    """Return the newest lens file for frames of a size; None where there is none.

    ``upto`` leaves out lens files with a greater number.

    Raises
    ------
    LensFileError
        The newest file cannot be read.
    """
    for path in reversed(lens_paths(root, camera)):
        if upto is not None and int(path.stem) > upto:
            continue
        content = _read(path, path.stat().st_mtime_ns)
        if (content.lens.width, content.lens.height) == (width, height):
            return content
    return None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> LensFile:
    return read_lens(path)


def newest_lens(root: Path, camera: str) -> LensFile | None:
    """Return the newest lens file of any frame size; None where there is none."""
    paths = lens_paths(root, camera)
    return _read(paths[-1], paths[-1].stat().st_mtime_ns) if paths else None
