"""Watches the archive's commit marks and the camera owner, and feeds the live feed.

The source is the archive itself, not Prefect: whoever processed a frame, it is announced within one
interval of its commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from allsky360.api.announce import (
    MAIN_NUMBERS,
    Announcement,
    ProductKey,
    ProductStamps,
    frame_events,
    product_event,
)
from allsky360.api.condition import judge
from allsky360.api.feed import Event, Feed
from allsky360.api.owner_status import OwnerProbe
from allsky360.api.store import Store
from allsky360.clock import Clock

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
"""Between two looks; one costs half a millisecond."""
STATE_S = 2.4
"""Between two looks at the owner."""
Rows = NDArray[np.intp]
Stamps = Mapping[tuple[str, date], NDArray[np.int64]]
Products = Mapping[ProductKey, int]
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
    _products: Products = field(default_factory=dict)
    _state: tuple[str, str] | None = None
    _begun: bool = False
    _primed: bool = False
    _folders: ProductStamps = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the look at the products."""
        self._folders = ProductStamps(self.store.root)

    async def run(self) -> None:
        """Watch until cancelled. The owner is looked at apart: a slow one holds up no frame."""
        self._begun = True
        await asyncio.gather(
            self._repeat(self.look, self.interval_s), self._repeat(self.look_at_state, STATE_S)
        )

    async def _repeat(self, look: Callable[[], Awaitable[None]], pause_s: float) -> None:
        trouble = ""
        while True:
            try:
                await look()
                trouble = _tell(trouble, "")
            except Exception as error:  # noqa: BLE001 - the feed must outlive any one fault; it is logged
                trouble = _tell(trouble, f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_s)

    async def ready(self, within_s: float = 5.0) -> None:
        """Wait for the first look, where one is under way: before it nothing can be resumed."""
        end = time.monotonic() + within_s
        while self._begun and not self._primed and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def look(self) -> None:
        """Announce every frame and product since the last look; the first look announces none."""
        committed, products, fresh = await anyio.to_thread.run_sync(self._fresh)
        self._known, self._products = committed, products
        if not self._primed:
            self._primed = True
            newest = max((int(s.max()) for s in committed.values()), default=-1)
            self.feed.stamp = max(newest * 1000 + 9, *products.values(), 0)
            return
        # In the order of their stamps: an id says that everything before it was announced.
        for stamp, name, data in sorted(fresh, key=lambda a: a[0]):
            self.feed.publish(name, data, stamp)

    def _fresh(self) -> tuple[Stamps, Products, list[Announcement]]:
        nights = self.store.live()
        committed = {(night.camera, night.night): night.stamps() for night in nights}
        products = self._folders.of(nights)
        if not self._primed:
            return committed, products, []
        rows = {k: changed_rows(self._known.get(k), stamps) for k, stamps in committed.items()}
        renewed = [
            product_event(key, stamp)
            for key, stamp in products.items()
            if self._products.get(key) != stamp
        ]
        return committed, products, self._announcements(rows) + renewed

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
        return found

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
        found += [product_event(key, at) for key, at in self._products.items() if at > stamp]
        # Their ids name no run of the service, so that a replay cut short resumes by its stamp.
        return [
            Event(f"0-0-{at}", 0, name, data)
            for at, name, data in sorted(found, key=lambda a: a[0])
            if at > stamp
        ]


def _tell(before: str, trouble: str) -> str:
    """Log a trouble once when it begins and once when it is over; return it."""
    if trouble != before:
        if trouble:
            log.warning("cannot watch the archive: %s", trouble)
        else:
            log.info("the archive can be watched again")
    return trouble


def changed_rows(before: NDArray[np.int64] | None, now: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the frames that were processed, or processed again, since ``before``."""
    if before is now:
        return np.empty(0, np.intp)
    old = np.full(now.size, -1, np.int64)
    if before is not None:
        n = min(before.size, now.size)
        old[:n] = before[:n]
    return np.flatnonzero((now >= 0) & (now != old))
