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

BLOCK = 8
"""Side of the blocks on which exposures are weighed: a run between two is one vector."""


def show_fused(
    image: Array,
    gains: Sequence[float],
    weights: Array,
    offset: Array,
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
        ``(K, h, w)`` and ``(h, w)`` float32, one value for each block of :data:`BLOCK` pixels,
        interpolated between the centres of the blocks.
    chroma_floor
        New luminance under which colour fades.

    Returns
    -------
    Array
        As the image; sRGB codes over 255, within 0 and 1.
    """
    body = body_for(image, cpu=_show_cpu, generic=_show_generic)
    return body(image, [float(g) for g in gains], weights, offset, float(chroma_floor))


def _show_generic(
    image: Array, gains: list[float], weights: Array, offset: Array, chroma_floor: float
) -> Array:
    xp = array_api_compat.array_namespace(image)
    luma = luminance(image)
    zero, one = xp.zeros_like(luma), xp.ones_like(luma)
    root = xp.sqrt(xp.maximum(luma, zero))
    code = interpolated(offset, luma.shape, BLOCK)
    for k, gain in enumerate(gains):
        weight = interpolated(weights[k, ...], luma.shape, BLOCK)
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
    chroma_floor: float,
) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    h, w, channels = image.shape
    small = np.concatenate([offset[None], weights]).astype(np.float32)
    below, down = grid_positions(h, BLOCK, small.shape[1])
    out = np.empty(image.shape, np.float32)
    in_bands(
        _show_rows, h, image.reshape(h, w * channels), w, np.asarray(gains, np.float32), small,
        below, down.astype(np.float32), tuple(np.float32(k) for k in LUMA),
        np.float32(chroma_floor), out.reshape(h, w * channels),
    )  # fmt: skip
    return out


@compiled
def _add_weighed(blocks: Floats, root: Floats, gain: Any, code: Floats) -> None:
    """Add ``weight * min(gain * root, 1)`` to a row, the weight interpolated between blocks.

    The rows have room for one block more, so that runs between two centres have one length.
    """
    one, half = np.float32(1.0), BLOCK // 2
    for x in range(half):
        code[x] += blocks[0] * min(gain * root[x], one)
    for c in range(blocks.size):
        a = blocks[c]
        slope = blocks[min(c + 1, blocks.size - 1)] - a
        start = c * BLOCK + half
        for i in range(BLOCK):
            weight = a + (np.float32(i) + np.float32(0.5)) / np.float32(BLOCK) * slope
            code[start + i] += weight * min(gain * root[start + i], one)


@compiled
def _show_rows(
    y0: int, y1: int, image: Floats, w: int, gains: Floats, small: Floats, below: Any,
    down: Floats, luma: Any, chroma_floor: Any, out: Floats,
) -> None:  # fmt: skip
    zero, one, least = np.float32(0.0), np.float32(1.0), np.float32(LEAST_LUMA)
    blocks = small.shape[2]
    level, between = np.zeros(w, np.float32), np.empty(blocks, np.float32)
    rows = np.zeros((2, (blocks + 1) * BLOCK), np.float32)
    root, code, ones = rows[0], rows[1], np.ones(rows.shape[1], np.float32)
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
        code[:] = zero
        j, share = below[y], down[y]
        for k in range(gains.size + 1):
            above, under = small[k, j], small[k, min(j + 1, small.shape[1] - 1)]
            for c in range(blocks):
                between[c] = above[c] + share * (under[c] - above[c])
            if k == 0:
                _add_weighed(between, ones, one, code)
            else:
                _add_weighed(between, root, gains[k - 1], code)
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
