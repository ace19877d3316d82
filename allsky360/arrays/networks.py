"""Sorting networks on whole arrays: medians as a fixed list of minima and maxima.

An exchange ``(i, j)`` puts the smaller of two values at ``i`` and the larger at ``j``. On arrays it
is two element-wise calls, many times less work than sorting a stack along a new axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import array_api_compat

Array = Any
Network = tuple[tuple[int, int], ...]

MEDIAN9: Network = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip
"""Brings the median of nine values to place 4 in 19 exchanges (Paeth 1990, Graphics Gems)."""

SORT8: Network = (
    (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3),
    (4, 5), (6, 7), (2, 4), (3, 5), (1, 4), (3, 6), (1, 2), (3, 4), (5, 6),
)  # fmt: skip
"""Sorts eight values in 19 exchanges (Knuth, The Art of Computer Programming 3, 5.3.4)."""


@cache
def median_network(n: int) -> Network:
    """Return a network that brings the median of ``n`` (odd) values to place ``n // 2``.

    Batcher's odd-even merge sort, less every exchange the middle does not depend on.
    """
    if n == 9:
        return MEDIAN9
    network = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        network.append((i + j, i + j + k))
            k //= 2
        p *= 2
    needed, kept = {n // 2}, []
    for i, j in reversed(network):
        if i in needed or j in needed:
            needed |= {i, j}
            kept.append((i, j))
    return tuple(reversed(kept))


def exchange(values: Sequence[Array], network: Network) -> list[Array]:
    """Run a network on arrays of one shape."""
    xp = array_api_compat.array_namespace(values[0])
    out = list(values)
    for i, j in network:
        out[i], out[j] = xp.minimum(out[i], out[j]), xp.maximum(out[i], out[j])
    return out
