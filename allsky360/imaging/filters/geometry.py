"""Where a pixel goes: the affine maps of crop, rotate and flip, and their composition.

A map is a ``(2, 3)`` float64 matrix ``A``: the pixel at column ``x``, row ``y`` of the input lies
at ``A @ (x, y, 1)`` in the output; pixel centres are whole numbers, row 0 is on top. With it a lens
model, an overlay or a star list made for the whole frame can follow the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
Shape = tuple[int, int]
"""Rows, columns."""


def identity() -> Affine:
    """Return the map that moves nothing."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def compose(first: Affine, second: Affine) -> Affine:
    """Return the map that does ``first``, then ``second``."""
    out = second[:, :2] @ first
    out[:, 2] += second[:, 2]
    return out


def invert(affine: Affine) -> Affine:
    """Return the map from output to input pixels."""
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack([back, -back @ affine[:, 2]])


def apply(affine: Affine, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map columns and rows (numbers or arrays of one shape)."""
    a, x, y = affine, np.asarray(x, np.float64), np.asarray(y, np.float64)
    return a[0, 0] * x + a[0, 1] * y + a[0, 2], a[1, 0] * x + a[1, 1] * y + a[1, 2]


def affine_of(steps: Iterable[tuple[str, Mapping[str, Any]]], shape: Shape) -> tuple[Affine, Shape]:
    """Return map and size of what a list of steps makes of a frame; other filters move nothing.

    Parameters
    ----------
    steps
        Names of filters with all their keywords, in order.
    shape
        Rows and columns of the frame.
    """
    from allsky360.imaging.filters import crop, flip, rotate

    known: dict[str, Callable[..., tuple[Affine, Shape]]] = {
        "crop": crop.affine,
        "flip": flip.affine,
        "rotate": rotate.affine,
    }
    total = identity()
    for name, keywords in steps:
        if name in known:
            step, shape = known[name](shape, **keywords)
            total = compose(total, step)
    return total, shape
