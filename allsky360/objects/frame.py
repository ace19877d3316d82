"""One raw frame from the object store, for a worker that does not see the archive.

The few files a frame needs are laid into a folder of this machine as they lie in the archive, so
that they are read by the same code. Pixels leave it again with :func:`forget_frame`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allsky360.archive import FrameRef, group
from allsky360.archive.durable import write_atomic
from allsky360.archive.layout import night_folder, raw_stores
from allsky360.config_objects import ObjectsSettings
from allsky360.errors import AllskyError
from allsky360.objects.place import ObjectsError, first_line, open_place


def cache_folder(settings: ObjectsSettings) -> Path:
    """Return where this machine keeps what it fetched from a store."""
    name = hashlib.sha256(settings.url.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"allsky360-objects-{os.getuid()}-{name}"


def fetch_frame(settings: ObjectsSettings, ref: FrameRef) -> Path:
    """Fetch what is needed to read a raw frame and the camera's lenses; return the folder.

    Raises
    ------
    ObjectsError
        The store refuses, does not answer or has no such frame.
    """
    store, root = open_place(settings), cache_folder(settings)
    try:
        for key in _keys(store, f"{ref.camera}/lens/"):
            _fetch(store, root, key)
        night = f"{ref.camera}/{ref.night.isoformat()}"
        known = night_folder(root, ref.camera, ref.night)
        if not any(_holds(path, ref.index) for path in raw_stores(known)):
            for prefix in store.list_with_delimiter(f"{night}/")["common_prefixes"]:
                name = prefix.rstrip("/").split("/")[-1]
                if name.startswith("raw") and name.endswith(".zarr"):
                    _fetch_numbers(store, root, prefix.rstrip("/"))
        for path in raw_stores(known):
            if _holds(path, ref.index):
                for file in _images(path, ref.index):
                    _fetch(store, root, file.relative_to(root).as_posix(), missing_ok=True)
    except AllskyError:
        raise
    except Exception as error:  # obstore's errors have no common base but Exception
        raise ObjectsError(f"{settings.url}, {ref.id}: {first_line(error)}.") from error
    return root


def forget_frame(settings: ObjectsSettings, ref: FrameRef) -> None:
    """Remove a frame's pixels from this machine."""
    for path in raw_stores(night_folder(cache_folder(settings), ref.camera, ref.night)):
        if _holds(path, ref.index):
            for file in _images(path, ref.index):
                file.unlink(missing_ok=True)


@contextmanager
def frame_before(settings: ObjectsSettings, ref: FrameRef) -> Iterator[Path]:
    """Lay the longest exposure of the frame before into a folder; what transients are told by.

    Call it after :func:`fetch_frame`. The folder is nobody else's: other workers of this machine
    fetch and forget that frame as they please.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer.
    """
    known = night_folder(cache_folder(settings), ref.camera, ref.night)
    with tempfile.TemporaryDirectory(prefix="allsky360-before-") as folder:
        root = Path(folder)
        own = night_folder(root, ref.camera, ref.night)
        shutil.copytree(known, own, ignore=_pixels)
        try:
            for path in raw_stores(own):
                if ref.index > 0 and _holds(path, ref.index - 1):
                    longest = _images(path, ref.index - 1)[0].relative_to(root).as_posix()
                    _fetch(open_place(settings), root, longest, missing_ok=True)
        except AllskyError:
            raise
        except Exception as error:  # as in fetch_frame
            words = f"{settings.url}, before {ref.id}: {first_line(error)}."
            raise ObjectsError(words) from error
        yield root


def _pixels(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if n.startswith("c.")] if Path(folder).name == "raw" else []


def _fetch_numbers(store: Any, root: Path, prefix: str) -> None:
    """Fetch everything of a raw store but its pixels, what announces it last."""
    keys = [k for k in _keys(store, f"{prefix}/") if "/raw/c." not in k]
    for key in sorted(keys, key=lambda k: k == f"{prefix}/zarr.json"):
        _fetch(store, root, key, again=True)


def _keys(store: Any, prefix: str) -> list[str]:
    return [str(item["path"]) for chunk in store.list(prefix) for item in chunk]


def _fetch(
    store: Any, root: Path, key: str, *, again: bool = False, missing_ok: bool = False
) -> None:
    path = root / key
    if path.exists() and not again:
        return
    try:
        data = bytes(store.get(key).bytes())
    except FileNotFoundError:
        if missing_ok:  # an exposure the bracket does not have, or one of nothing but zeros
            return
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, sync=False)


def _holds(store: Path, index: int) -> bool:
    try:
        root = group.Root.load(store)
    except (FileNotFoundError, ValueError):
        return False
    first = int(root.attributes.get("first_index", 0))
    return first <= index < first + root.rows


def _images(store: Path, index: int) -> list[Path]:
    """Files of a frame's exposures, whether they are there or not."""
    root = group.Root.load(store)
    shape = root.arrays["raw"]["shape"]
    row = index - int(root.attributes.get("first_index", 0))
    return [group.image_path(store, "raw", row, k, bands=len(shape) == 5) for k in range(shape[1])]
