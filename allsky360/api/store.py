"""The service's view of the archive: what a request needs of a frame, and nothing that writes.

All reading goes through :class:`allsky360.archive.Archive`; this adds what only a service needs:
records kept until the night's commit counters move, so that a request costs what it returns.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from allsky360.api.store_info import FrameInfo
from allsky360.archive import Archive, FrameRecord, FrameRef, StoredRow
from allsky360.archive.layout import is_slug, parse_night
from allsky360.model import Bracket, Site

KEPT_NIGHTS = 4
WATCHED_NIGHTS = 2
"""Newest nights of each camera whose commits are announced."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store:
    """Reads one archive; safe from several threads. The archive may be missing or empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archive = Archive(root)
        self._kept: OrderedDict[tuple[str, date], tuple[object, tuple[FrameInfo, ...]]] = (
            OrderedDict()
        )
        self._with_frames: set[tuple[str, date]] = set()
        self._lock = threading.Lock()

    def cameras(self) -> list[str]:
        """Slugs of the cameras that have frames."""
        return [name for name in _folders(self.root) if is_slug(name) and self.nights(name)]

    def slug(self, camera: str) -> str:
        """Return the slug of a camera given by device name or slug."""
        return self._archive.slug(camera)

    def nights(self, camera: str) -> list[date]:
        """Nights of a camera that have frames, oldest first.

        A night that was seen to have frames is not opened again for this: a year of nights costs
        one folder listing.
        """
        found = [n for name in _folders(self.root / camera) if (n := parse_night(name))]
        return [n for n in sorted(found) if self._has_frames(camera, n)]

    def _has_frames(self, camera: str, night: date) -> bool:
        key = (camera, night)
        if key in self._with_frames:
            return True
        if self._archive.count(camera, night) == 0:
            return False
        self._with_frames.add(key)
        return True

    def frames(self, camera: str, night: date) -> Sequence[FrameInfo]:
        """Frames of a night in order of arrival."""
        key, mark = (camera, night), self._archive.commits(camera, night)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == mark:
                self._kept.move_to_end(key)
                return kept[1]
        # Read after the mark: what is kept may be newer than it, never older.
        frames = tuple(_info(record) for record in self._archive.frames(camera, night))
        with self._lock:
            self._kept[key] = (mark, frames)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_NIGHTS:
                self._kept.popitem(last=False)
        return frames

    def frame(self, camera: str, night: date, index: int) -> FrameInfo | None:
        """One frame, None where there is none."""
        found = self._archive.frames(camera, night, index, index + 1)
        return _info(found[0]) if found else None

    def newest(self, camera: str | None = None, *, processed: bool = False) -> FrameInfo | None:
        """Newest frame by arrival, of one camera or of all; None where there is none."""
        found = [
            frame
            for slug in ([camera] if camera else self.cameras())
            if (frame := self._newest_of(slug, processed)) is not None
        ]
        return max(found, key=lambda frame: frame.time, default=None)

    def _newest_of(self, camera: str, processed: bool) -> FrameInfo | None:
        for night in reversed(self.nights(camera)):
            for frame in reversed(self.frames(camera, night)):
                if frame.processed or not processed:
                    return frame
        return None

    def picture(self, frame: FrameInfo) -> Path | None:
        """Stored picture of a processed frame; None where there is none."""
        return self._archive.picture(frame.ref) if frame.processed else None

    def provenance(self, frame: FrameInfo) -> dict[str, Any]:
        """How a processed frame came about; empty while it is not processed."""
        record = self._archive.record(frame.ref) if frame.processed else {}
        provenance = record.get("provenance", {})
        return provenance if isinstance(provenance, dict) else {}

    def record(self, frame: FrameInfo) -> dict[str, Any]:
        """Whole record of a processed frame; empty while it is not processed."""
        return self._archive.record(frame.ref) if frame.processed else {}

    def site(self, camera: str, night: date) -> Site | None:
        """Where the camera stood in a night; None where the archive does not say."""
        return self._archive.site(camera, night)

    def device(self, camera: str, night: date) -> str:
        """Device name of a camera, its slug where nothing is known."""
        return self._archive.device(camera, night)

    def products_folder(self, camera: str, night: date) -> Path:
        """Folder of a night's products; it may not exist."""
        return self._archive.version_folder(camera, night) / "products"

    def row(self, frame: FrameInfo, name: str) -> StoredRow | None:
        """What a frame measured along an axis, with the axis; None where it did not."""
        return self._archive.stored_row(frame.ref, name) if frame.processed else None

    def bracket(self, frame: FrameInfo) -> Bracket:
        """Raw exposures of a frame."""
        return self._archive.bracket(frame.ref)

    def commits(self) -> dict[FrameRef, int]:
        """Commit stamps of the processed frames of each camera's newest nights."""
        return {
            frame.ref: frame.stamp
            for camera in self.cameras()
            for night in self.nights(camera)[-WATCHED_NIGHTS:]
            for frame in self.frames(camera, night)
            if frame.processed
        }


def _info(record: FrameRecord) -> FrameInfo:
    at = record.processed_at
    return FrameInfo(
        ref=record.ref,
        time=record.time,
        exposures_s=record.exposures_s,
        gain=record.gain,
        scalars=record.scalars,
        stamp=0 if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000,
        version=record.version,
    )


def _folders(path: Path) -> list[str]:
    try:
        return sorted(p.name for p in path.iterdir() if p.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
