"""Reading the archive: never blocks a writer, never sees half a frame, needs no write access."""

from __future__ import annotations

import json
import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group, row_store
from allsky360.archive.errors import ArchiveError, NoSuchFrame, UnknownSchema
from allsky360.archive.layout import (
    FrameRef,
    camera_slug,
    current_version,
    is_slug,
    night_folder,
    parse_night,
    picture_path,
    raw_stores,
    record_path,
    steps_folder,
)
from allsky360.archive.raw import instant
from allsky360.archive.raw_images import exposures
from allsky360.archive.table import Table, Tables, finite_scalars, position
from allsky360.errors import in_words
from allsky360.model import Bracket, Exposure, Site

log = logging.getLogger(__name__)
T = TypeVar("T")

_LINEAR = re.compile(r"linear(?:_\d+)?")


@dataclass(frozen=True)
class FrameRecord:
    """One frame as the archive describes it, without its pixels.

    Attributes
    ----------
    ref
        Which frame.
    time
        UTC start.
    exposures_s
        Exposure times, longest first.
    gain
        Camera units, None when unknown.
    scalars
        Every finite number stored along time, of capture and of processing.
    processed_at
        When processing committed it, None while it has not.
    version
        Version of the processed frame, empty while there is none.
    """

    ref: FrameRef
    time: datetime
    exposures_s: tuple[float, ...]
    gain: float | None
    scalars: Mapping[str, float] = field(default_factory=dict)
    processed_at: datetime | None = None
    version: str = ""

    @property
    def processed(self) -> bool:
        """Whether picture and measurements are there."""
        return self.processed_at is not None


@dataclass(frozen=True, eq=False)
class StoredRow:
    """One frame's row of one variable.

    Attributes
    ----------
    values
        float32 ``(N,)``, NaN where nothing was measured.
    attributes
        ``units``, ``long_name``, …
    coordinates
        Of its axis, each ``(N,)``, by name without the number of the axis' variant.
    """

    values: NDArray[np.float32]
    attributes: Mapping[str, Any]
    coordinates: Mapping[str, NDArray[Any]]


