"""Telling: once, not in storms, not at night, and when it is over."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from allsky360.alarms.ledger import Known, Message, Rules, from_json, to_json, update
from allsky360.alarms.troubles import Trouble
from tests.conftest import utc

START = utc("2026-11-28T20:00:00")
DISK = Trouble("disk-full", "The disk is full.", grave=True)
SLOW = Trouble("backlog", "300 frames wait.")
RULES = Rules(hold=timedelta(seconds=60))


class Teller:
    """Looks every ten seconds."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules, self.now = rules, START
        self.ledger: dict[str, Known] = {}
        self.told: list[Message] = []

    def see(self, *troubles: Trouble, for_s: int) -> None:
        for _ in range(0, for_s, 10):
            self.now += timedelta(seconds=10)
            self.ledger, message = update(self.ledger, troubles, self.now, self.rules)
            if message is not None:
                self.told.append(message)


def test_what_lasts_is_told_once_and_so_is_its_end() -> None:
    teller = Teller()
    teller.see(DISK, for_s=3600)
    assert [m.title for m in teller.told] == ["allsky360: disk-full"]
    assert teller.told[0].grave
    teller.see(for_s=3600)
    assert len(teller.told) == 2
    assert teller.told[1].body == "Over: The disk is full."
    assert teller.ledger == {}


def test_what_passes_quickly_is_not_told_at_all() -> None:
    teller = Teller()
    for _ in range(30):
        teller.see(DISK, for_s=40)
        teller.see(for_s=120)
    assert teller.told == []


def test_flapping_is_one_trouble() -> None:
    teller = Teller()
    teller.see(DISK, for_s=120)
    for _ in range(30):
        teller.see(for_s=40)
        teller.see(DISK, for_s=20)
    assert len(teller.told) == 1


def test_many_at_once_are_one_message() -> None:
    teller = Teller()
    many = [Trouble(f"part-down-{k}", f"The part {k} does not answer.") for k in range(7)]
    teller.see(*many, for_s=120)
    assert [m.title for m in teller.told] == ["allsky360: 7 troubles"]
    assert teller.told[0].body.count("\n") == 6


def test_lasting_trouble_is_told_again_when_asked() -> None:
    teller = Teller(Rules(timedelta(seconds=60), remind=timedelta(hours=1)))
    teller.see(DISK, for_s=3 * 3600)
    assert len(teller.told) == 3
    assert "(for 61 minutes)" in teller.told[1].body


def test_quiet_hours_hold_back_what_is_not_grave() -> None:
    teller = Teller(Rules(timedelta(seconds=60), quiet_from="19:00", quiet_until="21:00"))
    teller.see(SLOW, for_s=1800)
    assert teller.told == []
    teller.see(SLOW, DISK, for_s=120)
    assert [m.title for m in teller.told] == ["allsky360: disk-full"]
    teller.see(SLOW, DISK, for_s=3600)
    assert [m.title for m in teller.told][1:] == ["allsky360: backlog"]


def test_quiet_hours_may_cross_midnight() -> None:
    rules = Rules(quiet_from="22:00", quiet_until="06:30")
    quiet = [hour for hour in range(24) if rules.is_quiet(START.replace(hour=hour, minute=15))]
    assert quiet == [0, 1, 2, 3, 4, 5, 6, 22, 23]
    assert not rules.is_quiet(START.replace(hour=6, minute=30))
    assert not Rules().is_quiet(START)


def test_a_restart_tells_nothing_twice() -> None:
    teller = Teller()
    teller.see(DISK, for_s=120)
    teller.ledger = from_json(json.loads(json.dumps(to_json(teller.ledger))))
    teller.see(DISK, for_s=600)
    assert len(teller.told) == 1
    assert from_json([1]) == from_json({"x": {}}) == from_json(None) == {}


@given(st.lists(st.sets(st.sampled_from(["a", "b", "c"])), max_size=200))
def test_no_end_without_a_beginning(looks: list[set[str]]) -> None:
    ledger: dict[str, Known] = {}
    open_: set[str] = set()
    for k, names in enumerate(looks):
        now = START + timedelta(seconds=30 * k)
        seen = [Trouble(n, f"trouble {n}.") for n in names]
        ledger, message = update(ledger, seen, now, RULES)
        for line in message.body.splitlines() if message else ():
            name = line.split("trouble ")[1][0]
            if line.startswith("Over: "):
                open_.remove(name)
            else:
                assert name not in open_
                open_.add(name)
        assert open_ == {n for n, e in ledger.items() if e.told is not None}
