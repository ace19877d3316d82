"""Messages on their way to people: tried again, less and less often, until each address takes them.

An alarm often comes with the fault that keeps it from being sent: the line is down, or the power.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from allsky360.alarms.ledger import Message
from allsky360.alarms.notify import tell

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 600.0
GIVE_UP_S = 86_400.0


@dataclass(frozen=True)
class _Waiting:
    """A message, the UTC it is of, and the same instant of a clock that never jumps."""

    message: Message
    at: datetime
    begun_s: float


@dataclass
class _Letters:
    """What waits for one address."""

    address: str
    waiting: list[_Waiting] = field(default_factory=list)
    failures: int = 0
    not_before_s: float = float("-inf")

    def due(self, now_s: float) -> bool:
        self.waiting = [w for w in self.waiting if now_s - w.begun_s < GIVE_UP_S]
        return bool(self.waiting) and now_s >= self.not_before_s

    def send(self, now_s: float) -> None:
        if tell(self.address, _joined(self.waiting, now_s)):
            self.waiting, self.failures = [], 0
            return
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self.failures, 16), LONGEST_PAUSE_S)
        title = self.waiting[-1].message.title
        log.error("somebody could not be told, again in %.0f s: %s", pause_s, title)
        self.failures, self.not_before_s = self.failures + 1, now_s + pause_s


class Outbox:
    """Tells every address every message once, for a day at the longest."""

    def __init__(self, where: Iterable[str]) -> None:
        self._letters = [_Letters(address) for address in where]

    def send(self, message: Message | None, at: datetime, now_s: float) -> None:
        """Send a new message, and what could not be sent before. Blocks; addresses side by side.

        Parameters
        ----------
        message
            None where there is nothing new.
        at
            UTC now, as the message tells it.
        now_s
            Now, of the monotonic clock.
        """
        if message is not None:
            for letters in self._letters:
                letters.waiting.append(_Waiting(message, at, now_s))
        due = [letters for letters in self._letters if letters.due(now_s)]
        if due:
            with ThreadPoolExecutor(len(due), "tell") as pool:
                list(pool.map(lambda letters: letters.send(now_s), due))


def _joined(waiting: list[_Waiting], now_s: float) -> Message:
    """Return one message of all that wait, each with its time where it is late."""
    if len(waiting) == 1 and waiting[0].begun_s == now_s:
        return waiting[0].message
    body = "\n".join(f"{w.at:%Y-%m-%d %H:%M} UTC: {w.message.body}" for w in waiting)
    first, count = waiting[0].message, len(waiting)
    title = first.title if count == 1 else f"allsky360: {count} messages"
    return Message(title, body, any(w.message.grave for w in waiting))
