"""A token bucket an address: so many requests at once, so many a second."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

MOST_ADDRESSES = 10_000


@dataclass
class RateLimit:
    """Used from the event loop only. ``per_s`` 0 lets everything pass."""

    per_s: float
    burst: int
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait_s(self, address: str, now: float) -> float:
        """Count a request; 0 when it may pass, else how long until one may."""
        if self.per_s <= 0:
            return 0.0
        left, at = self._buckets.pop(address, (float(self.burst), now))
        left = min(float(self.burst), left + (now - at) * self.per_s)
        passes = left >= 1.0
        self._buckets[address] = (left - 1.0 if passes else left, now)
        while len(self._buckets) > MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1.0 - left) / self.per_s
