"""Smoothing that stops at edges, and the range of values about a pixel, on planes.

:func:`guided_self` is the guided filter of He, Sun & Tang (2013), IEEE TPAMI 35, 1397, with the
plane as its own guide: in each square window the result is ``a p + b`` with::

    a = var / (var + edge^2)        b = (1 - a) mean

averaged over all windows a pixel lies in. Where the plane varies by less than ``edge`` it is
smoothed like a box would, where it varies by more it stays. Only box means: the cost does not grow
with the radius.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import box_mean
from allsky360.arrays.blocks import lay_over
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import pad_mirror

Array = Any
Floats = NDArray[np.float32]


def guided_self(plane: Array, radius_px: int, edge: float) -> Array:
    """Smooth a plane but not its edges.

    Parameters
    ----------
    plane
        ``(H, W)`` float32.
    radius_px
        Half side of the window.
    edge
        Standard deviation within a window from which it counts as an edge, in the plane's unit.
    """
    mean = box_mean(plane, radius_px)
    # About the local mean of a smooth plane the squares lose no digits: values are of order 1.
    variance = box_mean(plane * plane, radius_px) - mean * mean
    xp = array_api_compat.array_namespace(plane)
    variance = xp.maximum(variance, xp.zeros_like(variance))
    a = variance / (variance + edge * edge)
    return box_mean(a, radius_px) * plane + box_mean(mean - a * mean, radius_px)


def lowest(plane: Array, radius_px: int) -> Array:
    """Return the smallest value within a ``(2 radius + 1)`` square about each pixel."""
    return -highest(-plane, radius_px)


def highest(plane: Array, radius_px: int) -> Array:
    """Return the largest value within a ``(2 radius + 1)`` square about each pixel."""
    if radius_px <= 0:
        return plane
    body = body_for(plane, cpu=_highest_cpu, generic=_highest_generic, cuda=_highest_cuda)
    return body(plane, radius_px)


def within_range(want: Array, plane: Array, radius_px: int, slack: float) -> Array:
    """Limit what is to be added to a plane so that no halo forms at an edge.

    Returns ``want room / (room + |want|)``, where ``room`` is the distance from the pixel, or from
    its neighbour where that is nearer, to the highest (lowest) value within the radius, plus
    ``slack`` times their distance from each other. A flat side of an edge, of any height and
    softness, has no room but the slack.

    Parameters
    ----------
    want
        ``(H, W)`` float32, what is to be added.
    plane
        ``(H, W)`` float32, what it is to be added to.
    radius_px
        How far, about, the range is looked for; at least the reach of what made ``want``.
    slack
        Share of the range, 0 to 1.
    """
    xp = array_api_compat.array_namespace(plane)
    near_top, near_bottom = highest(plane, 1), lowest(plane, 1)
    top = xp.maximum(_highest_about(plane, radius_px), near_top)
    bottom = xp.minimum(-_highest_about(-plane, radius_px), near_bottom)
    room = xp.where(want > 0.0, top - near_top, near_bottom - bottom)
    room = room + slack * (top - bottom)
    return want * room / (room + xp.abs(want) + 1e-9)


def _highest_about(plane: Array, radius_px: int) -> Array:
    """Return about ``highest(plane, radius_px)``, from one value in a block, smooth in position.

    The mean of the highest of larger windows that all hold the smaller one: so it is no less, and
    something bright that drifts into view, a cloud, raises it by and by instead of at once.
    """
    size = radius_px // 3
    if size < 2 or min(plane.shape) <= size:
        return highest(plane, radius_px)
    half = size // 2
    blocks = highest(plane, half)[half::size, half::size]
    reach = -(-radius_px // size)
    return lay_over(box_mean(highest(blocks, 2 * reach), reach), size, plane.shape)


def above_noise(detail: Array, least: float) -> Array:
    """Return ``d q^4 / (1 + q^4)`` with ``q = d / least``: details well under ``least`` vanish."""
    if least <= 0:
        return detail
    q2 = (detail / least) ** 2
    return detail * (q2 * q2 / (1.0 + q2 * q2))


def _highest_cpu(plane: Floats, radius_px: int) -> Floats:
    side = 2 * radius_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    return np.asarray(cv2.dilate(np.ascontiguousarray(plane), kernel), np.float32)


def _highest_cuda(plane: Array, radius_px: int) -> Array:
    from cupyx.scipy import ndimage

    return ndimage.maximum_filter(plane, size=2 * radius_px + 1, mode="mirror")


def _highest_generic(plane: Array, radius_px: int) -> Array:
    """Windows of doubled width, rows then columns; a mirrored border adds no other values."""
    xp = array_api_compat.array_namespace(plane)
    h, w = plane.shape
    padded = pad_mirror(plane, radius_px)
    for axis, size in ((0, h), (1, w)):
        side = 2 * radius_px + 1
        wide = padded
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            n = wide.shape[axis] - step
            near, far = (
                (wide[:n, :], wide[step:, :]) if axis == 0 else (wide[:, :n], wide[:, step:])
            )
            wide = xp.maximum(near, far)
            reach += step
        padded = wide[:size, :] if axis == 0 else wide[:, :size]
    return padded
