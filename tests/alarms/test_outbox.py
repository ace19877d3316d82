"""Messages wait for those who cannot be reached, and come once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from allsky360.alarms import outbox
from allsky360.alarms.ledger import Message
from allsky360.alarms.outbox import GIVE_UP_S, LONGEST_PAUSE_S, Outbox

NIGHT = datetime(2026, 11, 28, 22, tzinfo=UTC)
FULL = Message("allsky360: disk-full", "The disk is full.", grave=True)
OVER = Message("allsky360: over: disk-full", "Over: The disk is full.", grave=False)


class Line:
    """Addresses that take messages while the line is up."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.tries = 0
        self.told: dict[str, list[Message]] = {}

    def tell(self, address: str, message: Message) -> bool:
        self.tries += 1
        if address in self.down:
            return False
        self.told.setdefault(address, []).append(message)
        return True


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(outbox, "tell", made.tell)
    return made


def send(box: Outbox, message: Message | None, after_s: float) -> None:
    box.send(message, NIGHT + timedelta(seconds=after_s), after_s)


def test_what_could_not_be_sent_comes_as_one_message_with_its_times(line: Line) -> None:
    box = Outbox(["mail", "phone"])
    line.down = {"mail"}
    send(box, FULL, 0.0)
    send(box, OVER, 10.0)  # too soon for who did not answer just now
    assert line.told == {"phone": [FULL, OVER]}
    line.down = set()
    send(box, None, 30.0)
    (late,) = line.told["mail"]
    assert late.title == "allsky360: 2 messages"
    assert late.grave
    assert late.body.splitlines() == [
        "2026-11-28 22:00 UTC: The disk is full.",
        "2026-11-28 22:00 UTC: Over: The disk is full.",
    ]
    send(box, None, 9000.0)
    assert (len(line.told["mail"]), len(line.told["phone"])) == (1, 2)


def test_tries_become_rare_and_end_after_a_day(line: Line) -> None:
    box = Outbox(["mail"])
    line.down = {"mail"}
    send(box, FULL, 0.0)
    for after_s in range(10, int(GIVE_UP_S) + 7200, 10):
        send(box, None, float(after_s))
    rare = GIVE_UP_S / LONGEST_PAUSE_S
    assert rare - 5 < line.tries < rare + 5
    line.down = set()
    send(box, None, 2 * GIVE_UP_S)
    assert line.told == {}
