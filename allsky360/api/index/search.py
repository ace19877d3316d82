"""Frames by what was measured in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.api.index.night import NightIndex

MAX_CONDITIONS = 12
_CONDITION = re.compile(r"\s*([a-z][a-z0-9_]{0,62})\s*(<=|>=|<|>|=)\s*([-+0-9.eE]{1,24})\s*")


@dataclass(frozen=True)
class Condition:
    """A measurement between two bounds, both inclusive unless ``open_low`` or ``open_high``.

    A frame without that measurement does not meet it.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    open_low: bool = False
    open_high: bool = False

    def met(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which values meet it; NaN does not."""
        above = values > self.low if self.open_low else values >= self.low
        below = values < self.high if self.open_high else values <= self.high
        return np.asarray(above & below & np.isfinite(values))

    def possible(self, night: NightIndex) -> bool:
        """Whether any frame of a night can meet it, by the night's extremes alone."""
        if self.name not in night.names and self.name != "exposure_s":
            return False
        extent = night.extent(self.name)
        return extent.count > 0 and extent.high >= self.low and extent.low <= self.high


def read_conditions(text: str) -> tuple[Condition, ...]:
    """Read ``limiting_mag>=5.5,gain<200``.

    Raises
    ------
    ValueError
        Naming the part that cannot be read.
    """
    found = []
    parts = [p for p in text.split(",") if p.strip()]
    if len(parts) > MAX_CONDITIONS:
        raise ValueError(f"{len(parts)} conditions; {MAX_CONDITIONS} are the most")
    for part in parts:
        match = _CONDITION.fullmatch(part)
        try:
            if match is None:
                raise ValueError
            name, sign, number = match[1], match[2], float(match[3])
        except ValueError:
            raise ValueError(
                f"{part.strip()[:60]!r} is no condition; write name>=number, with <, <=, >, >= or ="
            ) from None
        if not np.isfinite(number):
            raise ValueError(f"{part.strip()[:60]!r} compares with no number")
        found.append(
            Condition(
                name,
                low=number if sign in (">", ">=", "=") else -np.inf,
                high=number if sign in ("<", "<=", "=") else np.inf,
                open_low=sign == ">",
                open_high=sign == "<",
            )
        )
    return tuple(found)


def matching_rows(
    night: NightIndex,
    conditions: Sequence[Condition],
    *,
    low_us: int | None = None,
    high_us: int | None = None,
    processed: bool | None = None,
) -> NDArray[np.intp]:
    """Return the rows of a night that meet every condition and lie in ``[low_us, high_us)``."""
    if not all(c.possible(night) for c in conditions):
        return np.empty(0, np.intp)
    good = np.ones(night.rows, bool)
    if low_us is not None or high_us is not None:
        times = night.times()
        if low_us is not None:
            good &= times >= low_us
        if high_us is not None:
            good &= times < high_us
    if processed is not None:
        good &= (night.stamps() >= 0) == processed
    for condition in conditions:
        if not good.any():
            break
        good &= condition.met(night.column(condition.name))
    return np.flatnonzero(good)
