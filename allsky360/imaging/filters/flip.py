"""Mirror the picture: left to right, top to bottom, or both. Exact; no pixel is changed.

A camera that looks up shows east on the left; flipped horizontally the picture is a map. Both
together turn it by 180 degrees.
"""

from __future__ import annotations

import numpy as np

from allsky360.arrays import Array, namespace
from allsky360.imaging.filters.filter import Filter
from allsky360.imaging.filters.geometry import Affine, Shape


def flip(
    image: Array, *, horizontal: bool = False, vertical: bool = False, mask: Array | None = None
) -> Array:
    """Mirror an image.

    Parameters
    ----------
    image
        ``(H, W, C)``, any type.
    horizontal
        Swap left and right.
    vertical
        Swap top and bottom.
    mask
        Not used.
    """
    axes = tuple(axis for axis, wanted in ((0, vertical), (1, horizontal)) if wanted)
    return turned_over(image, axes) if axes else image


def turned_over(image: Array, axes: tuple[int, ...]) -> Array:
    """Return ``(H, W, C)`` with rows (axis 0), columns (1) or both in reverse."""
    if isinstance(image, np.ndarray):
        import cv2

        code = -1 if len(axes) == 2 else axes[0]
        return cv2.flip(image, code, dst=np.empty(image.shape, image.dtype)).reshape(image.shape)
    return namespace(image).flip(image, axis=axes)


def affine(
    shape: Shape, *, horizontal: bool = False, vertical: bool = False
) -> tuple[Affine, Shape]:
    """Return where :func:`flip` puts the pixels of ``shape``, and the shape of its result."""
    h, w = shape
    x = [-1.0, 0.0, w - 1.0] if horizontal else [1.0, 0.0, 0.0]
    y = [0.0, -1.0, h - 1.0] if vertical else [0.0, 1.0, 0.0]
    return np.array([x, y]), shape


def contiguous(image: Array) -> Array:
    """Return a NumPy view as an array of its own: what comes after runs on whole rows."""
    return np.ascontiguousarray(image) if isinstance(image, np.ndarray) else image


FILTER = Filter("flip", 1, "display", flip)
