"""The full-size pass of exposure fusion: exposures made, weighed and summed in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, grid_positions, interpolated
from allsky360.arrays.luminance import luminance
from allsky360.arrays.srgb import encoded
from allsky360.arrays.tone_curve import LEAST_LUMA, coloured, coloured_generic, encode_generic

Array = Any
Floats = NDArray[np.float32]


def show_fused(
    image: Array,
    gains: Sequence[float],
    weights: Array,
    offset: Array,
    size: int,
    *,
    chroma_floor: float,
) -> Array:
    """Show an image with its luminance ``L`` replaced by that of the fused exposures.

    The new luminance is ``c * c`` with ``c = offset + sum(weights_k * min(gains_k * sqrt(L), 1))``
    held within 0 and 1. Colours keep their ratios but within the gamut, as in the stretch.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear, C 1 or 3; what is negative counts as 0.
    gains
        K gains of the codes.
    weights, offset
        ``(K, h, w)`` and ``(h, w)`` float32, one value for each block of ``size`` pixels,
        interpolated between the centres of the blocks.
    size
        Side of a block.
    chroma_floor
        New luminance under which colour fades.

    Returns
    -------
    Array
        As the image; sRGB codes over 255, within 0 and 1.
    """
    body = body_for(image, cpu=_show_cpu, generic=_show_generic)
    return body(image, [float(g) for g in gains], weights, offset, size, float(chroma_floor))


def _show_generic(
    image: Array, gains: list[float], weights: Array, offset: Array, size: int, chroma_floor: float
) -> Array:
    xp = array_api_compat.array_namespace(image)
    luma = luminance(image)
    zero, one = xp.zeros_like(luma), xp.ones_like(luma)
    root = xp.sqrt(xp.maximum(luma, zero))
    code = interpolated(offset, luma.shape, size)
    for k, gain in enumerate(gains):
        weight = interpolated(weights[k, ...], luma.shape, size)
        code = code + weight * xp.minimum(gain * root, one)
    code = xp.minimum(xp.maximum(code, zero), one)
    light = code * code
    if image.shape[2] == 1:
        return encode_generic(light)[..., None]
    fade = one + (chroma_floor / xp.maximum(light, one * LEAST_LUMA)) ** 2
    return coloured_generic(image, luma, light, fade)


def _show_cpu(
    image: Floats,
    gains: list[float],
    weights: Floats,
    offset: Floats,
    size: int,
    chroma_floor: float,
) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    h, w, channels = image.shape
    small = np.concatenate([offset[None], weights]).astype(np.float32)
    below, down = grid_positions(h, size, small.shape[1])
    left, across = grid_positions(w, size, small.shape[2])
    edges = np.searchsorted(left, np.arange(small.shape[2] + 1))
    out = np.empty(image.shape, np.float32)
    in_bands(
        _show_rows, h, image.reshape(h, w * channels), np.asarray(gains, np.float32), small, below,
        down.astype(np.float32), edges, across.astype(np.float32),
        tuple(np.float32(k) for k in LUMA), np.float32(chroma_floor), out.reshape(h, w * channels),
    )  # fmt: skip
    return out


@compiled
def enlarge_row(
    blocks: Floats, below: int, down: float, edges: Any, across: Floats, out: Floats
) -> None:
    """Interpolate one row of ``blocks`` to full size; see ``grid_positions``."""
    above, under = blocks[below], blocks[min(below + 1, blocks.shape[0] - 1)]
    last = above.size - 1
    a = above[0] + down * (under[0] - above[0])
    for c in range(above.size):
        n = min(c + 1, last)
        b = above[n] + down * (under[n] - above[n])
        start, slope = edges[c], b - a
        # Eight at a time: a loop of known length is one vector.
        for e in range((edges[c + 1] - start) // 8):
            to, at = out[start + 8 * e :], across[start + 8 * e :]
            for i in range(8):
                to[i] = a + at[i] * slope
        for x in range(start + (edges[c + 1] - start) // 8 * 8, edges[c + 1]):
            out[x] = a + across[x] * slope
        a = b


@compiled
def _show_rows(
    y0: int, y1: int, image: Floats, gains: Floats, small: Floats, below: Any, down: Floats,
    edges: Any, across: Floats, luma: Any, chroma_floor: Any, out: Floats,
) -> None:  # fmt: skip
    w = across.size
    zero, one, least = np.float32(0.0), np.float32(1.0), np.float32(LEAST_LUMA)
    rows = np.empty((4, w), np.float32)
    level, root, weight, code = rows[0], rows[1], rows[2], rows[3]
    for y in range(y0, y1):
        source, target = image[y], out[y]
        if source.size == w:
            for x in range(w):
                level[x] = source[x]
        else:
            for x in range(w):
                level[x] = (
                    luma[0] * source[3 * x] + luma[1] * source[3 * x + 1]
                    + luma[2] * source[3 * x + 2]
                )  # fmt: skip
        for x in range(w):
            root[x] = np.sqrt(max(zero, level[x]))
        enlarge_row(small[0], below[y], down[y], edges, across, code)
        for k in range(gains.size):
            enlarge_row(small[k + 1], below[y], down[y], edges, across, weight)
            gain = gains[k]
            for x in range(w):
                code[x] += weight[x] * min(gain * root[x], one)
        for x in range(w):
            c = min(max(zero, code[x]), one)
            code[x] = c * c
        if source.size == w:
            for x in range(w):
                target[x] = encoded(code[x])
            continue
        for x in range(w):
            noise = chroma_floor / max(code[x], least)
            r, g, b = coloured(
                source[3 * x], source[3 * x + 1], source[3 * x + 2],
                level[x], code[x], one + noise * noise,
            )  # fmt: skip
            target[3 * x], target[3 * x + 1], target[3 * x + 2] = r, g, b
        for i in range(3 * w):
            target[i] = encoded(min(max(zero, target[i]), one))
