"""Which body of a primitive runs: chosen by the library that holds the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

Array = Any


def body_for(
    array: Array,
    *,
    cpu: Callable[..., Any],
    generic: Callable[..., Any],
    cuda: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Return ``cpu`` for NumPy, ``cuda`` for CuPy where there is one, else ``generic``."""
    if isinstance(array, np.ndarray):
        return cpu
    if cuda is not None and array_api_compat.is_cupy_array(array):
        return cuda
    return generic
