"""Keys of a Zarr store as readers may see them: committed rows and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.archive import group
from allsky360.archive.errors import ArchiveError
from allsky360.archive.layout import night_folder

STORE = r"(?:raw(?:-\d{1,4})?|v\d{4,6})\.zarr"
_ARRAY = r"[a-z][a-z0-9_]{0,70}"
KEY = re.compile(rf"zarr\.json|({_ARRAY})/(?:zarr\.json|c((?:\.\d{{1,7}}){{1,6}}))", re.ASCII)


@dataclass(frozen=True)
class Chunk:
    """A chunk that is served as the file it is."""

    path: Path
    stamp: tuple[int, int]


def read_key(root: Path, camera: str, night: date, store: str, key: str) -> bytes | Chunk | None:
    """Return what a key of a store holds; None where it holds nothing.

    Parameters
    ----------
    root, camera, night
        Whose store; the camera and night are ones the archive lists.
    store, key
        As :data:`STORE` and :data:`KEY` match them: neither can name anything else.

    Raises
    ------
    ArchiveError
        When the store's description is damaged.
    """
    match = KEY.fullmatch(key)
    if match is None or re.fullmatch(STORE, store) is None:
        return None
    path = night_folder(root, camera, night) / store
    try:
        tree = group.Root.load(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ArchiveError(str(error), mend="Run 'allsky360 verify'.") from error
    name, places = match[1], match[2]
    if name is None:
        return tree.encode(tree.rows)
    metadata = tree.arrays.get(name)
    if metadata is None:
        return None
    if places is None:
        return json.dumps(metadata).encode()
    return _chunk(path, tree, name, metadata, [int(p) for p in places[1:].split(".")])


def _chunk(
    path: Path, tree: group.Root, name: str, metadata: dict[str, Any], at: list[int]
) -> bytes | Chunk | None:
    file = path / name / ("c." + ".".join(map(str, at)))
    if group.along_time(metadata):
        if group.is_scalar(metadata):
            return _scalars(path, tree, name, metadata, at[0])
        if at[0] >= tree.rows or not _announced(path, tree, at[0]):
            return None
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Chunk(file, (status.st_mtime_ns, status.st_size))


def _scalars(
    path: Path, tree: group.Root, name: str, metadata: dict[str, Any], chunk: int
) -> bytes | None:
    """One chunk of numbers; what was written and not committed is taken out."""
    left = tree.rows - chunk * group.CHUNK
    if left <= 0:
        return None
    try:
        values = group.read_chunk(path, name, chunk, metadata)
    except ValueError as error:
        raise ArchiveError(str(error), mend="Run 'allsky360 verify'.") from error
    if left < group.CHUNK:
        values[left:] = group.empty_rows(metadata, 1)[0]
    return np.ascontiguousarray(values).tobytes()


def _announced(path: Path, tree: group.Root, row: int) -> bool:
    """Whether a frame has its time, which is written last."""
    chunk, at = divmod(row, group.CHUNK)
    try:
        times = group.read_chunk(path, "time", chunk, tree.arrays["time"])
    except (ValueError, KeyError):
        return False
    return bool(times[at] >= 0)
