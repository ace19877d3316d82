"""Where a pixel goes: the affine maps of crop, rotate and flip, and their composition.

A map is a ``(2, 3)`` float64 matrix ``A``: the pixel at column ``x``, row ``y`` of the input lies
at ``A @ (x, y, 1)`` in the output; pixel centres are whole numbers, row 0 is on top. With it a lens
model, an overlay or a star list made for the whole frame can follow the picture.
"""

from __future__ import annotations

import math
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


def rotated(
    shape: Shape, *, angle_deg: float = 0.0, interpolation: str = "bilinear"
) -> tuple[Affine, Shape]:
    """Return where the filter ``rotate`` puts the pixels of ``shape``, and its result's shape."""
    h, w = shape
    quarters = quarters_of(angle_deg)
    if quarters == 1:
        return np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, w - 1.0]]), (w, h)
    if quarters == 3:
        return np.array([[0.0, -1.0, h - 1.0], [1.0, 0.0, 0.0]]), (w, h)
    angle = math.radians(angle_deg)
    c, s = math.cos(angle), math.sin(angle)
    if quarters is not None:
        c, s = 1.0 - quarters, 0.0
    x, y = (w - 1) / 2, (h - 1) / 2
    return np.array([[c, s, x - c * x - s * y], [-s, c, y + s * x - c * y]]), shape


def quarters_of(angle_deg: float) -> int | None:
    """Quarter turns counterclockwise, None where the angle is not a multiple of 90."""
    turns, rest = divmod(angle_deg, 90.0)
    return int(turns) % 4 if rest == 0 else None


def affine_of(steps: Iterable[tuple[str, Mapping[str, Any]]], shape: Shape) -> tuple[Affine, Shape]:
    """Return map and size of what a list of steps makes of a frame; other filters move nothing.

    Parameters
    ----------
    steps
        Names of filters with all their keywords, in order.
    shape
        Rows and columns of the frame.
    """
    from allsky360.imaging.filters import crop, flip

    known: dict[str, Callable[..., tuple[Affine, Shape]]] = {
        "crop": crop.affine,
        "flip": flip.affine,
        "rotate": rotated,
    }
    total = identity()
    for name, keywords in steps:
        if name in known:
            step, shape = known[name](shape, **keywords)
            total = compose(total, step)
    return total, shape
