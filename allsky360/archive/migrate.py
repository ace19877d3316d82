"""Bring the stores of an archive to the schema of this program, safe to interrupt at any instant.

A store is migrated one schema at a time. A step may write new files into the store and change the
attributes and arrays of its ``zarr.json`` in memory; replacing that file, with the next number in
it, is the commit. Killed before, the step is done again: it must bear that, and must leave alone
what the present ``zarr.json`` names, so that readers of the old schema go on. What only the old
schema used may be removed by the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from allsky360.archive.durable import WriterLock, locked, sync_folder, write_atomic
from allsky360.archive.errors import UnknownSchema, archive_error
from allsky360.archive.group import Root, schema_of
from allsky360.archive.layout import RAW_STORE, SCHEMA, raw_stores
from allsky360.archive.reader import Archive
from allsky360.archive.recover import KEPT, keep_attributes
from allsky360.archive.versions import versions

Step = Callable[[Path, Root], None]
"""Takes a store's folder and its root, which it may change; leads to the next schema."""


def number(_store: Path, _root: Root) -> None:
    """0 to 1: stores without a number are laid out as number 1 says; they only lack the number."""


def keep_beside(store: Path, root: Root) -> None:
    """1 to 2: raw stores keep their attributes beside the arrays, to build a lost marker from."""
    if RAW_STORE.fullmatch(store.name):
        keep_attributes(store, root.attributes)


STEPS: Mapping[int, Step] = {0: number, 1: keep_beside}
"""What leads from each schema to the next."""


@dataclass(frozen=True)
class Migration:
    """What becomes of one store.

    Attributes
    ----------
    camera, night, store
        Which: camera slug, night, and name such as ``raw.zarr``.
    schema
        The one it has; None where it is damaged.
    problem
        Why it cannot be migrated; empty where it can, or needs not.
    """

    camera: str
    night: date
    store: str
    schema: int | None
    problem: str = ""


def outdated(root: Path) -> Iterator[Migration]:
    """Yield every store that is not of this program's schema, oldest night of each camera first."""
    archive = Archive(root)
    for camera in archive.cameras():
        for night in archive.nights(camera):
            folder = root / camera / night.isoformat()
            for store in _stores(folder):
                found = _look(camera, night, store)
                if found is not None:
                    yield found


def migrate(root: Path, steps: Mapping[int, Step] = STEPS) -> Iterator[Migration]:
    """Migrate the stores that :func:`outdated` names; yield each when it is done, or why not.

    One that cannot be migrated is passed over. Called again it does what is left.

    Raises
    ------
    ArchiveBusy
        The owner of a camera that has such stores runs.
    ArchiveError
        The disk refuses; what was migrated stays so.
    """
    with ExitStack() as held:
        cameras: set[str] = set()
        for found in outdated(root):
            if found.problem:
                yield found
                continue
            if found.camera not in cameras:
                held.enter_context(_alone(root / found.camera))
                cameras.add(found.camera)
            _migrate(root / found.camera / found.night.isoformat(), found.store, steps)
            yield found


def _migrate(folder: Path, name: str, steps: Mapping[int, Step]) -> None:
    store = folder / name
    try:
        # processing writes with this lock held, and reads the store anew each time
        lock = locked(folder / f".{store.stem}.lock")
        with nullcontext() if RAW_STORE.fullmatch(name) else lock:
            root = Root.load(store, oldest=0)
            for schema in range(schema_of(root.attributes), SCHEMA):
                steps[schema](store, root)
                root.attributes["schema"] = schema + 1
                if (store / KEPT).exists():
                    keep_attributes(store, root.attributes)
                write_atomic(store / "zarr.json", root.encode(root.rows), sync=True)
                sync_folder(store)
    except OSError as error:
        raise archive_error(error, store) from error


def _look(camera: str, night: date, store: Path) -> Migration | None:
    try:
        schema = schema_of(Root.load(store, oldest=0).attributes)
    except FileNotFoundError:  # begun and never committed
        return None
    except UnknownSchema as error:
        return Migration(camera, night, store.name, None, str(error))
    except (OSError, ValueError) as error:
        return Migration(camera, night, store.name, None, f"{error}. Run 'allsky360 verify'.")
    return Migration(camera, night, store.name, schema) if schema < SCHEMA else None


def _stores(folder: Path) -> list[Path]:
    """Raw first: frames count as unprocessed rather than as lacking their raw images."""
    return [*raw_stores(folder), *(folder / f"{v}.zarr" for v in versions(folder))]


def _alone(camera: Path) -> closing[WriterLock]:
    """Keep the camera's owner away, which holds what it writes in memory."""
    try:
        return closing(WriterLock(camera / ".writer.lock"))
    except OSError as error:
        raise archive_error(error, camera) from error
