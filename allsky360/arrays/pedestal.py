"""Raw counts to light above black in one pass, and defects replaced by their neighbours."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for

Array = Any
Floats = NDArray[np.float32]


def above(raw: Array, pedestal: Array | float) -> Array:
    """Return ``raw - pedestal`` as float32, a new array; negatives kept.

    Parameters
    ----------
    raw
        ``(H, W)`` or ``(H, W, C)`` of any real type.
    pedestal
        One level, or float32 of the same shape on the same device.
    """
    return body_for(raw, cpu=_above_cpu, generic=_above_generic)(raw, pedestal)


def replace_pixels(image: Array, index: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Array:
    """Replace pixels by the mean of the middle two of four others.

    Parameters
    ----------
    image
        ``(H, W)`` float32. May be written to: hand in an array of your own, use the result.
    index
        ``(K,)`` flat positions to replace; no two alike.
    neighbours
        ``(K, 4)`` flat positions to take instead; none of them in ``index``, or only the pixel
        itself.
    """
    body = body_for(image, cpu=_replace_scatter, cuda=_replace_scatter, generic=_replace_generic)
    return body(image, index, neighbours) if index.size else image


def _above_generic(raw: Array, pedestal: Array | float) -> Array:
    xp = array_api_compat.array_namespace(raw)
    return xp.astype(raw, xp.float32) - pedestal


def _above_cpu(raw: NDArray[Any], pedestal: Floats | float) -> Floats:
    out = np.empty(raw.shape, np.float32)
    pixels = np.ascontiguousarray(raw)
    rows = pixels.reshape(raw.shape[0], -1)
    target = out.reshape(rows.shape)
    if isinstance(pedestal, np.ndarray):
        plane = np.ascontiguousarray(pedestal, np.float32).reshape(rows.shape)
        in_bands(_above_plane, len(rows), rows, plane, target)
    else:
        in_bands(_above_level, len(rows), rows, np.float32(pedestal), target)
    return out


@compiled
def _above_plane(y0: int, y1: int, raw: NDArray[Any], pedestal: Floats, out: Floats) -> None:
    for y in range(y0, y1):
        source, under, target = raw[y], pedestal[y], out[y]
        for x in range(target.size):
            target[x] = np.float32(source[x]) - under[x]


@compiled
def _above_level(y0: int, y1: int, raw: NDArray[Any], level: float, out: Floats) -> None:
    for y in range(y0, y1):
        source, target = raw[y], out[y]
        for x in range(target.size):
            target[x] = np.float32(source[x]) - level


def _middle(values: Array) -> Array:
    """Mean of the middle two of ``(K, 4)``."""
    xp = array_api_compat.array_namespace(values)
    total = xp.sum(values, axis=1)
    return (total - xp.max(values, axis=1) - xp.min(values, axis=1)) * 0.5


def _replace_scatter(image: Array, index: NDArray[Any], neighbours: NDArray[Any]) -> Array:
    xp = array_api_compat.array_namespace(image)
    flat = xp.reshape(image, (-1,))
    flat[xp.asarray(index)] = _middle(flat[xp.asarray(neighbours)])
    return xp.reshape(flat, image.shape)


def _replace_generic(image: Array, index: NDArray[Any], neighbours: NDArray[Any]) -> Array:
    """Without scattering, which the array API has not: each pixel names its replacement."""
    xp = array_api_compat.array_namespace(image)
    flat = xp.reshape(image, (-1,))
    around = xp.asarray(neighbours.reshape(-1), device=image.device)
    new = _middle(xp.reshape(xp.take(flat, around), (-1, 4)))
    rank = np.full(flat.shape[0], -1, np.int64)
    rank[index] = np.arange(index.size)
    which = xp.asarray(rank, device=image.device)
    repaired = xp.take(new, xp.maximum(which, xp.zeros_like(which)))
    return xp.reshape(xp.where(which >= 0, repaired, flat), image.shape)
