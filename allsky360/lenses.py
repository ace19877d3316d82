"""The lens files of an archive: one series a camera, the newest counts.

``<storage.root>/<camera>/lens/0001.json``, ``0002.json``, … Nothing is overwritten, so that every
frame's record can name the file it was measured with.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from allsky360.archive.layout import is_slug
from allsky360.errors import AllskyError
from allsky360.sky.lens_file import LensFile, lens_file_of, read_lens, write_lens
from allsky360.sky.solve import LensSolution

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


def current_lens(root: Path, camera: str, width: int, height: int) -> LensFile | None:
    """Return the newest lens file for frames of a size; None where there is none.

    Raises
    ------
    LensFileError
        The newest file cannot be read.
    """
    for path in reversed(lens_paths(root, camera)):
        content = _read(path, path.stat().st_mtime_ns)
        if (content.lens.width, content.lens.height) == (width, height):
            return content
    return None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> LensFile:
    return read_lens(path)


def save_lens(root: Path, camera: str, solution: LensSolution) -> LensFile:
    """Write a solution as the camera's newest lens file."""
    paths = lens_paths(root, camera)
    serial = int(paths[-1].stem) + 1 if paths else 1
    content = lens_file_of(solution, camera=camera, serial=serial)
    folder = lens_folder(root, camera)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LensStoreError(f"cannot make {folder}: {error.strerror}.") from error
    write_lens(folder / f"{serial:04d}.json", content)
    return content
