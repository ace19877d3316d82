"""The pedestal of a dark pixel, learned from exposures of different length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from allsky360.camera.statistics import RawStatistics

#: Before anything is learned the pedestal is anything up to a few per cent of saturation.
UNKNOWN_SIGMA = 0.01
KNOWN_SIGMA = 1e-4
#: Relative change of the sky between two brackets that must be allowed for.
SKY_CHANGE = 0.3
#: Variance added by each bracket: temperature drifts.
DRIFT = (2e-5) ** 2


@dataclass(frozen=True)
class BlackLevel:
    """Pedestal left in the levels, as a fraction of saturation, and its standard error."""

    value: float = 0.0
    sigma: float = UNKNOWN_SIGMA
    known: bool = False
    last: tuple[float, float, float] | None = None

    @classmethod
    def start(cls, known: bool) -> BlackLevel:
        """Return the state before the first exposure."""
        return cls(0.0, KNOWN_SIGMA if known else UNKNOWN_SIGMA, known)

    def learn(self, points: Sequence[tuple[float, RawStatistics]]) -> BlackLevel:
        """Return the pedestal after a bracket.

        Two exposures of the same sky lie on a straight line over exposure x gain, whose value at
        zero is the pedestal. Exposures of one bracket saw the same sky; for the last one of the
        bracket before, the sky may have changed by :data:`SKY_CHANGE`. Where the image circle is
        known, its dark surroundings show the pedestal directly, stray light aside.
        """
        clear = [(2.0**ev, s.level, s.uncertainty) for ev, s in points if not s.saturated]
        if self.known:
            return self
        found = self
        for (x2, l2, u2), (x1, l1, u1) in pairwise(clear):
            found = found._line(x1, l1, u1, x2, l2, u2, 0.02)
        if self.last is not None and clear:
            (x1, l1, u1), (x2, l2, u2) = sorted([self.last, clear[0]])
            found = found._line(x1, l1, u1, x2, l2, u2, SKY_CHANGE)
        for _, s in points:
            if s.outside_level is not None and s.outside_level < 0.05:
                stray = 0.02 * max(0.0, s.level - s.outside_level)
                found = found._merge(s.outside_level, stray + s.uncertainty + 2e-4)
        lowest = min((level for _, level, _ in clear), default=found.value)
        value = min(max(found.value, 0.0), max(lowest, 0.0))
        return BlackLevel(
            value, math.sqrt(found.sigma**2 + DRIFT), False, clear[-1] if clear else self.last
        )

    def _line(
        self, x1: float, l1: float, u1: float, x2: float, l2: float, u2: float, change: float
    ) -> BlackLevel:
        if x2 < 2.5 * x1 or l2 > 0.85:
            return self
        slope = max(0.0, (l2 - l1) / (x2 - x1))
        lever = x1 / (x2 - x1)
        error = math.hypot(u1 * (1 + lever), u2 * lever) + change * slope * x1
        return self._merge(l1 - slope * x1, error + 1e-6)

    def _merge(self, value: float, sigma: float) -> BlackLevel:
        weight = self.sigma**2 / (self.sigma**2 + sigma**2)
        return BlackLevel(
            self.value + weight * (value - self.value),
            self.sigma * math.sqrt(1 - weight),
            self.known,
            self.last,
        )
