"""The campaign's own arithmetic, and that the fault model and its rows are one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.faults.campaign import next_of, order
from benchmarks.faults.catalogue import BY_NAME, FAULTS
from benchmarks.faults.observe import unmatched
from benchmarks.faults.table import table
from benchmarks.soak import HURTS

MODEL = Path(__file__).parents[1] / "docs" / "reliability.md"
NOW = datetime(2026, 11, 28, 21, tzinfo=UTC)


def at(*seconds: float) -> list[datetime]:
    return [NOW + timedelta(seconds=s) for s in seconds]


def test_every_fault_of_the_campaign_is_in_the_model_and_the_other_way_round() -> None:
    rows = "".join(line for line in MODEL.read_text().splitlines() if line.startswith("| "))
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", rows))
    assert len(BY_NAME) == len(FAULTS) >= 25
    assert named == set(BY_NAME)
    assert set(HURTS) <= set(BY_NAME)


def test_an_exposure_without_a_frame_is_lost_unless_it_is_still_on_its_way() -> None:
    same = timedelta(seconds=2.5)
    assert unmatched(at(0, 10, 20, 30), at(0.1, 10.2, 19.9, 30), same) == 0
    assert unmatched(at(0, 10, 20, 30, 40), at(0.1, 20.2, 30), same) == 1
    assert unmatched(at(0, 10, 12, 20), at(0.1, 12.1, 20), same) == 1  # aborted and begun anew
    assert unmatched(at(100, 110, 20, 30), at(100, 20, 30), same) == 1  # the clock went back


def test_what_was_done_is_not_done_again_and_rounds_differ() -> None:
    faults = [BY_NAME[n] for n in ("owner-killed", "api-killed", "image-garbage")]
    done = [{"fault": "owner-killed"}, {"fault": "owner-killed"}, {"fault": "api-killed"}]
    todo = order(faults, 3, 1, done)
    names = sorted(fault.name for fault, _ in todo)
    assert names == ["api-killed"] * 2 + ["image-garbage"] * 3 + ["owner-killed"]
    assert order(faults, 3, 1, done) == todo
    assert order(faults, 5, 2, []) != order(faults, 5, 1, [])


def test_while_a_part_comes_back_only_others_are_hurt() -> None:
    names = ("runner-hangs", "disk-full-raw", "api-hangs", "image-stale")
    todo = [(BY_NAME[n], 0) for n in names]
    busy = frozenset(BY_NAME["prefect-killed"].affects)
    taken = []
    while (chosen := next_of(todo, busy)) is not None:
        taken.append(chosen[0].name)
    assert taken == ["api-hangs", "image-stale"]
    assert next_of(todo, frozenset()) == (BY_NAME["runner-hangs"], 0)


def test_the_table_names_what_was_not_well() -> None:
    record = {
        "fault": "api-killed", "part": "api", "held_s": 0.0, "detection_s": 0.3,
        "recovery_s": None, "gap_s": 2.1, "exposures_lost": 1, "frames_lost": 0, "well": False,
    }  # fmt: skip
    text = table([record])
    assert "| api-killed | api | 1 | 0 | 0.3 | 0.3 | - | - | 2.1 | 2.1 | 1 | 0 | 1 |" in text
    assert "1 not well within the time: api-killed." in text
