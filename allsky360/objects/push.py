"""Copy a night to the object store, what announces it last; bring one back."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from allsky360.archive.durable import make_folder, write_atomic
from allsky360.archive.layout import night_folder
from allsky360.config_objects import ObjectsSettings
from allsky360.objects.place import ObjectsError, Place, first_line, open_place, table_of

log = logging.getLogger(__name__)

AT_ONCE = 8
PUSHED = ".pushed.json"
"""In a night's folder: size and time of change of every file that was copied, and where to."""

State = dict[str, list[int]]


@dataclass(frozen=True)
class Copied:
    """How many files and bytes were copied, and how many were there already."""

    files: int
    bytes: int
    there: int


def push_night(root: Path, camera: str, night: date, settings: ObjectsSettings) -> Copied:
    """Copy what is new or changed of a night, and the camera's lens files.

    Data goes first, then what announces it: a reader of the store sees whole frames and whole
    products. Nothing is deleted there: what retention removes here is kept.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer; what was copied is kept.
    """
    store = open_place(settings)
    folder = night_folder(root, camera, night)
    state = _load_state(folder, settings.url)
    wanted: list[tuple[int, Path, list[int]]] = []
    there = 0
    for path in [*files_below(folder), *files_below(root / camera / "lens")]:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # replaced or removed meanwhile: the next time
        mark = [status.st_size, status.st_mtime_ns]
        if state.get(_key(root, path)) == mark:
            there += 1
        else:
            wanted.append((rank(path), path, mark))
    total = 0

    def copy(item: tuple[int, Path, list[int]]) -> tuple[str, list[int], int] | None:
        _, path, mark = item
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None  # replaced or removed meanwhile: the next time
        store.put(_key(root, path), data)
        return _key(root, path), mark, len(data)

    files = 0
    try:
        for step in sorted({r for r, _, _ in wanted}):
            with ThreadPoolExecutor(AT_ONCE, "push") as pool:
                for done in pool.map(copy, [w for w in wanted if w[0] == step]):
                    if done is not None:
                        state[done[0]], total, files = done[1], total + done[2], files + 1
    except Exception as error:  # obstore's errors have no common base but Exception
        raise trouble(settings, error) from error
    finally:
        _save_state(folder, settings.url, state)
    return Copied(files, total, there)


def pull_night(root: Path, camera: str, night: date, settings: ObjectsSettings) -> Copied:
    """Bring a night back from the store; files that are here stay as they are.

    Raises
    ------
    ObjectsError
        The store refuses, does not answer or has no such night.
    """
    store = open_place(settings)
    folder = night_folder(root, camera, night)
    keys = [*_list(store, settings, f"{camera}/{night.isoformat()}/")]
    if not keys:
        raise ObjectsError(
            f"{settings.url} has no night {night} of {camera}.",
            mend="'allsky360 objects list' shows what it has.",
        )
    keys += _list(store, settings, f"{camera}/lens/")
    missing = [k for k in keys if not (root / k).exists()]
    total = 0

    def copy(key: str) -> int:
        data = bytes(store.get(key).bytes())
        make_folder((root / key).parent)
        write_atomic(root / key, data, sync=True)
        return len(data)

    try:
        for step in sorted({rank(Path(k)) for k in missing}):
            with ThreadPoolExecutor(AT_ONCE, "pull") as pool:
                total += sum(pool.map(copy, [k for k in missing if rank(Path(k)) == step]))
    except Exception as error:
        raise trouble(settings, error) from error
    log.info("%s came from %s", folder, settings.url)
    return Copied(len(missing), total, len(keys) - len(missing))


def nights_there(settings: Place) -> list[tuple[str, str, str]]:
    """List what the store holds: (camera, night, version shown)."""
    store = open_place(settings)
    found = []
    try:
        cameras = store.list_with_delimiter()["common_prefixes"]
        for camera in cameras:
            for prefix in store.list_with_delimiter(camera)["common_prefixes"]:
                name = prefix.rstrip("/").split("/")[-1]
                if len(name) == 10 and name[:1].isdigit():
                    found.append((camera.rstrip("/"), name, _shown(store, prefix)))
    except Exception as error:
        raise trouble(settings, error) from error
    return found


def rank(path: Path) -> int:
    """Return when a file is copied: 0 data, 1 what announces a store or product, 2 the version."""
    if path.name == "current.json":
        return 2
    store = path.name == "zarr.json" and path.parent.suffix == ".zarr"
    announces = path.suffix == ".json" and path.parent.name == "products"
    return 1 if store or announces or path.name == "version.json" else 0


def files_below(folder: Path) -> Iterator[Path]:
    """Files of a folder that belong to the archive: no locks, no half-written, no inner state."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(".partial"):
            continue
        if path.is_dir():
            yield from files_below(path)
        elif path.is_file():
            yield path


def _key(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _list(store: Any, settings: ObjectsSettings, prefix: str) -> Iterator[str]:
    try:
        for chunk in store.list(prefix):
            yield from (str(item["path"]) for item in chunk)
    except Exception as error:
        raise trouble(settings, error) from error


def _shown(store: Any, prefix: str) -> str:
    try:
        return str(
            json.loads(bytes(store.get(f"{prefix.rstrip('/')}/current.json").bytes()))["version"]
        )
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def _load_state(folder: Path, url: str) -> State:
    try:
        content = json.loads((folder / PUSHED).read_bytes())
        return dict(content["files"]) if content["url"] == url else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # then everything is copied again


def _save_state(folder: Path, url: str, state: State) -> None:
    if folder.is_dir():
        text = json.dumps({"url": url, "files": state})
        write_atomic(folder / PUSHED, text.encode(), sync=False)


def trouble(settings: Place, error: Exception) -> ObjectsError:
    """Return the error that names the store and the mend."""
    table = table_of(settings)
    return ObjectsError(
        f"{settings.url}: {first_line(error)}.",
        mend=f"Check {table}.url, {table}.endpoint, the bucket and AWS_ACCESS_KEY_ID.",
    )
