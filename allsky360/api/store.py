"""The service's view of the archive: what a request needs of a frame, and nothing that writes.

Numbers come from the index, which is kept in memory; pixels and records from
:class:`allsky360.archive.Archive`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.api.index.night import NightIndex
from allsky360.api.index.nights import LIVE_NIGHTS, Index
from allsky360.api.store_info import FrameInfo
from allsky360.archive import Archive, StoredRow
from allsky360.archive.layout import current_version, night_folder
from allsky360.model import Bracket, Site

__all__ = ["FrameInfo", "Store"]


class Store:
    """Reads one archive; safe from several threads. The archive may be missing or empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = Index(root)
        self._archive = Archive(root)

    # -- numbers ------------------------------------------------------------------------------

    def cameras(self) -> list[str]:
        """Slugs of the cameras that have frames."""
        return self.index.cameras()

    def slug(self, camera: str) -> str:
        """Return the slug of a camera given by device name or slug."""
        return self._archive.slug(camera)

    def nights(self, camera: str) -> list[date]:
        """Nights of a camera that have frames, oldest first."""
        return self.index.nights(camera)

    def night(self, camera: str, night: date) -> NightIndex | None:
        """Numbers of a night; None where there is none."""
        return self.index.night(camera, night)

    def rows(self, camera: str, night: date) -> int:
        """How many frames of a night are committed."""
        found = self.index.night(camera, night)
        return 0 if found is None else found.rows

    def each(self, camera: str, nights: Sequence[date] | None = None) -> Iterator[NightIndex]:
        """Yield the numbers of several nights, of all where none are named."""
        yield from self.index.each(camera, self.nights(camera) if nights is None else list(nights))

    def frames(self, camera: str, night: date) -> Sequence[FrameInfo]:
        """Frames of a night in order of arrival, with all their measurements."""
        found = self.index.night(camera, night)
        return () if found is None else found.infos(range(found.rows))

    def frame(self, camera: str, night: date, index: int) -> FrameInfo | None:
        """One frame, None where there is none."""
        found = self.index.night(camera, night)
        if found is None or not 0 <= index < found.rows:
            return None
        return found.infos([index])[0]

    def newest(
        self,
        camera: str | None = None,
        *,
        processed: bool = False,
        names: Sequence[str] | None = None,
    ) -> FrameInfo | None:
        """Newest frame by arrival, of one camera or of all; None where there is none.

        ``names`` are the measurements wanted; None takes all.
        """
        found = [
            frame
            for slug in ([camera] if camera else self.cameras())
            if (frame := self._newest_of(slug, processed, names)) is not None
        ]
        return max(found, key=lambda frame: frame.time, default=None)

    def _newest_of(
        self, camera: str, processed: bool, names: Sequence[str] | None
    ) -> FrameInfo | None:
        for night in self.each(camera, self.nights(camera)[::-1]):
            row = night.rows - 1
            if processed:
                done = np.flatnonzero(night.stamps() >= 0)
                row = int(done[-1]) if done.size else -1
            if row >= 0:
                return night.infos([row], names)[0]
        return None

    def live(self) -> list[NightIndex]:
        """Numbers of the cameras' newest nights, as they are this instant."""
        return [
            night
            for camera in self.cameras()
            for night in self.each(camera, self.nights(camera)[-LIVE_NIGHTS:])
        ]

    # -- files --------------------------------------------------------------------------------

    def version(self, camera: str, night: date) -> str:
        """Version of a night that readers are shown."""
        return current_version(night_folder(self.root, camera, night))

    def picture(self, frame: FrameInfo) -> Path | None:
        """Stored picture of a processed frame; None where there is none."""
        return self._archive.picture(frame.ref) if frame.processed else None

    def step_pictures(self, frame: FrameInfo) -> dict[int, Path]:
        """Small pictures of a frame's steps, by number; empty where none are kept."""
        return self._archive.step_pictures(frame.ref) if frame.processed else {}

    def frames_with_steps(self, camera: str, night: date) -> list[int]:
        """Numbers of a night's frames that have pictures of their steps, in order."""
        return self._archive.frames_with_steps(camera, night)

    def record(self, frame: FrameInfo) -> dict[str, Any]:
        """Whole record of a processed frame; empty while it is not processed."""
        return self._archive.record(frame.ref) if frame.processed else {}

    def provenance(self, frame: FrameInfo) -> dict[str, Any]:
        """How a processed frame came about; empty while it is not processed."""
        provenance = self.record(frame).get("provenance", {})
        return provenance if isinstance(provenance, dict) else {}

    def site(self, camera: str, night: date) -> Site | None:
        """Where the camera stood in a night; None where the archive does not say."""
        return self._archive.site(camera, night)

    def device(self, camera: str, night: date) -> str:
        """Device name of a camera, its slug where nothing is known."""
        return self._archive.device(camera, night)

    def row(self, frame: FrameInfo, name: str) -> StoredRow | None:
        """What a frame measured along an axis, with the axis; None where it did not."""
        return self._archive.stored_row(frame.ref, name) if frame.processed else None

    def elements(self, camera: str, night: date, name: str) -> NDArray[Any]:
        """Index coordinate of what a night measured along an axis; empty where it did not."""
        return self._archive.elements(camera, night, name)

    def course(
        self, camera: str, night: date, name: str, element: float
    ) -> tuple[NDArray[np.datetime64], NDArray[np.intp], NDArray[np.float32]]:
        """One star's or cell's course through a night: times, frames, values."""
        return self._archive.course(camera, night, name, element)

    def bracket(self, frame: FrameInfo) -> Bracket:
        """Raw exposures of a frame."""
        return self._archive.bracket(frame.ref)
