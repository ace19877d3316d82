"""Writing raw frames: durable before anything else is done with them."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.archive import group
from allsky360.archive.durable import (
    WriterLock,
    make_folder,
    sync_file,
    sync_folder,
    write_atomic,
)
from allsky360.archive.errors import ArchiveError, archive_error
from allsky360.archive.layout import SCHEMA, FrameRef, camera_slug, night_folder, raw_stores
from allsky360.archive.recover import keep_attributes, rebuilt
from allsky360.model import MAX_EXPOSURES_PER_BRACKET, Bracket, Exposure, Site

log = logging.getLogger(__name__)

EXPOSURE_AXIS = ("exposure", MAX_EXPOSURES_PER_BRACKET)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCALAR_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

#: name, Zarr type, per exposure?, attributes
SCALARS: tuple[tuple[str, str, bool, dict[str, Any]], ...] = (
    ("time", "int64", False, {"long_name": "start of the frame", "axis": "T", **group.INSTANT}),
    ("exposure_start", "int64", True, {"long_name": "start of the exposure", **group.INSTANT}),
    ("exposure_s", "float64", True, {"long_name": "exposure time", "units": "s"}),
    ("crc32", "int64", True, {"long_name": "CRC-32 of the little-endian pixels", "_FillValue": -1}),
    ("gain", "float64", False, {"long_name": "gain, camera units"}),
    ("offset", "float64", False, {"long_name": "offset, camera units"}),
    ("temperature_c", "float64", False, {"long_name": "sensor temperature", "units": "degC"}),
    ("egain", "float64", False, {"long_name": "electrons per ADU"}),
    ("saturation_adu", "float64", False, {"long_name": "saturation level", "units": "adu"}),
)


class RawWriter:
    """The one writer of a camera's raw frames.

    Parameters
    ----------
    root
        Folder of the archive; created when missing.
    camera
        Device name; its slug names the folder.
    site
        Where the camera stands; decides which night a frame belongs to.

    Raises
    ------
    ArchiveBusy
        When another process writes this camera's frames.
    ArchiveError
        When the folder cannot be written.
    """

    def __init__(self, root: Path, camera: str, site: Site) -> None:
        self.root = root
        self.camera = camera_slug(camera)
        self._device = camera
        self._site = site
        folder = root / self.camera
        try:
            make_folder(folder)
            self._lock = WriterLock(folder / ".writer.lock")
        except OSError as error:
            raise archive_error(error, folder) from error
        self._store: _Store | None = None

    def append(self, bracket: Bracket, scalars: Mapping[str, float]) -> FrameRef:
        """Store a bracket; on return it survives a power cut.

        Parameters
        ----------
        bracket
            What the camera delivered.
        scalars
            Further numbers of the frame; names in lower case with their unit at the end.

        Raises
        ------
        ArchiveFull
            When the disk is full; nothing is committed, the same bracket may be tried again.
        ArchiveError
            When the store cannot be written, or a scalar's name is unusable.
        """
        for name in scalars:
            if SCALAR_NAME.fullmatch(name) is None or name in {s[0] for s in SCALARS} | {"raw"}:
                raise ArchiveError(f"{name!r} cannot name a scalar.", mend="Use lower_case_unit.")
        night = self._site.night_of(bracket.start)
        folder = night_folder(self.root, self.camera, night)
        try:
            store = self._store
            if store is None or store.night != night or not store.fits(bracket):
                if store is not None:
                    self._store = None
                    store.seal()
                store = _open_store(folder, night, bracket, self._device, self._site)
            row = store.append(bracket, scalars)
        except OSError as error:
            # what was buffered may differ from the disk: the next frame reads it again
            self._store = None
            raise archive_error(error, folder) from error
        except group.DamagedChunk as error:
            self._store = None
            raise ArchiveError(
                f"{error}: it is damaged.", mend="Run 'allsky360 verify'; move it away to go on."
            ) from error
        self._store = store
        return FrameRef(self.camera, night, store.first_index + row)

    def close(self) -> None:
        """Seal the open night and let another writer in."""
        store, self._store = self._store, None
        try:
            if store is not None:
                store.seal()
        except OSError as error:
            raise archive_error(error, self.root / self.camera) from error
        finally:
            self._lock.close()


def _shape_key(exposure: Exposure) -> dict[str, Any]:
    """What all frames of one store share."""
    return {
        "shape": list(exposure.pixels.shape),
        "dtype": exposure.pixels.dtype.name,
        "pattern": exposure.pattern or "",
        "binning": exposure.binning,
    }


def _open_store(folder: Path, night: date, bracket: Bracket, device: str, site: Site) -> _Store:
    """Open the night's newest store, or begin one where the sensor's shape is new."""
    make_folder(folder)
    paths = raw_stores(folder)
    first_index = 0
    for path in reversed(paths):
        try:
            root = group.Root.load(path)
        except FileNotFoundError:
            again = _rebuild(path, "is lost")
            if again is None:
                _set_aside(path)
                continue
            root = again
        except ValueError as error:
            again = _rebuild(path, str(error))
            if again is None:
                raise ArchiveError(
                    str(error), mend=f"Run 'allsky360 verify'; move {path} away to go on."
                ) from error
            root = again
        store = _Store(path, night, root)
        if store.fits(bracket):
            return store
        first_index = store.first_index + root.rows
        break
    number = len(raw_stores(folder)) + 1
    path = folder / ("raw.zarr" if number == 1 else f"raw-{number}.zarr")
    return _begin_store(path, night, bracket, device, site, first_index)


def _rebuild(path: Path, why: str) -> group.Root | None:
    """Write the marker again from what lies in the store; None where that cannot be told."""
    root = rebuilt(path)
    if root is not None:
        log.warning("marker of %s (%s): built again with %d frame(s)", path, why, root.rows)
        write_atomic(path / "zarr.json", root.encode(root.rows), sync=True)
        sync_folder(path)
    return root


def _set_aside(path: Path) -> None:
    """Make way for a store in place of one without its marker, and delete no image.

    That is a crash before the first commit, or a marker that got lost; nobody can tell which, and
    in the second case every image in it was acknowledged.
    """
    if not any((path / "raw").glob("c.*")):
        shutil.rmtree(path)
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.without-marker-{number}")).exists():
        number += 1
    log.warning("%s has lost its zarr.json; it is kept as %s", path, aside)
    path.rename(aside)
    sync_folder(path.parent)


def _begin_store(
    path: Path, night: date, bracket: Bracket, device: str, site: Site, first_index: int
) -> _Store:
    first = bracket.exposures[0]
    key = _shape_key(first)
    root = group.Root(
        {
            "Conventions": "CF-1.11",
            "title": f"raw frames of {device}, night {night.isoformat()}",
            "source": f"allsky360 {__version__}",
            "schema": SCHEMA,
            "kind": "raw",
            "night": night.isoformat(),
            "camera": device,
            "first_index": first_index,
            "site_name": site.name,
            "site_latitude_deg": site.latitude_deg,
            "site_longitude_deg": site.longitude_deg,
            "site_elevation_m": site.elevation_m,
            **key,
        },
        {},
        0,
    )
    make_folder(path)
    keep_attributes(path, root.attributes)
    for name, dtype, per_exposure, attributes in SCALARS:
        extra = [EXPOSURE_AXIS] if per_exposure else []
        root.add_array(
            path, name, group.scalar_metadata(dtype, extra=extra, attributes=attributes), sync=True
        )
    dimensions = ("y", "x", "band")[: first.pixels.ndim]
    root.add_array(
        path,
        "raw",
        group.image_metadata(
            key["dtype"],
            first.pixels.shape,
            dimensions,
            {"long_name": "raw pixels, row 0 on top", "units": "adu"},
            leading=[EXPOSURE_AXIS],
        ),
        sync=True,
    )
    return _Store(path, night, root)


class _Store:
    """One raw store open for appending; scalar chunks are held in memory."""

    def __init__(self, path: Path, night: date, root: group.Root) -> None:
        self.path = path
        self.night = night
        self.root = root
        self.first_index = int(root.attributes["first_index"])
        self._chunks: dict[str, NDArray[Any]] = {}
        self._chunk = -1
        for name, metadata in root.arrays.items():  # a sealed store is opened again
            full = {**metadata, "shape": [group.CAPACITY, *metadata["shape"][1:]]}
            write_atomic(path / name / "zarr.json", json.dumps(full).encode(), sync=True)
        self._raw = group.open_image_array(path, "raw")

    def fits(self, bracket: Bracket) -> bool:
        """Whether a bracket has this store's shape, depth and pattern."""
        key = _shape_key(bracket.exposures[0])
        return all(self.root.attributes.get(name) == value for name, value in key.items())

    def append(self, bracket: Bracket, scalars: Mapping[str, float]) -> int:
        """Write images, then scalars, then the marker; each synced before the next."""
        row = self.root.rows
        if row >= group.CAPACITY:
            raise ArchiveError(f"{self.path} holds {row} frames and takes no more.")
        bands = bracket.exposures[0].pixels.ndim == 3
        for k in range(MAX_EXPOSURES_PER_BRACKET):
            # of a frame that crashed here: Zarr would read it first, and a torn one is no shard
            group.image_path(self.path, "raw", row, k, bands=bands).unlink(missing_ok=True)
        files = []
        for k, exposure in enumerate(bracket.exposures):
            self._raw[row, k] = exposure.pixels
            file = group.image_path(self.path, "raw", row, k, bands=bands)
            if not file.exists():  # Zarr leaves out an image of nothing but zeros
                continue
            files.append(file)
        for file in files:
            sync_file(file)
        sync_folder(self.path / "raw")
        self._write_scalars(row, _row_of(bracket, scalars))
        # everything is on the disk: now say so
        write_atomic(self.path / "zarr.json", self.root.encode(row + 1), sync=True)
        sync_folder(self.path)
        return row

    def seal(self) -> None:
        """Give every array's own metadata the committed length, for readers that ask it alone."""
        for name, metadata in self.root.arrays.items():
            write_atomic(self.path / name / "zarr.json", json.dumps(metadata).encode(), sync=True)

    def _write_scalars(self, row: int, values: Mapping[str, Any]) -> None:
        for name in values:
            if name not in self.root.arrays:
                self.root.add_array(
                    self.path,
                    name,
                    group.scalar_metadata("float64", attributes=group.describe(name)),
                    sync=True,
                )
        chunk, at = divmod(row, group.CHUNK)
        if chunk != self._chunk:
            self._chunks, self._chunk = {}, chunk
        for name, metadata in self.root.arrays.items():
            if name == "raw":
                continue
            data = self._chunks.get(name)
            if data is None:
                data = group.read_chunk(self.path, name, chunk, metadata)
                data[at:] = group.empty_rows(metadata, len(data) - at)
                self._chunks[name] = data
            data[at] = values[name] if name in values else group.empty_rows(metadata, 1)[0]
            write_atomic(
                group.chunk_path(self.path, name, chunk, metadata), data.tobytes(), sync=True
            )
            sync_folder(self.path / name)


