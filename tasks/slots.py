"""Slots: the schedule's unit of time, aligned to multiples of its length since the UTC epoch.

Slots are wall-clock time, also in a rehearsal: they belong to the scheduler, not to the sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Slot:
    """One slot, from ``start`` up to ``end`` (UTC)."""

    start: datetime
    end: datetime

    def remaining_s(self, now: datetime) -> float:
        """Seconds until the slot ends, 0 when it has."""
        return max(0.0, (self.end - now).total_seconds())

    def elapsed_fraction(self, now: datetime) -> float:
        """How much of the slot has passed, 0 to 1."""
        return min(1.0, max(0.0, (now - self.start) / (self.end - self.start)))


def slot_at(when: datetime, slot_s: float) -> Slot:
    """Return the slot an instant lies in."""
    index = math.floor((when - EPOCH).total_seconds() / slot_s)
    start = EPOCH + timedelta(seconds=index * slot_s)
    return Slot(start, start + timedelta(seconds=slot_s))


def slot_to_capture(now: datetime, scheduled: datetime | None, slot_s: float) -> Slot | None:
    """Return the slot a run that starts ``now`` captures, None when it comes too late for its own.

    What to capture follows from now, not from the schedule: a run that is late within its slot
    captures the rest of it. A run whose slot has passed is skipped (a newer run has the present
    slot), unless it is late by less than half a slot: that is a run somebody started by hand just
    before a boundary. The server rounds waiting times to whole seconds, so that a run may start up
    to half a second early; it then belongs to the slot it is scheduled for.
    """
    if scheduled is None:
        return slot_at(now, slot_s)
    if now < scheduled:
        return slot_at(scheduled, slot_s)
    slot = slot_at(now, slot_s)
    passed = slot.start > slot_at(scheduled, slot_s).start
    late_s = (now - scheduled).total_seconds()
    return None if passed and late_s > slot_s / 2 else slot


def prefetch_s(slot_s: float) -> float:
    """How long before its slot a run is claimed: its process needs that to import and wait.

    Starting Python and Prefect takes 4 s on two idle cores and was seen to take 17 s on busy ones.
    At most 0.45 of a slot, so that never more than one run waits.
    """
    return min(30.0, 0.45 * slot_s)


def settle_s(slot_s: float) -> float:
    """How long a run may wait for its frames after its slot.

    It must have ended when the run after next is claimed, or that one finds both places of the
    deployment taken: the wait, the prefetch and a margin for the run's end fit into one slot.
    """
    return max(2.0, min(0.45 * slot_s, slot_s - prefetch_s(slot_s) - 5.0))
