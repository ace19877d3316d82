"""The clock every part reads: real UTC, or a simulated night that runs faster.

A rehearsal (``[clock]`` in the settings) maps wall time to simulated time by one straight line,
so that processes that share ``anchor``, ``start`` and ``rate`` agree without talking.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """Simulated UTC = ``start`` + (wall UTC - ``anchor``) x ``rate``; real UTC by default."""

    anchor: datetime = _EPOCH
    start: datetime = _EPOCH
    rate: float = 1.0

    def now(self) -> datetime:
        """Return the current (possibly simulated) UTC instant."""
        wall = datetime.now(UTC)
        if self.rate == 1.0 and self.anchor == self.start:
            return wall
        return self.start + (wall - self.anchor) * self.rate

    def wall_s(self, seconds: float) -> float:
        """Wall-clock seconds that ``seconds`` of this clock last."""
        return seconds / self.rate

    async def sleep(self, seconds: float) -> None:
        """Sleep ``seconds`` of this clock."""
        await asyncio.sleep(max(0.0, self.wall_s(seconds)))


REAL_CLOCK = Clock()


def rehearsal(start: datetime, rate: float = 1.0, anchor: datetime | None = None) -> Clock:
    """Return a clock that reads ``start`` at wall time ``anchor`` (default: now)."""
    return Clock(anchor=anchor or datetime.now(UTC), start=start, rate=rate)


__all__ = ["REAL_CLOCK", "Clock", "rehearsal"]
