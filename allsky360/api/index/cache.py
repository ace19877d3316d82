"""Arrays kept in memory up to a number of bytes; the least recently used ones go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

OVERHEAD = 200
"""Bytes of an array object and its place in the cache, beside its numbers."""


class ArrayCache:
    """Safe from several threads. What is read twice at once is kept once."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[NDArray[Any], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, key: Hashable, make: Callable[[], tuple[NDArray[Any], ...]]
    ) -> tuple[NDArray[Any], ...]:
        """Return the arrays of ``key``; ``make`` them where they are not kept."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        made = make()
        size = sum(a.nbytes + OVERHEAD for a in made)
        with self._lock:
            if key not in self._kept and size <= self.max_bytes:
                self._kept[key] = made
                self.bytes += size
                while self.bytes > self.max_bytes:
                    _, old = self._kept.popitem(last=False)
                    self.bytes -= sum(a.nbytes + OVERHEAD for a in old)
        return made

    def forget(self, prefix: tuple[Hashable, ...]) -> None:
        """Drop every key that begins like this; keys are tuples."""
        n = len(prefix)
        with self._lock:
            gone = [k for k in self._kept if isinstance(k, tuple) and k[:n] == prefix]
            for key in gone:
                self.bytes -= sum(a.nbytes + OVERHEAD for a in self._kept.pop(key))
