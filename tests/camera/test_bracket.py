from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allsky360.camera.bracket import plan_bracket


def test_plain_bracket_is_longest_first() -> None:
    assert plan_bracket(8.0, 4, 2.0, 1e-4, 30.0) == (8.0, 2.0, 0.5, 0.125)


def test_fewer_rather_than_duplicates() -> None:
    assert plan_bracket(0.004, 5, 1.0, 0.001, 30.0) == (0.004, 0.002, 0.001)
    assert plan_bracket(0.0001, 3, 1.0, 0.001, 30.0) == (0.001,)


def test_base_is_brought_within_the_limits() -> None:
    assert plan_bracket(100.0, 2, 1.0, 0.001, 30.0) == (30.0, 15.0)


@pytest.mark.parametrize(
    "arguments",
    [
        (1.0, 0, 1.0, 0.1, 1.0),
        (1.0, 6, 1.0, 0.1, 1.0),
        (1.0, 2, 0.0, 0.1, 1.0),
        (1.0, 2, 1.0, 2.0, 1.0),
        (math.nan, 2, 1.0, 0.1, 1.0),
        (-1.0, 2, 1.0, 0.1, 1.0),
    ],
)
def test_nonsense_is_refused(arguments: tuple[float, int, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"must|holds"):
        plan_bracket(*arguments)


@given(
    base=st.floats(1e-6, 4000),
    count=st.integers(1, 5),
    step=st.floats(0.05, 6),
    low=st.floats(1e-6, 1),
    span=st.floats(1, 1e6),
)
def test_always_ordered_and_within_limits(
    base: float, count: int, step: float, low: float, span: float
) -> None:
    times = plan_bracket(base, count, step, low, low * span)
    assert 1 <= len(times) <= count
    assert all(low <= t <= low * span for t in times)
    for longer, shorter in pairwise(times):
        assert shorter < longer
        assert math.log2(longer / shorter) == pytest.approx(step, abs=1e-6)
    if len(times) < count:  # the next one would have been too short
        assert times[-1] * 2**-step < low
