"""Every night of every camera: which there are, and whether what is known of them still holds.

The archive may be read and not written, so the index lives in memory. A night is opened when it is
first asked about; a few file stamps tell whether it changed. The newest nights of a camera are
looked at for every request; all others every few seconds, since only reprocessing changes them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from allsky360.api.index.cache import ArrayCache
from allsky360.api.index.night import NightIndex
from allsky360.archive.columns import night_mark, open_night
from allsky360.archive.errors import ArchiveError
from allsky360.archive.layout import is_slug, parse_night, raw_stores

log = logging.getLogger(__name__)

CACHE_BYTES = 128 * 2**20
LIVE_NIGHTS = 2
"""Newest nights of a camera that are looked at for every request."""
SWEEP_EVERY_S = 2.0
WARM_NIGHTS = 1500
WARM_COLUMNS = frozenset(
    {
        "sun_altitude_deg",
        "moon_altitude_deg",
        "cloud_fraction",
        "sky_clear",
        "sky_brightness_mag_arcsec2",
        "limiting_mag",
        "stars_detected",
        "transients",
    }
)
PAUSE_S = 0.004
"""Between two nights, so that requests come first."""
SWEEP_SHARE = 50
"""A sweep over all nights is repeated only after so many times its own length."""


@dataclass
class _Camera:
    """What is known of one camera."""

    mark: int = -1
    nights: tuple[date, ...] = ()
    empty: frozenset[date] = frozenset()
    known: dict[date, NightIndex] = field(default_factory=dict)
    swept: float = float("-inf")
    sweep_s: float = 0.0


class Index:
    """Safe from several threads. The archive may be missing or empty.

    Parameters
    ----------
    root
        Folder of the archive.
    max_bytes
        Of the columns kept in memory.
    """

    def __init__(self, root: Path, max_bytes: int = CACHE_BYTES) -> None:
        self.root = root
        self.cache = ArrayCache(max_bytes)
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.RLock()
        self._listed: tuple[int, tuple[str, ...]] = (-1, ())

    # -- what there is ------------------------------------------------------------------------

    def cameras(self) -> list[str]:
        """Slugs of the cameras that have frames."""
        mark = _changed(self.root)
        if mark != self._listed[0]:
            self._listed = (mark, tuple(n for n in _folders(self.root) if is_slug(n)))
        return [name for name in self._listed[1] if self.nights(name)]

    def nights(self, camera: str) -> list[date]:
        """Nights of a camera that have frames, oldest first."""
        if not is_slug(camera):
            return []
        folder = self.root / camera
        with self._lock:
            state = self._cameras.setdefault(camera, _Camera())
            mark = _changed(folder)
            if mark != state.mark or state.empty:
                found = [n for name in _folders(folder) if (n := parse_night(name))]
                have = set(state.nights)
                filled = [n for n in found if n in have or self._has_frames(folder, n)]
                state.nights = tuple(sorted(filled))
                state.empty = frozenset(found) - frozenset(filled)
                state.mark = mark
                for night in state.known.keys() - set(state.nights):
                    self._forget(state, night)
            return list(state.nights)

    def night(self, camera: str, night: date) -> NightIndex | None:
        """One night as it is now; None where it has no frames.

        Raises
        ------
        ArchiveError
            When its description is damaged.
        """
        nights = self.nights(camera)
        if night not in nights:
            return None
        return self._current(camera, night)

    def each(
        self, camera: str, nights: list[date], *, skip_damaged: bool = True
    ) -> Iterator[NightIndex]:
        """Yield nights in the order given; one whose description is damaged is left out."""
        live = set(self.nights(camera)[-LIVE_NIGHTS:])
        self._sweep(camera, live)
        state = self._cameras[camera]
        for night in nights:
            try:
                known = state.known.get(night)
                found = (
                    known
                    if known is not None and night not in live
                    else self._current(camera, night)
                )
            except ArchiveError as error:
                if not skip_damaged:
                    raise
                log.warning("%s %s is left out: %s", camera, night, error)
                continue
            if found is not None:
                yield found

    def warm(self, stop: threading.Event) -> None:
        """Open the newest nights and read what most searches look at, pausing in between."""
        for camera in self.cameras():
            nights = self.nights(camera)[: -WARM_NIGHTS - 1 : -1]
            for found in self.each(camera, nights):
                try:
                    found.span(), found.stamps()
                    for name in WARM_COLUMNS & found.names:
                        found.extent(name), found.blocks(name)
                except ArchiveError as error:
                    log.warning("%s %s: %s", camera, found.night, error)
                if stop.wait(PAUSE_S):
                    return

    # -- inside -------------------------------------------------------------------------------

    def _current(self, camera: str, night: date) -> NightIndex | None:
        """Return a night, opened anew where its mark moved."""
        state = self._cameras[camera]
        # The mark is taken first: what is read after it may be newer, never older.
        mark = night_mark(self.root, camera, night)
        known = state.known.get(night)
        if known is not None and known.mark == mark:
            return known
        view = open_night(self.root, camera, night)
        with self._lock:
            self._forget(state, night)
            if view is None:
                return None
            made = NightIndex(view, mark, self.cache)
            state.known[night] = made
            return made

    def _sweep(self, camera: str, live: set[date]) -> None:
        """Forget the older nights that changed, now and then."""
        state = self._cameras[camera]
        now = time.monotonic()
        if now - state.swept < max(SWEEP_EVERY_S, SWEEP_SHARE * state.sweep_s):
            return
        state.swept = now
        for night, known in list(state.known.items()):
            if night not in live and night_mark(self.root, camera, night) != known.mark:
                with self._lock:
                    self._forget(state, night)
        state.sweep_s = time.monotonic() - now

    def _forget(self, state: _Camera, night: date) -> None:
        old = state.known.pop(night, None)
        if old is not None:
            self.cache.forget((old.camera, night, old.serial))

    def _has_frames(self, folder: Path, night: date) -> bool:
        # the marker comes with the first commit: listing a year opens no store, and one damaged
        # night hides no other
        stores = raw_stores(folder / night.isoformat())
        return any((p / "zarr.json").is_file() for p in stores)


def _changed(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
