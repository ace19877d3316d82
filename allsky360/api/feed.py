"""The live feed: a bounded log of events that any number of readers follow.

Readers hold a position, not a queue: a slow one costs nothing, and one that fell behind the log is
told to read the archive again. Event ids are ``<boot>-<sequence>-<stamp>``; within one run of the
service the sequence resumes exactly, after a restart the stamp (when the newest announced frame was
committed, nanoseconds) does.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT_EVENTS = 2000
HEARTBEAT_S = 15.0
_ID = re.compile(r"([0-9a-f]{1,20})-(\d{1,15})-(\d{1,20})")


@dataclass(frozen=True)
class Event:
    """One event of the feed; ``sequence`` counts from 1 in every run of the service."""

    id: str
    sequence: int
    name: str
    data: Mapping[str, Any]

    def encode(self) -> bytes:
        """Write it in the text/event-stream format."""
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return f"id: {self.id}\nevent: {self.name}\ndata: {text}\n\n".encode()

    def as_json(self) -> str:
        """Write it as one JSON object."""
        tree = {"id": self.id, "event": self.name, "data": self.data}
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Resume:
    """What a Last-Event-ID says."""

    boot: str
    sequence: int
    stamp: int


def read_id(text: str | None) -> Resume | None:
    """Read a Last-Event-ID; None for anything this service did not write."""
    match = _ID.fullmatch(text.strip()) if text else None
    return Resume(match[1], int(match[2]), int(match[3])) if match else None


@dataclass
class Feed:
    """The event log. Used from the event loop only."""

    kept: int = KEPT_EVENTS
    boot: str = field(default_factory=lambda: f"{time.time_ns():x}")
    sequence: int = 0
    stamp: int = 0
    closed: bool = False
    _log: deque[Event] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def event(self, name: str, data: Mapping[str, Any], stamp: int | None = None) -> Event:
        """Make an event at the present position without logging it."""
        at = self.stamp if stamp is None else stamp
        return Event(f"{self.boot}-{self.sequence}-{at}", self.sequence, name, data)

    def publish(self, name: str, data: Mapping[str, Any], stamp: int | None = None) -> Event:
        """Log an event and wake every reader."""
        self.sequence += 1
        self.stamp = max(self.stamp, stamp or 0)
        event = self.event(name, data)
        self._log.append(event)
        while len(self._log) > self.kept:
            self._log.popleft()
        self._rouse()
        return event

    def close(self) -> None:
        """End every stream."""
        self.closed = True
        self._rouse()

    def _rouse(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    def holds(self, sequence: int) -> bool:
        """Whether every event after ``sequence`` is still in the log."""
        oldest = self._log[0].sequence if self._log else self.sequence + 1
        return oldest - 1 <= sequence <= self.sequence

    async def follow(
        self, position: int, heartbeat_s: float = HEARTBEAT_S
    ) -> AsyncIterator[Event | None]:
        """Yield every event after ``position`` as it comes; None is a heartbeat."""
        while not self.closed:
            wake = self._wake
            if not self.holds(position):
                position = self.sequence
                yield self.event("reset", {"reason": "events were missed; read the archive"})
            for event in [e for e in self._log if e.sequence > position]:
                yield event
                position = event.sequence
            if position < self.sequence:
                continue
            try:
                await asyncio.wait_for(wake.wait(), heartbeat_s)
            except TimeoutError:
                yield None
