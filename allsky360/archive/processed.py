"""Writing what processing makes of a frame; safe from several processes at once."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.archive import group
from allsky360.archive.durable import locked, make_folder, sync_folder, write_atomic
from allsky360.archive.errors import ArchiveError, archive_error
from allsky360.archive.layout import (
    SCHEMA,
    VERSION,
    FrameRef,
    night_folder,
    picture_path,
    record_path,
)
from allsky360.archive.raw import SCALAR_NAME, UNITS, microseconds
from allsky360.model import Site

log = logging.getLogger(__name__)

RESERVED = re.compile(r"time|processed_at|(?:linear|y|x|band)(?:_\d+)?")


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
    ) -> None:
        """Store one processed frame; writing it again replaces it.

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
        """
        if not self.folder.is_dir():
            raise ArchiveError(f"{self.folder} does not exist.", mend="Store the raw frame first.")
        for name in scalars:
            if SCALAR_NAME.fullmatch(name) is None or RESERVED.fullmatch(name):
                raise ArchiveError(f"{name!r} cannot name a scalar.", mend="Use lower_case_unit.")
        row = ref.index
        record = {
            "id": ref.id,
            "time": time.isoformat(),
            "scalars": _finite(scalars),
            "provenance": provenance,
        }
        try:
            picture = picture_path(self.folder, self.version, row)
            make_folder(picture.parent)
            make_folder(record_path(self.folder, self.version, row).parent)
            name = self._prepare(ref, linear, site)
            group.open_image_array(self.store, name)[row] = linear
            write_atomic(picture, picture_jpeg, sync=False)
            write_atomic(
                record_path(self.folder, self.version, row),
                json.dumps(record, indent=1, allow_nan=False).encode(),
                sync=False,
            )
            with locked(self._lock):
                self._commit(row, {**_finite(scalars)}, time)
        except OSError as error:
            raise archive_error(error, self.store) from error

    def _prepare(self, ref: FrameRef, linear: NDArray[np.float32], site: Site | None) -> str:
        """Make store and image array where missing; return the array that takes this shape."""
        with locked(self._lock):
            root = self._load() or self._begin(ref, site)
            number = 1
            while True:
                name = "linear" if number == 1 else f"linear_{number}"
                metadata = root.arrays.get(name)
                if metadata is None:
                    break
                if metadata["shape"][1:] == list(linear.shape):
                    return name
                number += 1
            ending = "" if number == 1 else f"_{number}"
            root.add_array(
                self.store,
                name,
                group.image_metadata(
                    "float32",
                    linear.shape,
                    (f"y{ending}", f"x{ending}", f"band{ending}"),
                    {"long_name": "linear image, area-averaged; 1 is full well of the reference"},
                ),
                sync=False,
            )
            self._save(root, root.rows)
            return name

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

    def _commit(self, row: int, scalars: Mapping[str, float], time: datetime) -> None:
        root = self._load()
        if root is None:
            raise ArchiveError(f"{self.store} vanished while a frame was written to it.")
        for name in scalars:
            if name not in root.arrays:
                root.add_array(self.store, name, _measurement(name), sync=False)
        chunk, at = divmod(row, group.CHUNK)
        values: dict[str, float | int] = {
            name: scalars.get(name, math.nan)
            for name, m in root.arrays.items()
            if group.is_scalar(m) and m["data_type"].startswith("float")
        }
        values["processed_at"] = microseconds(datetime.now(UTC))
        values["time"] = microseconds(time)  # last: it announces the row
        for name, value in values.items():
            metadata = root.arrays[name]
            data = group.read_chunk(self.store, name, chunk, metadata)
            data[at] = value
            write_atomic(
                group.chunk_path(self.store, name, chunk, metadata), data.tobytes(), sync=False
            )
        self._save(root, max(root.rows, row + 1))

    def _load(self) -> group.Root | None:
        try:
            return group.Root.load(self.store)
        except FileNotFoundError:
            return None
        except ValueError as error:
            # all of it can be made again from raw: make way, so that processing goes on by itself
            number = 1
            while (aside := self.store.with_name(f"{self.store.name}.damaged-{number}")).exists():
                number += 1
            log.warning("%s; kept as %s, its frames are processed again", error, aside)
            self.store.rename(aside)
            return None

    def _save(self, root: group.Root, rows: int) -> None:
        """Replace the group's metadata; the counter makes every commit visible to watchers."""
        root.attributes["commits"] = int(root.attributes["commits"]) + 1
        write_atomic(self.store / "zarr.json", root.encode(rows), sync=False)
        current = self.folder / "current.json"
        if not current.exists():
            write_atomic(current, json.dumps({"version": self.version}).encode(), sync=True)
            sync_folder(self.folder)


def _measurement(name: str) -> dict[str, Any]:
    attributes = {"long_name": name.replace("_", " ")}
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            attributes["units"] = unit
    return group.scalar_metadata("float32", attributes=attributes)


def _finite(scalars: Mapping[str, float]) -> dict[str, float]:
    return {k: float(v) for k, v in scalars.items() if math.isfinite(v)}
