"""One burst as the owner sees it while it runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from allsky360.owner.state import Event


@dataclass
class Burst:
    """Brackets back to back until ``deadline``, an instant of the monotonic clock.

    The monotonic clock, because the wall clock may jump while the burst runs.
    """

    run_id: str
    deadline: float
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    pending: list[asyncio.Task[None]] = field(default_factory=list)
    unwanted: bool = False
    began: float = 0.0
    ended: float = 0.0
    brackets: int = 0
    frames: int | None = None  # of a calibration
    open_s: float = 0.0
    idle: str = ""
    held: str = ""

    @property
    def elapsed_s(self) -> float:
        """Seconds the burst held the camera."""
        return self.ended - self.began

    def left_s(self) -> float:
        """Seconds until the slot ends; negative afterwards."""
        return self.deadline - time.monotonic()

    def emit(self, event: Event) -> None:
        """Tell the caller."""
        self.events.put_nowait(event)
