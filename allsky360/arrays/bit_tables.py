"""Tables on the host indexed by the leading bits of a number between 0 and 1.

512 entries for each of the 24 octaves below 1, nearest entry, neither root nor interpolation: off
by less than a thousandth of the number itself. A smooth curve of a picture's codes is then off by
less than a twentieth of an 8-bit step, and a loop that uses :func:`place` is vectorised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled

Doubles = NDArray[np.float64]

_OCTAVES, _PER_OCTAVE = 24, 512
LEAST = 2.0**-_OCTAVES
"""The smallest number with a place of its own; 0 shares it."""
_FIRST = int(np.float32(LEAST).view(np.int32))
_SHIFT = 23 - 9


def bit_table(values: Callable[[Doubles], Doubles]) -> NDArray[np.float32]:
    """Sample a function of 0…1; the first entry is its value at 0, the last at 1."""
    bits = _FIRST + (np.arange(_OCTAVES * _PER_OCTAVE + 1) << _SHIFT) + (1 << (_SHIFT - 1))
    middles = bits.astype(np.int32).view(np.float32).astype(np.float64)
    table = values(np.minimum(middles, 1.0)).astype(np.float32)
    table[0], table[-1] = values(np.array([0.0]))[0], values(np.array([1.0]))[0]
    return table


@compiled
def place(value: Any) -> Any:
    """Index of a number from ``LEAST`` to 1.

    Clamp with ``min(max(LEAST, value), 1)`` in this order: it takes NaN to ``LEAST``; the other
    way round NaN stays, and its index lies far outside the table.
    """
    return (np.float32(value).view(np.int32) - np.int32(_FIRST)) >> np.int32(_SHIFT)
