"""Watches the archive's commit marks and the camera owner, and feeds the live feed.

The source is the archive itself, not Prefect: whoever processed a frame, it is announced within one
interval of its commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from allsky360.api.announce import (
    MAIN_NUMBERS,
    Announcement,
    frame_events,
    product_event,
    product_stamps,
)
from allsky360.api.condition import judge
from allsky360.api.feed import Event, Feed
from allsky360.api.owner_status import OwnerProbe
from allsky360.api.store import Store
from allsky360.clock import Clock

log = logging.getLogger(__name__)

INTERVAL_S = 0.4
STATE_EVERY = 6
"""Intervals between two looks at the owner, and at the products."""
Rows = NDArray[np.intp]
Stamps = dict[tuple[str, date], NDArray[np.int64]]
MAX_REPLAY = 1000


@dataclass
class Watcher:
    """Compares what is committed with what was announced, again and again."""

    store: Store
    feed: Feed
    owner: OwnerProbe
    clock: Clock
    stale_after_s: float
    interval_s: float = INTERVAL_S
    _known: Stamps = field(default_factory=dict)
    _products: dict[tuple[str, date, str], int] | None = None
    _state: tuple[str, str] | None = None
    _trouble: str = ""
    _primed: bool = False

    async def run(self) -> None:
        """Watch until cancelled."""
        turn = 0
        while True:
            try:
                await self.look()
                if turn % STATE_EVERY == 0:
                    await self.look_at_state()
                    await self.look_at_products()
                self._tell("")
            except Exception as error:  # noqa: BLE001 - the feed must outlive any one fault; it is logged
                self._tell(f"{type(error).__name__}: {error}")
            turn += 1
            await asyncio.sleep(self.interval_s)

    async def look(self) -> None:
        """Announce every frame committed since the last look; the first look announces none."""
        known = self._known
        committed, fresh = await anyio.to_thread.run_sync(self._fresh_frames, known)
        self._known = committed
        if not self._primed:
            self._primed = True
            newest = max((int(s.max()) for s in committed.values()), default=-1)
            self.feed.stamp = newest * 1000 + 9 if newest >= 0 else 0
            return
        for stamp, name, data in fresh:
            self.feed.publish(name, data, stamp)

    def _fresh_frames(self, known: Stamps) -> tuple[Stamps, list[Announcement]]:
        committed = self.store.commits()
        if not self._primed:
            return committed, []
        changed = {key: changed_rows(known.get(key), stamps) for key, stamps in committed.items()}
        return committed, self._announcements(changed)

    def _announcements(self, rows: Mapping[tuple[str, date], Rows]) -> list[Announcement]:
        found: list[Announcement] = []
        for (camera, night), chosen in rows.items():
            numbers = self.store.night(camera, night) if chosen.size else None
            if numbers is None:
                continue
            there = chosen[chosen < numbers.rows].tolist()
            for frame in numbers.infos(there, MAIN_NUMBERS):
                if frame.processed:
                    found += frame_events(self.store, frame)
        return sorted(found, key=lambda a: a[0])

    async def look_at_products(self) -> None:
        """Announce every product whose record was written since the last look."""
        stamps = await anyio.to_thread.run_sync(product_stamps, self.store)
        known, self._products = self._products, stamps
        if known is None:
            return
        for key, stamp in sorted(stamps.items(), key=lambda item: item[1]):
            if known.get(key) != stamp:
                _, name, data = product_event(key, stamp)
                self.feed.publish(name, data)

    async def look_at_state(self) -> None:
        """Announce the camera's condition when it changed."""
        owner = await self.owner.status()
        newest = await anyio.to_thread.run_sync(self.store.newest)
        when = newest.time if newest else None
        condition = judge(self.clock.now(), when, owner, self.stale_after_s)
        state = (condition.state, str((owner or {}).get("state", "unreachable")))
        if self._state is not None and state != self._state:
            self.feed.publish(
                "state", {"state": state[0], "message": condition.message, "owner": state[1]}
            )
        self._state = state

    def committed_after(self, stamp: int) -> list[Event] | None:
        """Events of what was committed after ``stamp``; None when there is too much."""
        missed = {
            key: np.flatnonzero((stamps >= 0) & (stamps * 1000 + 9 > stamp))
            for key, stamps in self._known.items()
        }
        if not self._primed or sum(rows.size for rows in missed.values()) > MAX_REPLAY:
            return None
        found = self._announcements(missed)
        found += [
            product_event(key, at) for key, at in (self._products or {}).items() if at > stamp
        ]
        # Their ids name no run of the service, so that a replay cut short resumes by its stamp.
        return [
            Event(f"0-0-{at}", 0, name, data)
            for at, name, data in sorted(found, key=lambda a: a[0])
            if at > stamp
        ]

    def _tell(self, trouble: str) -> None:
        """Log a trouble once when it begins and once when it is over."""
        if trouble != self._trouble:
            if trouble:
                log.warning("cannot watch the archive: %s", trouble)
            else:
                log.info("the archive can be watched again")
        self._trouble = trouble


def changed_rows(before: NDArray[np.int64] | None, now: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the frames that were processed, or processed again, since ``before``."""
    if before is now:
        return np.empty(0, np.intp)
    old = np.full(now.size, -1, np.int64)
    if before is not None:
        n = min(before.size, now.size)
        old[:n] = before[:n]
    return np.flatnonzero((now >= 0) & (now != old))