def _row_of(bracket: Bracket, scalars: Mapping[str, float]) -> dict[str, Any]:
    exposures = bracket.exposures
    first = exposures[0]

    def per_exposure(values: list[Any], fill: Any) -> list[Any]:
        return values + [fill] * (MAX_EXPOSURES_PER_BRACKET - len(values))

    def number(value: float | None) -> float:
        return np.nan if value is None else float(value)

    return {
        "time": microseconds(bracket.start),
        "exposure_start": per_exposure([microseconds(e.start) for e in exposures], -1),
        "exposure_s": per_exposure([e.exposure_s for e in exposures], np.nan),
        "crc32": per_exposure([crc32(e.pixels) for e in exposures], -1),
        "gain": number(first.gain),
        "offset": number(first.offset),
        "temperature_c": number(first.temperature_c),
        "egain": number(first.egain),
        "saturation_adu": number(first.saturation_adu),
        **{name: float(value) for name, value in scalars.items()},
    }


def crc32(pixels: NDArray[Any]) -> int:
    """CRC-32 of an image's pixels, little-endian, row 0 first."""
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return zlib.crc32(data.data)


def microseconds(when: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (when - _EPOCH) // timedelta(microseconds=1)


def instant(microseconds_: int) -> datetime:
    """Inverse of :func:`microseconds`; ArchiveError for a number that is no time of our era."""
    try:
        return _EPOCH + timedelta(microseconds=int(microseconds_))
    except OverflowError as error:
        raise ArchiveError(
            f"the archive holds {microseconds_} where a time should be.",
            mend="Run 'allsky360 verify'.",
        ) from error