class Archive:
    """An archive on a local disk.

    Parameters
    ----------
    root
        Folder of the archive; may be missing or empty.
    version
        Version of processed frames to read; None: each night's current one.
    """

    def __init__(self, root: Path, version: str | None = None) -> None:
        if version is not None and not version.isalnum():
            raise ArchiveError(f"{version!r} is not a version of a night.")
        self.root = root
        self._fixed_version = version
        self._tables = Tables()

    # -- what there is ------------------------------------------------------------------------

    def cameras(self) -> list[str]:
        """Slugs of the cameras that have at least one night.

        A folder that cannot be read is left out, as in :meth:`nights`; OSError where it is all
        there is.
        """
        slugs = [c for c in self._folders(self.root) if is_slug(c)]
        return _readable(slugs, lambda slug: bool(self.nights(slug)))

    def nights(self, camera: str | None = None) -> list[date]:
        """Nights with committed frames, oldest first; of one camera, or of all."""
        if camera is None:
            return sorted({n for c in self.cameras() for n in self.nights(c)})
        slug = self.slug(camera)
        found = [n for name in self._folders(self.root / slug) if (n := parse_night(name))]
        return _readable(sorted(found), lambda night: self._has_frames(slug, night))

    def slug(self, camera: str) -> str:
        """Return the folder name of a camera given by device name or slug."""
        return camera if is_slug(camera) else camera_slug(camera)

    def count(self, camera: str, night: date) -> int:
        """Number of committed frames of a night."""
        tables = self._raw_tables(self.slug(camera), night)
        return tables[-1].first + tables[-1].rows if tables else 0

    # -- frames -------------------------------------------------------------------------------

    def frames(
        self, camera: str, night: date, start: int = 0, stop: int | None = None
    ) -> list[FrameRecord]:
        """Frames ``start`` to ``stop`` of a night in order of arrival; empty if there are none."""
        slug = self.slug(camera)
        done = self._processed_table(slug, night)
        return list(self._records(slug, night, self._raw_tables(slug, night), done, start, stop))

    def frame(self, ref: FrameRef) -> FrameRecord:
        """One frame; :class:`NoSuchFrame` where there is none."""
        found = self.frames(ref.camera, ref.night, ref.index, ref.index + 1)
        if not found:
            raise NoSuchFrame(f"the archive holds no frame {ref.id} of {ref.camera}.")
        return found[0]

    def latest(self, camera: str | None = None, *, processed: bool = False) -> FrameRecord | None:
        """Newest frame by arrival, of one camera or of all; None where there is none."""
        best: FrameRecord | None = None
        for slug in [self.slug(camera)] if camera else self.cameras():
            for night in reversed(self.nights(slug)):
                try:
                    found = self._latest_of(slug, night, processed)
                except ArchiveError as error:
                    log.warning("%s %s is left out: %s", slug, night, error)
                    continue
                if found is not None:
                    best = found if best is None or found.time > best.time else best
                    break
        return best

    def unprocessed(self, camera: str, night: date) -> list[FrameRef]:
        """Frames of a night that processing has not committed, oldest first."""
        slug = self.slug(camera)
        total = self.count(slug, night)
        done = self._processed_table(slug, night)
        marks = np.full(total, -1, np.int64)
        if done is not None:
            known = done.columns["time"][:total]
            marks[: len(known)] = known
        return [FrameRef(slug, night, int(i)) for i in np.flatnonzero(marks < 0)]

    def commits(self, camera: str, night: date) -> tuple[int, int]:
        """Two numbers that grow with each raw and each processed commit of a night."""
        slug = self.slug(camera)
        done = self._processed_table(slug, night)
        version = 0 if done is None else int(done.root.attributes["commits"])
        return self.count(slug, night), version

    # -- along other axes ---------------------------------------------------------------------

    def row(self, ref: FrameRef, name: str) -> NDArray[np.float32] | None:
        """What a processed frame measured along an axis, float32 ``(N,)``, NaN where nothing.

        None where the frame has no such row. :class:`ArchiveError` where it is damaged.
        """
        found = self._row(ref, name)
        if found is None:
            return None
        table, stored, values = found
        return row_store.as_float(values, table.root.arrays[stored])

    def stored_row(self, ref: FrameRef, name: str) -> StoredRow | None:
        """What a processed frame measured along an axis, together with the axis' coordinates.

        None where the frame has no such row. :class:`ArchiveError` where it is damaged.
        """
        found = self._row(ref, name)
        if found is None:
            return None
        table, stored, values = found
        metadata = table.root.arrays[stored]
        try:
            coordinates = row_store.read_coordinates(table.path, table.root, metadata)
        except (OSError, ValueError) as error:
            raise _damaged(name, ref, error) from error
        return StoredRow(row_store.as_float(values, metadata), metadata["attributes"], coordinates)

    def _row(self, ref: FrameRef, name: str) -> tuple[Table, str, NDArray[Any]] | None:
        """Find a frame's row among the variants of a name: its store, its array, its values."""
        table = self._processed_table(ref.camera, ref.night)
        if table is None or not 0 <= ref.index < table.rows:
            return None
        if table.columns["time"][ref.index] < 0:
            return None
        for stored in row_store.variants(table.root, name):
            metadata = table.root.arrays[stored]
            try:
                values = row_store.read_row(table.path, stored, metadata, ref.index)
            except (OSError, ValueError) as error:
                raise _damaged(name, ref, error) from error
            if values is not None:
                return table, stored, values
        return None

    def series(
        self, camera: str, night: date, name: str, index: float
    ) -> tuple[NDArray[np.datetime64], NDArray[np.float32]]:
        """One star's or one cell's course through a night.

        Parameters
        ----------
        camera, night
            Which night.
        name
            Of the row.
        index
            Value of the index coordinate: Hipparcos number of a star, number of a cell.

        Returns
        -------
        times : ndarray of datetime64[us]
            UTC starts of the processed frames, in order of arrival.
        values : ndarray of float32
            NaN where a frame did not measure it, or where its row is damaged.
        """
        times, _, values = self.course(camera, night, name, index)
        return times, values

    def course(
        self, camera: str, night: date, name: str, index: float
    ) -> tuple[NDArray[np.datetime64], NDArray[np.intp], NDArray[np.float32]]:
        """Return :meth:`series`, with the numbers of the frames between times and values."""
        table = self._processed_table(self.slug(camera), night)
        if table is None:
            return np.empty(0, "datetime64[us]"), np.empty(0, np.intp), np.empty(0, np.float32)
        rows = np.flatnonzero(table.columns["time"] >= 0)
        values = np.full(len(rows), np.nan, np.float32)
        for stored in row_store.variants(table.root, name):
            at = position(table, stored, index)
            if at is None:
                continue
            metadata = table.root.arrays[stored]
            for k, row in enumerate(map(int, rows)):
                try:
                    found = row_store.read_row(table.path, stored, metadata, row)
                except (OSError, ValueError) as error:
                    log.warning("%s of frame %d in %s: %s", stored, row, table.path, error)
                    continue
                if found is not None:
                    values[k] = row_store.as_float(found[at : at + 1], metadata)[0]
        return table.columns["time"][rows].astype("datetime64[us]"), rows, values

    def elements(self, camera: str, night: date, name: str) -> NDArray[Any]:
        """Index coordinates that a night's rows of this name have, ``(N,)``; empty where none."""
        table = self._processed_table(self.slug(camera), night)
        found: list[NDArray[Any]] = []
        for stored in row_store.variants(table.root, name) if table is not None else ():
            assert table is not None
            axis = row_store.axis_of(table.root.arrays[stored])
            try:
                values = row_store.read_coordinate(table.path, axis, table.root.arrays[axis])
            except (OSError, ValueError, KeyError) as error:
                log.warning("%s of %s is damaged: %s", axis, table.path, error)
                continue
            if values is not None:
                found.append(values)
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    # -- pixels and files ---------------------------------------------------------------------

    def bracket(self, ref: FrameRef) -> Bracket:
        """Read a frame's raw exposures back as the camera delivered them."""
        for table in self._raw_tables(ref.camera, ref.night):
            row = ref.index - table.first
            if 0 <= row < table.rows:
                return Bracket(tuple(exposures(table, row)))
        raise NoSuchFrame(f"the archive holds no frame {ref.id} of {ref.camera}.")

    def longest_exposure(self, ref: FrameRef) -> Exposure:
        """Read the longest of a frame's raw exposures back."""
        for table in self._raw_tables(ref.camera, ref.night):
            row = ref.index - table.first
            if 0 <= row < table.rows:
                longest = int(np.nanargmax(table.columns["exposure_s"][row]))
                return next(exposures(table, row, longest))
        raise NoSuchFrame(f"the archive holds no frame {ref.id} of {ref.camera}.")

    def site(self, camera: str, night: date) -> Site | None:
        """Where the camera stood in a night."""
        tables = self._raw_tables(self.slug(camera), night)
        if not tables:
            return None
        a = tables[-1].root.attributes
        try:
            return Site(
                str(a["site_name"]),
                float(a["site_latitude_deg"]),
                float(a["site_longitude_deg"]),
                float(a["site_elevation_m"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{tables[-1].path} says no site: {in_words(error)}.",
                mend="Run 'allsky360 verify'.",
            ) from error

    def device(self, camera: str, night: date) -> str:
        """Device name of the camera in a night, its slug where nothing is known."""
        tables = self._raw_tables(self.slug(camera), night)
        return str(tables[-1].root.attributes["camera"]) if tables else camera

    def picture(self, ref: FrameRef) -> Path | None:
        """Full-size display picture of a processed frame; None where there is none."""
        path = picture_path(
            self._folder(ref.camera, ref.night), self._version(ref.camera, ref.night), ref.index
        )
        return path if path.is_file() else None

    def step_pictures(self, ref: FrameRef) -> dict[int, Path]:
        """Small pictures of a frame's steps, by number of the step; empty where none are kept."""
        folder = steps_folder(
            self._folder(ref.camera, ref.night), self._version(ref.camera, ref.night), ref.index
        )
        found = ((p.name.partition("-")[0], p) for p in folder.glob("*-*.jpg"))
        return {int(number): path for number, path in sorted(found) if number.isdecimal()}

    def frames_with_steps(self, camera: str, night: date) -> list[int]:
        """Numbers of a night's frames that have pictures of their steps, in order."""
        version = self._version(camera, night)
        folder = steps_folder(self._folder(camera, night), version, 0).parent
        return sorted(int(n) for n in self._folders(folder) if n.isdecimal())

    def linear(self, ref: FrameRef) -> NDArray[np.float32] | None:
        """Reduced linear image of a processed frame, ``(y, x, band)``; None where there is none.

        :class:`ArchiveError` where it is damaged.
        """
        table = self._processed_table(ref.camera, ref.night)
        if table is None or not 0 <= ref.index < table.rows:
            return None
        for name in (n for n in table.root.arrays if _LINEAR.fullmatch(n)):
            if not group.image_path(table.path, name, ref.index, bands=True).is_file():
                continue  # stored as another size, or gone
            try:
                pixels = group.open_image_array(table.path, name, read_only=True)
                return np.asarray(pixels[ref.index], np.float32)
            except (ValueError, RuntimeError, OSError) as error:
                raise _damaged(name, ref, error) from error
        return None

    def record(self, ref: FrameRef) -> dict[str, Any]:
        """Metadata and provenance of a processed frame; empty where there is none."""
        path = record_path(
            self._folder(ref.camera, ref.night), self._version(ref.camera, ref.night), ref.index
        )
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ArchiveError(
                f"{path} is damaged: {error}.", mend="Process the frame again."
            ) from error
        return content if isinstance(content, dict) else {}

    # -- inside -------------------------------------------------------------------------------

    def _folder(self, camera: str, night: date) -> Path:
        return night_folder(self.root, camera, night)

    def _folders(self, path: Path) -> list[str]:
        try:
            return sorted(p.name for p in path.iterdir() if p.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _has_frames(self, camera: str, night: date) -> bool:
        # the marker comes with the first commit: listing a year opens no store, and one damaged
        # night hides no other
        return any((p / "zarr.json").is_file() for p in raw_stores(self._folder(camera, night)))

    def version(self, camera: str, night: date) -> str:
        """Version of processed frames that is read."""
        return self._version(self.slug(camera), night)

    def _version(self, camera: str, night: date) -> str:
        if self._fixed_version is not None:
            return self._fixed_version
        return current_version(self._folder(camera, night))

    def _raw_tables(self, camera: str, night: date) -> list[Table]:
        found = [self._tables.read(p) for p in raw_stores(self._folder(camera, night))]
        return [t for t in found if t is not None and t.rows > 0]

    def _processed_table(self, camera: str, night: date) -> Table | None:
        folder = self._folder(camera, night)
        try:
            table = self._tables.read(folder / f"{self._version(camera, night)}.zarr")
        except UnknownSchema:  # all of it is there, for another allsky360: nothing is made again
            raise
        except ArchiveError as error:  # raw must stay readable; what is damaged is made again
            log.warning("processed frames of %s count as missing: %s", folder, error)
            return None
        return table if table is not None and table.rows > 0 else None

    def _latest_of(self, camera: str, night: date, processed: bool) -> FrameRecord | None:
        raw = self._raw_tables(camera, night)
        done = self._processed_table(camera, night)
        if not raw:
            return None
        index = raw[-1].first + raw[-1].rows - 1
        if processed:
            if done is None:
                return None
            rows = np.flatnonzero(done.columns["time"][: index + 1] >= 0)
            if not len(rows):
                return None
            index = int(rows[-1])
        return next(self._records(camera, night, raw, done, index, index + 1), None)

    def _records(
        self,
        camera: str,
        night: date,
        raw: list[Table],
        done: Table | None,
        start: int,
        stop: int | None,
    ) -> Iterator[FrameRecord]:
        if not raw:
            return
        total = raw[-1].first + raw[-1].rows
        version = self._version(camera, night) if done is not None else ""
        firsts = [t.first for t in raw]
        for index in range(max(0, start), total if stop is None else min(stop, total)):
            table = raw[max(0, bisect_right(firsts, index) - 1)]
            row = index - table.first
            if not 0 <= row < table.rows:
                continue
            c = table.columns
            scalars = finite_scalars(c, row)
            at: datetime | None = None
            if done is not None and index < done.rows and done.columns["time"][index] >= 0:
                scalars.update(finite_scalars(done.columns, index))
                at = instant(done.columns["processed_at"][index])
            gain = float(c["gain"][row])
            yield FrameRecord(
                FrameRef(camera, night, index),
                instant(c["time"][row]),
                tuple(float(s) for s in c["exposure_s"][row] if np.isfinite(s)),
                gain if np.isfinite(gain) else None,
                scalars,
                at,
                version if at is not None else "",
            )


def _readable(items: Iterable[T], holds: Callable[[T], bool]) -> list[T]:
    """Return those that hold something; one that cannot be read hides no other."""
    found: list[T] = []
    broken: OSError | None = None
    for item in items:
        try:
            if holds(item):
                found.append(item)
        except OSError as error:
            log.warning("%s is left out: %s", item, error)
            broken = broken or error
    if broken is not None and not found:
        raise broken
    return found


def _damaged(name: str, ref: FrameRef, error: Exception) -> ArchiveError:
    return ArchiveError(
        f"{name} of {ref.camera}, {ref.id} is damaged: {error}.", mend="Process the frame again."
    )
