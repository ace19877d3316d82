"""Check a night: what is wrong, where, and what mends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from allsky360.archive import group, row_store
from allsky360.archive.errors import ArchiveError, UnknownSchema
from allsky360.archive.layout import VERSION, picture_path, raw_stores, record_path
from allsky360.archive.raw import crc32, instant
from allsky360.archive.reader import Archive
from allsky360.archive.removed import Kind, removed
from allsky360.errors import in_words

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Problem:
    """One finding of :func:`verify_night`."""

    severity: Severity
    where: str
    what: str
    mend: str = ""


def verify_night(folder: Path, *, deep: bool = True) -> list[Problem]:
    """Check a night's raw and processed stores.

    Parameters
    ----------
    folder
        The night's folder.
    deep
        Also decode every image and compare its checksum; otherwise only that the files are there.

    Returns
    -------
    list of Problem
        Empty when all is well. ``error``: committed data is missing or damaged; ``warning``: it
        can be made again from raw; ``info``: left-overs of a crash, harmless.
    """
    stores = raw_stores(folder)
    gone = removed(folder)
    problems = [
        Problem(
            "warning",
            str(path),
            "raw images whose store lost its zarr.json, or crashed before its first commit",
            "Look at its images before you delete it.",
        )
        for path in sorted(folder.glob("raw*.zarr.without-marker-*"))
    ]
    if not stores:
        none = Problem("error", str(folder), "no raw store", "Is this the folder of a night?")
        return [*problems, none]
    expected = 0
    for store in stores:
        found, expected = _verify_raw(store, expected, deep, _may_lack_raw(folder, gone))
        problems += found
    problems += _verify_processed(folder, expected, deep, gone)
    problems += [
        Problem("info", str(folder), f"its {kind} were removed on {when:%Y-%m-%d} by retention")
        for kind, when in gone.items()
    ]
    return problems


def _may_lack_raw(folder: Path, gone: Mapping[Kind, datetime]) -> Callable[[int], bool]:
    """Tell which frames may have no raw images: retention spares those that were not processed."""
    if "raw" not in gone:
        return lambda _: False
    archive = Archive(folder.parents[1])
    try:
        spared = archive.unprocessed(folder.parent.name, date.fromisoformat(folder.name))
    except ArchiveError:  # the damage is named by itself
        return lambda _: True
    waiting = {ref.index for ref in spared}
    return lambda index: index not in waiting


def _verify_raw(
    store: Path, first: int, deep: bool, may_lack: Callable[[int], bool]
) -> tuple[list[Problem], int]:
    try:
        root = group.Root.load(store)
        begins = int(root.attributes["first_index"])
    except KeyError as error:
        return [Problem("error", str(store), f"attribute {error} is missing")], first
    except FileNotFoundError:
        return [
            Problem("info", str(store), "begun, never committed", "The owner removes it.")
        ], first
    except UnknownSchema as error:
        return [Problem("error", str(store), error.message, error.mend)], first
    except ValueError as error:
        return [Problem("error", str(store), str(error), "Restore it from a copy.")], first
    problems: list[Problem] = []
    if begins != first:
        problems.append(Problem("error", str(store), f"begins at frame {begins}, expected {first}"))
    columns = {}
    for name, metadata in root.arrays.items():
        if (found := _metadata_problem(store, name)) is not None:
            problems.append(found)
            if name == "raw":
                deep = False  # what could be decoded without it
        if not group.is_scalar(metadata):
            continue
        try:
            columns[name] = group.read_rows(store, name, metadata, root.rows)
        except (OSError, ValueError) as error:
            problems.append(Problem("error", f"{store}/{name}", str(error)))
    if {"time", "exposure_s", "crc32"} <= columns.keys():
        problems += _verify_times(store, columns["time"])
        problems += _verify_images(
            store,
            root,
            columns["exposure_s"],
            columns["crc32"],
            deep,
            lambda k: may_lack(begins + k),
        )
    problems += _left_overs(store)
    return problems, begins + root.rows


def _metadata_problem(store: Path, name: str) -> Problem | None:
    where = f"{store}/{name}"
    try:
        json.loads((store / name / "zarr.json").read_bytes())
    except FileNotFoundError:
        return Problem("error", where, "its metadata is missing", "Copy it from another night.")
    except ValueError as error:
        return Problem("error", where, f"its metadata is damaged: {error}", "As when missing.")
    return None


def _verify_times(store: Path, times: np.ndarray) -> Iterator[Problem]:
    for row in map(int, np.flatnonzero(times < 0)):
        yield Problem("error", f"{store} frame {row}", "committed without a time")
    for row in map(int, np.flatnonzero(np.diff(times) < 0)):
        yield Problem(
            "info",
            f"{store} frame {row + 1}",
            f"starts before the frame that came before it ({instant(int(times[row + 1]))}): "
            "the clock was set back",
        )


def _verify_images(
    store: Path,
    root: group.Root,
    exposure_s: np.ndarray,
    checksums: np.ndarray,
    deep: bool,
    may_lack: Callable[[int], bool],
) -> Iterator[Problem]:
    shape = root.arrays["raw"]["shape"]
    bands = len(shape) == 5
    array = group.open_image_array(store, "raw", read_only=True) if deep else None
    zeros = crc32(np.zeros(shape[2:], root.arrays["raw"]["data_type"]))
    for row, k in zip(*np.nonzero(np.isfinite(exposure_s)), strict=True):
        where = f"{store} frame {row} exposure {k}"
        file = group.image_path(store, "raw", int(row), int(k), bands=bands)
        expected = int(checksums[row, k])
        if not file.is_file():
            # Zarr stores no file for an image of nothing but zeros
            if expected != zeros and not may_lack(int(row)):
                yield Problem("error", where, f"{file.name} is missing", "Restore it from a copy.")
            continue
        if array is None:
            continue
        try:
            actual = crc32(np.asarray(array[int(row), int(k)]))
        except (ValueError, RuntimeError, OSError) as error:
            yield Problem("error", where, f"does not decode: {error}", "Restore it from a copy.")
            continue
        if actual != expected:
            yield Problem("error", where, "differs from its checksum", "Restore it from a copy.")


def _left_overs(store: Path) -> Iterator[Problem]:
    for partial in sorted(store.rglob("*.partial")):
        yield Problem("info", str(partial), "left over from a crash", "It may be deleted.")


def _frames_now(folder: Path, known: int) -> int:
    """Count raw frames again: a night that is being taken grows while it is checked."""
    try:
        root = group.Root.load(raw_stores(folder)[-1])
        return max(known, int(root.attributes["first_index"]) + root.rows)
    except (OSError, ValueError, LookupError, UnknownSchema):  # named by the check of raw frames
        return known


def _verify_processed(
    folder: Path, frames: int, deep: bool, gone: Mapping[Kind, datetime]
) -> Iterator[Problem]:
    again = "Process the frame again."
    current = folder / "current.json"
    version = VERSION
    if current.is_file():
        try:
            version = str(json.loads(current.read_bytes())["version"])
        except (ValueError, KeyError, TypeError) as error:
            yield Problem("warning", str(current), f"damaged: {in_words(error)}", "Delete it.")
    store = folder / f"{version}.zarr"
    if not store.is_dir():
        if frames:
            yield Problem("info", str(store), "nothing processed yet")
        return
    try:
        root = group.Root.load(store)
        columns = {
            n: group.read_rows(store, n, m, root.rows)
            for n, m in root.arrays.items()
            if group.is_scalar(m)
        }
        times = columns["time"]
    except UnknownSchema as error:
        yield Problem("error", str(store), error.message, error.mend)
        return
    except (OSError, ValueError, KeyError) as error:
        yield Problem("warning", str(store), str(error), "Delete it and process the night again.")
        return
    for name, what in row_store.axis_problems(store, root, deep=deep):
        yield Problem(
            "warning", f"{store}/{name}", what, "Delete its file c.0 and process a frame again."
        )
    for row in map(int, np.flatnonzero(times >= 0)):
        where = f"{store} frame {row}"
        if row >= frames and row >= (frames := _frames_now(folder, frames)):
            yield Problem("error", where, "is processed but has no raw frame")
        picture = picture_path(folder, version, row)
        if "pictures" not in gone and not _is_jpeg(picture):
            yield Problem("warning", where, f"{picture.name} is missing or damaged", again)
        trouble = None if "linear" in gone else _linear_trouble(store, root, row, deep)
        if trouble is not None:
            yield Problem("warning", where, trouble, again)
        record = record_path(folder, version, row)
        try:
            listed = json.loads(record.read_bytes()).get("rows", [])
        except (OSError, ValueError, AttributeError):
            yield Problem("warning", where, f"{record.name} is missing or damaged", again)
            listed = []
        for found in _row_troubles(store, root, row, listed, deep):
            yield Problem("warning", where, found, again)
    missing = frames - int(np.count_nonzero(times[:frames] >= 0))
    if missing:
        yield Problem("info", str(store), f"not processed yet: {missing}")
    for place in (store, folder / version):
        yield from _left_overs(place)


def _linear_trouble(store: Path, root: group.Root, row: int, deep: bool) -> str | None:
    """Say what is wrong with a frame's linear image, whichever array holds it."""
    names = [n for n, m in root.arrays.items() if group.is_image(m)]
    held = [n for n in names if group.image_path(store, n, row, bands=True).is_file()]
    if not held:
        return "its linear image is missing"
    for name in held if deep else ():
        try:
            group.open_image_array(store, name, read_only=True)[row]
        except (ValueError, RuntimeError, OSError) as error:
            return f"{name} does not decode: {error}"
    return None


def _row_troubles(
    store: Path, root: group.Root, row: int, listed: Sequence[str], deep: bool
) -> Iterator[str]:
    """Say what is wrong with a frame's rows: those its record lists, and those that are there."""
    for name, metadata in root.arrays.items():
        if not group.is_row(metadata):
            continue
        if not row_store.row_path(store, name, row).is_file():
            if name in listed:
                yield f"its {name} is missing"
        elif deep:
            try:
                row_store.read_row(store, name, metadata, row)
            except (OSError, ValueError) as error:
                yield f"{name}: {error}"
    for name in listed:
        if name not in root.arrays:
            yield f"its {name} is missing"


def _is_jpeg(path: Path) -> bool:
    """Whether a file begins and ends as a JPEG does."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(-2, 2)
            return head == b"\xff\xd8" and file.read(2) == b"\xff\xd9"
    except OSError:
        return False
