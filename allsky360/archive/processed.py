"""Writing what processing makes of a frame; safe from several processes at once."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.archive import group, row_store
from allsky360.archive.durable import locked, make_folder, stage, sync_folder, write_atomic
from allsky360.archive.errors import ArchiveError, archive_error
from allsky360.archive.layout import (
    SCHEMA,
    VERSION,
    FrameRef,
    night_folder,
    picture_path,
    record_path,
    steps_folder,
)
from allsky360.archive.raw import SCALAR_NAME, microseconds
from allsky360.archive.rows import Row, check, encode
from allsky360.model import Site

log = logging.getLogger(__name__)

_STEP = re.compile(r"\d{2}-[a-z][a-z0-9_-]{0,40}", re.ASCII)

_NOTHING: Mapping[str, Any] = {}
_NO_ROWS: Mapping[str, Row] = {}
_NO_DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {}


class ProcessedWriter:
    """Writes processed frames of one night into its version store.

    Row ``i`` is frame ``i``; a row whose ``time`` is not set is not processed yet. Nothing here is
    synced to the disk: after a power cut ``allsky360 verify`` names what is damaged and processing
    makes it again from raw.

    Parameters
    ----------
    root, camera, night
        Which night; ``camera`` is a slug.
    version
        Version store to write into.
    """

    def __init__(self, root: Path, camera: str, night: date, version: str = VERSION) -> None:
        self.folder = night_folder(root, camera, night)
        self.version = version
        self.store = self.folder / f"{version}.zarr"
        self._lock = self.folder / f".{version}.lock"

    def write(
        self,
        ref: FrameRef,
        *,
        time: datetime,
        linear: NDArray[np.float32],
        picture_jpeg: bytes,
        scalars: Mapping[str, float],
        provenance: Mapping[str, Any],
        site: Site | None = None,
        rows: Mapping[str, Row] = _NO_ROWS,
        descriptions: Mapping[str, Mapping[str, str]] = _NO_DESCRIPTIONS,
        extra: Mapping[str, Any] = _NOTHING,
        steps: Mapping[str, bytes] = _NOTHING,
    ) -> None:
        """Store one processed frame; writing it again replaces it, rows included.

        Parameters
        ----------
        ref
            The frame.
        time
            Its start.
        linear
            Reduced linear image, float32 ``(y, x, band)``.
        picture_jpeg
            Full-size display picture.
        scalars
            Measurements; non-finite values count as not measured.
        provenance
            How the frame came about; plain JSON values.
        site
            Stored with a new version store.
        rows
            What was measured along other axes: fluxes of stars, maps over sky cells.
        descriptions
            Attributes of scalars, by name (``units``, ``long_name``, ``ancillary_variables``, …);
            names that are not in ``scalars`` are passed over.
        extra
            Further entries of the frame's record (``transients``), plain JSON values.
        steps
            Small pictures of its steps as JPEG, by number and name (``07-stretch``); those of an
            earlier time are removed.

        Raises
        ------
        ArchiveError
            When a name, shape or type cannot be stored, or the disk refuses; the frame then counts
            as it did before, or as not processed.
        """
        if not self.folder.is_dir():
            raise ArchiveError(f"{self.folder} does not exist.", mend="Store the raw frame first.")
        for name in scalars:
            if SCALAR_NAME.fullmatch(name) is None or group.RESERVED.fullmatch(name):
                raise ArchiveError(f"{name!r} cannot name a scalar.", mend="Use lower_case_unit.")
        check(rows, scalars)
        for name in steps:
            if _STEP.fullmatch(name) is None:
                raise ArchiveError(f"{name!r} cannot name a step.", mend="Use 07-name.")
        row = ref.index
        measured = _finite(scalars)
        staged: dict[Path, Path] = {}
        try:
            image, stored = self._prepare(ref, linear, site, rows, measured)
            record = {
                "id": ref.id,
                "time": time.isoformat(),
                "scalars": measured,
                "provenance": provenance,
                **extra,
                **({"rows": sorted(stored.values())} if stored else {}),
            }
            picture = picture_path(self.folder, self.version, row)
            text = record_path(self.folder, self.version, row)
            files = {
                picture: picture_jpeg,
                text: json.dumps(record, indent=1, allow_nan=False).encode(),
                **{
                    row_store.row_path(self.store, stored[name], row): encode(given.values)
                    for name, given in rows.items()
                },
            }
            small = steps_folder(self.folder, self.version, row)
            files |= {small / f"{name}.jpg": data for name, data in steps.items()}
            for folder in (picture.parent, text.parent, *([small] if steps else ())):
                make_folder(folder)
            # one that a power cut tore is no shard, and Zarr would read it first
            group.image_path(self.store, image, row, bands=True).unlink(missing_ok=True)
            group.open_image_array(self.store, image)[row] = linear
            for path, data in files.items():
                staged[path] = stage(path, data, sync=False)
            with locked(self._lock):
                self._commit(row, measured, time, staged, set(stored.values()), descriptions)
        except OSError as error:
            raise archive_error(error, self.store) from error
        except group.DamagedChunk as error:
            self._put_aside_if_damaged()
            raise ArchiveError(f"{error}.", mend="The night is processed again.") from error
        finally:
            for partial in staged.values():
                partial.unlink(missing_ok=True)

    def revise(
        self,
        first: int,
        last: int,
        change: Callable[[dict[int, dict[str, Any]]], Mapping[int, dict[str, Any]]],
    ) -> list[int]:
        """Change entries of the records of processed frames, none or all, while nobody writes.

        Parameters
        ----------
        first, last
            Frames, both included.
        change
            Takes the records there are, by frame number, and returns those that change. It may be
            called while other processes wait: it must be quick.

        Returns
        -------
        list of int
            Frames whose records changed; they count as processed just now.

        Raises
        ------
        ArchiveError
            When the disk refuses.
        """
        try:
            with locked(self._lock):
                root = self._load()
                if root is None:
                    return []
                changed = change(self._records(root, first, last))
                for row, record in changed.items():
                    text = json.dumps(record, indent=1, allow_nan=False).encode()
                    write_atomic(record_path(self.folder, self.version, row), text, sync=False)
                    self._set(root, row, "processed_at", microseconds(datetime.now(UTC)))
                if changed:
                    self._save(root, root.rows)
                return sorted(changed)
        except OSError as error:
            raise archive_error(error, self.store) from error

    def _records(self, root: group.Root, first: int, last: int) -> dict[int, dict[str, Any]]:
        """Return the readable records of committed frames."""
        times = group.read_rows(self.store, "time", root.arrays["time"], root.rows)
        found = {}
        for row in range(max(first, 0), min(last + 1, root.rows)):
            if times[row] < 0:
                continue
            try:
                content = json.loads(record_path(self.folder, self.version, row).read_bytes())
            except (OSError, ValueError) as error:  # a neighbour's damage costs its links alone
                log.warning("no record of frame %d in %s: %s", row, self.store, error)
                continue
            if isinstance(content, dict):
                found[row] = content
        return found

    def _prepare(
        self,
        ref: FrameRef,
        linear: NDArray[np.float32],
        site: Site | None,
        rows: Mapping[str, Row],
        scalars: Mapping[str, float],
    ) -> tuple[str, dict[str, str]]:
        """Make store and arrays where missing; return those that take the image and each row."""
        with locked(self._lock):
            root = self._load()
            before = 0 if root is None else len(root.arrays)
            root = root or self._begin(ref, site)
            image = self._prepare_image(root, linear)
            stored = row_store.prepare(self.store, root, rows)
            _check_scalars(root, scalars)
            if len(root.arrays) > before:
                self._save(root, root.rows)
            return image, stored

    def _prepare_image(self, root: group.Root, linear: NDArray[np.float32]) -> str:
        for number in count(1):
            ending = "" if number == 1 else f"_{number}"
            metadata = root.arrays.get(f"linear{ending}")
            if metadata is None:
                break
            if metadata["shape"][1:] == list(linear.shape):
                return f"linear{ending}"
        root.add_array(
            self.store,
            f"linear{ending}",
            group.image_metadata(
                "float32",
                linear.shape,
                (f"y{ending}", f"x{ending}", f"band{ending}"),
                {"long_name": "linear image, area-averaged; 1 is full well of the reference"},
            ),
            sync=False,
        )
        return f"linear{ending}"

    def _begin(self, ref: FrameRef, site: Site | None) -> group.Root:
        place = (
            {}
            if site is None
            else {
                "site_name": site.name,
                "site_latitude_deg": site.latitude_deg,
                "site_longitude_deg": site.longitude_deg,
                "site_elevation_m": site.elevation_m,
            }
        )
        root = group.Root(
            {
                "Conventions": "CF-1.11",
                "title": f"processed frames of {ref.camera}, night {ref.night.isoformat()}",
                "source": f"allsky360 {__version__}",
                "schema": SCHEMA,
                "kind": "processed",
                "night": ref.night.isoformat(),
                "camera": ref.camera,
                "version": self.version,
                "commits": 0,
                **place,
            },
            {},
            0,
        )
        make_folder(self.store)
        attributes = {"long_name": "start of the frame", "axis": "T", **group.INSTANT}
        for name, what in (
            ("time", attributes),
            ("processed_at", {**group.INSTANT, "long_name": "when the frame was processed"}),
        ):
            root.add_array(
                self.store, name, group.scalar_metadata("int64", attributes=what), sync=False
            )
        return root

    def _commit(
        self,
        row: int,
        scalars: Mapping[str, float],
        time: datetime,
        staged: Mapping[Path, Path],
        arrays: set[str],
        descriptions: Mapping[str, Mapping[str, str]],
    ) -> None:
        root = self._load()
        if root is None:
            raise ArchiveError(f"{self.store} vanished while a frame was written to it.")
        _check_scalars(root, scalars)
        for name in scalars:
            self._describe(root, name, descriptions.get(name, {}))
        # a frame that is replaced is taken back first: killed below, it is processed once more
        self._set(root, row, "time", group.INSTANT["_FillValue"])
        for path, partial in staged.items():
            os.replace(partial, path)
        for old in steps_folder(self.folder, self.version, row).glob("*.jpg"):
            if old not in staged:
                old.unlink()
        for name, metadata in root.arrays.items():
            if group.is_row(metadata) and name not in arrays:  # of an earlier time
                row_store.row_path(self.store, name, row).unlink(missing_ok=True)
        values: dict[str, float | int] = {
            name: scalars.get(name, math.nan)
            for name, m in root.arrays.items()
            if group.is_scalar(m) and m["data_type"].startswith("float")
        }
        values["processed_at"] = microseconds(datetime.now(UTC))
        values["time"] = microseconds(time)  # last: it announces the row
        for name, value in values.items():
            self._set(root, row, name, value)
        self._save(root, max(root.rows, row + 1))

    def _set(self, root: group.Root, row: int, name: str, value: float) -> None:
        chunk, at = divmod(row, group.CHUNK)
        metadata = root.arrays[name]
        data = group.read_chunk(self.store, name, chunk, metadata)
        if data[at] != value:
            data[at] = value
            path = group.chunk_path(self.store, name, chunk, metadata)
            write_atomic(path, data.tobytes(), sync=False)

    def _describe(self, root: group.Root, name: str, given: Mapping[str, str]) -> None:
        """Make a scalar's array where missing; its attributes are those given last."""
        metadata = root.arrays.get(name)
        if metadata is None:
            root.add_array(self.store, name, _measurement(name, given), sync=False)
            return
        attributes = {**metadata["attributes"], **given}
        if attributes == metadata["attributes"]:
            return
        units = metadata["attributes"].get("units")
        if attributes.get("units") != units:
            log.warning(
                "%s: the unit of %s was %s, is now %s", self.store, name, units, attributes["units"]
            )
        metadata["attributes"] = attributes
        whole = {**metadata, "shape": [group.CAPACITY, *metadata["shape"][1:]]}
        write_atomic(self.store / name / "zarr.json", json.dumps(whole).encode(), sync=False)

    def _load(self) -> group.Root | None:
        try:
            return group.Root.load(self.store)
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._put_aside(error)
            return None

    def _put_aside(self, why: Exception) -> None:
        """Make way: all of it can be made again from raw, and processing goes on by itself."""
        number = 1
        while (aside := self.store.with_name(f"{self.store.name}.damaged-{number}")).exists():
            number += 1
        log.warning("%s; kept as %s, its frames are processed again", why, aside)
        self.store.rename(aside)

    def _put_aside_if_damaged(self) -> None:
        """The same where a file of numbers is damaged, as a power cut leaves them unsynced."""
        with locked(self._lock):
            root = self._load()  # another process may have done it already
            if root is None:
                return
            try:
                for name, metadata in root.arrays.items():
                    if group.is_scalar(metadata):
                        group.read_rows(self.store, name, metadata, root.rows)
            except group.DamagedChunk as error:
                self._put_aside(error)

    def _save(self, root: group.Root, rows: int) -> None:
        """Replace the group's metadata; the counter makes every commit visible to watchers."""
        root.attributes["commits"] = int(root.attributes["commits"]) + 1
        write_atomic(self.store / "zarr.json", root.encode(rows), sync=False)
        current = self.folder / "current.json"
        # a later version is shown when it is whole, see allsky360.archive.versions
        if self.version == VERSION and not current.exists():
            write_atomic(current, json.dumps({"version": self.version}).encode(), sync=True)
            sync_folder(self.folder)


def _check_scalars(root: group.Root, scalars: Mapping[str, float]) -> None:
    for name in scalars:
        if name in root.arrays and not group.is_scalar(root.arrays[name]):
            raise ArchiveError(
                f"scalar {name!r} cannot be stored: this night has rows of that name.",
                mend="Rename it, or remove the night's version store and process it again.",
            )


def _measurement(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    return group.scalar_metadata("float32", attributes={**group.describe(name), **given})


def _finite(scalars: Mapping[str, float]) -> dict[str, float]:
    return {k: float(v) for k, v in scalars.items() if math.isfinite(v)}
