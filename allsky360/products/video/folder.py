"""The pictures of a folder in the order people number them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from allsky360.products.video.plan import VideoError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # EXIF: turned by a quarter
_UNEVEN = 0.01


@dataclass(frozen=True)
class PictureFolder:
    """What a folder holds.

    Attributes
    ----------
    paths
        Pictures of the common shape, in natural order.
    width, height
        The size most of them have.
    left_out
        Files that cannot be shown: path and reason.
    """

    paths: tuple[Path, ...]
    width: int
    height: int
    left_out: tuple[tuple[Path, str], ...]


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which 9 comes before 10, folder by folder."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def find_pictures(folder: Path, *, every: int = 1) -> PictureFolder:
    """Find the pictures in a folder and below.

    Parameters
    ----------
    folder
        Names that begin with a dot are passed over.
    every
        Take every n-th only.

    Raises
    ------
    VideoError
        There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise VideoError(f"{folder} is no folder.", mend="Name the folder that holds the pictures.")
    found = [
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    found.sort(key=lambda p: natural_key(p.relative_to(folder)))
    sizes = {path: _size(path) for path in found[::every]}
    readable = [size for size in sizes.values() if isinstance(size, tuple)]
    if not readable:
        raise VideoError(
            f"{folder} holds no picture that can be read ({', '.join(sorted(SUFFIXES))}).",
            mend="Develop raw frames first: allsky360 process.",
        )
    width, height = Counter(readable).most_common(1)[0][0]
    paths, left_out = _sorted_out(sizes, width, height)
    return PictureFolder(tuple(paths), width, height, tuple(left_out))


def _sorted_out(
    sizes: dict[Path, tuple[int, int] | str], width: int, height: int
) -> tuple[Sequence[Path], Sequence[tuple[Path, str]]]:
    paths, left_out = [], []
    for path, size in sizes.items():
        if isinstance(size, str):
            left_out.append((path, size))
        elif abs(size[0] * height / (size[1] * width) - 1.0) > _UNEVEN:
            left_out.append((path, f"it is {size[0]} x {size[1]}, most are {width} x {height}."))
        else:
            paths.append(path)
    return paths, left_out


def _size(path: Path) -> tuple[int, int] | str:
    """Width and height as shown, from the header; or why there are none."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            lying = picture.getexif().get(_ORIENTATION, 1) in _LYING
    except UnidentifiedImageError:
        return "it is damaged, or no picture."
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"it cannot be read: {error}."
    return (height, width) if lying else (width, height)
