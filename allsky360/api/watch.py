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
from typing import Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_address, frame_id
from allsky360.api.condition import judge
from allsky360.api.feed import Event, Feed
from allsky360.api.owner_status import OwnerProbe
from allsky360.api.store import Store
from allsky360.archive import FrameRef
from allsky360.clock import Clock

log = logging.getLogger(__name__)

INTERVAL_S = 0.4
STATE_EVERY = 6
"""Intervals between two looks at the owner."""
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
    _known: dict[tuple[str, date], NDArray[np.int64]] = field(default_factory=dict)
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
                self._tell("")
            except Exception as error:  # noqa: BLE001 - the feed must outlive any one fault; it is logged
                self._tell(f"{type(error).__name__}: {error}")
            turn += 1
            await asyncio.sleep(self.interval_s)

    async def look(self) -> None:
        """Announce every frame committed since the last look; the first look announces none."""
        committed = await anyio.to_thread.run_sync(self.store.commits)
        known, self._known = self._known, committed
        if not self._primed:
            self._primed = True
            self.feed.stamp = max((int(s.max()) for s in committed.values()), default=-1) * 1000
            self.feed.stamp = max(self.feed.stamp, 0)
            return
        fresh = [
            (int(stamps[row]) * 1000, FrameRef(camera, night, int(row)))
            for (camera, night), stamps in committed.items()
            for row in changed_rows(known.get((camera, night)), stamps)
        ]
        for stamp, key in sorted(fresh):
            self.feed.publish("frame", frame_data(key), stamp)

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
        """Events of the frames committed after ``stamp``; None when there are too many."""
        missed = sorted(
            (int(stamps[row]) * 1000, FrameRef(camera, night, int(row)))
            for (camera, night), stamps in self._known.items()
            for row in np.flatnonzero(stamps * 1000 > stamp)
        )
        if not self._primed or len(missed) > MAX_REPLAY:
            return None
        # Their ids name no run of the service, so that a replay cut short resumes by its stamp.
        return [Event(f"0-0-{s}", 0, "frame", frame_data(key)) for s, key in missed]

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


def frame_data(key: FrameRef) -> Mapping[str, Any]:
    """What a frame event says."""
    return {"id": frame_id(key), "camera": key.camera, "href": frame_address(key)}
