from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.slots import EPOCH, prefetch_s, settle_s, slot_at, slot_to_capture

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
LENGTHS = st.integers(20, 3600)


@given(INSTANTS, LENGTHS)
def test_slots_tile_time_from_the_epoch(when: datetime, slot_s: int) -> None:
    slot = slot_at(when, slot_s)
    assert slot.start <= when < slot.end
    assert (slot.end - slot.start).total_seconds() == slot_s
    assert (slot.start - EPOCH) % timedelta(seconds=slot_s) == timedelta(0)
    assert slot_at(slot.end, slot_s).start == slot.end


def test_slots_of_a_minute_start_on_the_minute() -> None:
    slot = slot_at(MIDNIGHT + timedelta(seconds=61.5), 60)
    assert slot.start == MIDNIGHT + timedelta(minutes=1)
    assert slot.remaining_s(MIDNIGHT + timedelta(seconds=100)) == 20
    assert slot.remaining_s(MIDNIGHT + timedelta(seconds=130)) == 0
    assert slot.elapsed_fraction(MIDNIGHT + timedelta(seconds=75)) == 0.25
    assert slot.elapsed_fraction(MIDNIGHT) == 0


@pytest.mark.parametrize(
    ("late_s", "captured"),
    [
        (-0.5, 0),  # the server rounds waits to seconds: still its own slot
        (0.0, 0),
        (1.0, 0),
        (45.0, 0),  # late in its own slot: the rest of it
        (59.9, 0),
        (60.0, None),  # its slot has passed: a newer run has the present one
        (240.0, None),
    ],
)
def test_a_scheduled_run_takes_its_own_slot_or_none(late_s: float, captured: int | None) -> None:
    slot = slot_to_capture(MIDNIGHT + timedelta(seconds=late_s), MIDNIGHT, 60)
    assert slot == (None if captured is None else slot_at(MIDNIGHT, 60))


def test_a_run_by_hand_just_before_a_boundary_takes_the_slot_it_starts_in() -> None:
    asked = MIDNIGHT + timedelta(seconds=58)
    now = asked + timedelta(seconds=6)
    assert slot_to_capture(now, asked, 60) == slot_at(now, 60)
    assert slot_to_capture(now, None, 60) == slot_at(now, 60)


@given(LENGTHS)
def test_a_run_has_ended_when_the_one_after_next_is_claimed(slot_s: int) -> None:
    assert 0 < settle_s(slot_s) < slot_s / 2
    assert 0 < prefetch_s(slot_s) < slot_s / 2
    assert settle_s(slot_s) + prefetch_s(slot_s) <= slot_s - 5
