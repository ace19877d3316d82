"""Safety: bad news at once, good news late, no news is unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allsky360.sky.clouds import CloudMap, clouds_from_chances, nothing_known
from allsky360.sky.safety import SafetyRules, SafetyState, judge_frame, safety_at
from allsky360.sky.sky_cells import sky_cells

START = datetime(2026, 11, 11, 1, tzinfo=UTC)
CELLS = sky_cells()


def sky(cloudy: float, unknown: float = 0.0) -> CloudMap:
    """A sky whose westmost shares are cloudy, then unknown."""
    place = (np.arange(len(CELLS)) + 0.5) / len(CELLS)
    order = np.argsort(CELLS.azimuth_deg, kind="stable")
    rank = np.empty(len(CELLS))
    rank[order] = np.cumsum(CELLS.solid_angle_sr[order]) / CELLS.solid_angle_sr.sum() - 1e-9
    assert place.size == rank.size
    chance = np.where(rank < cloudy, 1.0, 0.0)
    known = (rank < cloudy) | (rank >= cloudy + unknown)
    return clouds_from_chances(CELLS, chance, known, common_sigma=0.0)


def run(
    frames: list[CloudMap], *, step_s: float = 60.0, rules: SafetyRules | None = None
) -> list[str]:
    rules = rules or SafetyRules()
    state, seen = SafetyState(), []
    for k, frame in enumerate(frames):
        state = judge_frame(state, frame, START + timedelta(seconds=step_s * k), rules)
        seen.append(state.verdict)
    return seen


def test_safe_only_after_some_clear_frames_and_unsafe_at_once() -> None:
    seen = run([sky(0.05)] * 4 + [sky(0.9)] + [sky(0.05)] * 3)
    assert seen == ["unknown", "unknown", "safe", "safe", "unsafe", "unsafe", "unsafe", "safe"]


def test_between_the_limits_the_verdict_stays() -> None:
    assert run([sky(0.05)] * 3 + [sky(0.32)] * 3)[-1] == "safe"
    assert run([sky(0.9)] + [sky(0.32)] * 9)[-1] == "unsafe"
    assert run([sky(0.32)] * 9)[-1] == "unsafe"


def test_what_cannot_be_told_is_unknown() -> None:
    assert run([sky(0.0, 0.7)] * 5)[-1] == "unknown"
    assert run([sky(0.05)] * 5 + [nothing_known()])[-1] == "unknown"
    assert run([sky(0.5, 0.45)])[-1] == "unsafe"
    assert run([sky(0.3, 0.45)])[-1] == "unsafe"  # over half of what can be told


def test_a_frame_judged_by_itself_is_not_trusted() -> None:
    from dataclasses import replace

    alone = replace(sky(0.02), reference="frame", method="stars")
    assert run([alone] * 5)[-1] == "unknown"
    assert run([alone] * 5, rules=SafetyRules(need_memory=False))[-1] == "safe"
    assert run([replace(sky(0.9), reference="frame")])[-1] == "unsafe"


def test_stale_and_future_answers_are_unknown() -> None:
    state = SafetyState()
    assert safety_at(state, START).age_s is None
    for k in range(3):
        state = judge_frame(state, sky(0.0), START + timedelta(seconds=60 * k))
    last = START + timedelta(seconds=120)
    fresh = safety_at(state, last + timedelta(seconds=30))
    assert fresh.is_safe
    assert fresh.age_s == 30.0
    stale = safety_at(state, last + timedelta(seconds=301))
    assert (stale.verdict, stale.age_s) == ("unknown", 301.0)
    assert "old" in stale.reason
    assert safety_at(state, last - timedelta(hours=1)).verdict == "unknown"


def test_a_long_gap_begins_anew_and_old_frames_change_nothing() -> None:
    assert run([sky(0.0)] * 4, step_s=700.0) == ["unknown"] * 4
    state = judge_frame(SafetyState(), sky(0.9), START)
    assert judge_frame(state, sky(0.0), START - timedelta(seconds=5)) is state


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_never_safe_right_after_an_overcast_frame(shares: list[tuple[float, float]]) -> None:
    frames = [sky(c, u * (1 - c)) for c, u in shares]
    for verdict, frame in zip(run(frames), frames, strict=True):
        if frame.cloudy > 0.4 or frame.unknown > 0.5:
            assert verdict != "safe"


@pytest.mark.parametrize(
    "rules",
    [{"safe_below": 0.5, "unsafe_above": 0.4}, {"safe_after": 0}, {"max_age_s": 0.0}],
)
def test_rules_without_sense_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        SafetyRules(**rules)  # type: ignore[arg-type]
