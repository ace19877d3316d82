"""Cut a rectangle out of the picture; :func:`crop_raw` cuts a mosaic and keeps its Bayer phase."""

from __future__ import annotations

import numpy as np

from allsky360.arrays import Array
from allsky360.errors import AllskyError
from allsky360.imaging.filters.filter import Filter
from allsky360.imaging.filters.flip import contiguous
from allsky360.imaging.filters.geometry import Affine, Shape


class CropError(AllskyError, ValueError):
    """The rectangle lies outside the image."""


def crop(
    image: Array,
    *,
    left: int = 0,
    top: int = 0,
    width: int = 0,
    height: int = 0,
    mask: Array | None = None,
) -> Array:
    """Cut a rectangle out.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, C)``, any type.
    left, top
        First column and row.
    width, height
        Size; 0 goes to the edge. What reaches past the edge is cut off there.
    mask
        Not used.

    Raises
    ------
    CropError
        The rectangle lies outside the image.
    """
    x0, y0, x1, y1 = _edges(image.shape, left, top, width, height)
    if (x0, y0, x1, y1) == (0, 0, image.shape[1], image.shape[0]):
        return image
    return contiguous(image[y0:y1, x0:x1, ...])


def affine(
    shape: Shape, *, left: int = 0, top: int = 0, width: int = 0, height: int = 0
) -> tuple[Affine, Shape]:
    """Return where :func:`crop` puts the pixels of ``shape``, and the shape of its result."""
    x0, y0, x1, y1 = _edges(shape, left, top, width, height)
    return np.array([[1.0, 0.0, -x0], [0.0, 1.0, -y0]]), (y1 - y0, x1 - x0)


def crop_raw(
    mosaic: Array, *, left: int = 0, top: int = 0, width: int = 0, height: int = 0
) -> tuple[Array, int, int]:
    """Cut a mosaic without changing its pattern.

    First column and row are moved back to even ones, and the far edges out to even ones, so that
    all that was asked for is there and the top-left 2x2 cell has the same colours as before.

    Parameters
    ----------
    mosaic
        ``(H, W)`` raw.
    left, top, width, height
        As in :func:`crop`.

    Returns
    -------
    mosaic, left, top
        The cut, and where it really begins.
    """
    x0, y0, x1, y1 = _edges(mosaic.shape, left, top, width, height)
    x0, y0 = x0 - x0 % 2, y0 - y0 % 2
    return mosaic[y0 : y1 + y1 % 2, x0 : x1 + x1 % 2], x0, y0


def _edges(
    shape: tuple[int, ...], left: int, top: int, width: int, height: int
) -> tuple[int, int, int, int]:
    h, w = shape[:2]
    if not 0 <= left < w or not 0 <= top < h or width < 0 or height < 0:
        raise CropError(
            f"crop: left {left}, top {top}, width {width}, height {height} is no part of an image"
            f" of {w}x{h}.",
            mend="Mend filters.crop, or the crop of the profile's steps.",
        )
    return left, top, min(w, left + width) if width else w, min(h, top + height) if height else h


FILTER = Filter("crop", 1, "display", crop)
