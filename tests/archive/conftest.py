"""Small brackets of made-up pixels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from allsky360.model import Bracket, Exposure
from tests.conftest import utc

EVENING = utc("2026-11-22T21:00:00")


def make_bracket(
    number: int = 0,
    *,
    start: datetime | None = None,
    exposures: int = 2,
    shape: tuple[int, ...] = (33, 50),
    dtype: Any = np.uint16,
    **changes: Any,
) -> Bracket:
    rng = np.random.default_rng(number)
    begin = start or EVENING + timedelta(seconds=20 * number)
    made = []
    for k in range(exposures):
        made.append(
            Exposure(
                pixels=rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype),
                pattern="RGGB" if len(shape) == 2 else None,
                start=begin + timedelta(seconds=k * 10),
                exposure_s=8.0 / 4**k,
                gain=100.0,
                offset=10.0,
                temperature_c=-9.5,
                saturation_adu=65535.0,
                egain=0.25,
                camera="Sim Camera 1",
                **changes,
            )
        )
    return Bracket(tuple(made))


@pytest.fixture
def bracket() -> Callable[..., Bracket]:
    return make_bracket
