"""The full-size pass of exposure fusion: exposures made, weighed and summed in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import grid_positions, interpolated

Array = Any
Floats = NDArray[np.float32]


def mix_exposures(
    light: Array, gains: Sequence[float], weights: Array, offset: Array, size: int
) -> Array:
    """Return ``c * c`` with ``c = offset + sum(weights_k * min(gains_k * sqrt(light), 1))``.

    Parameters
    ----------
    light
        ``(H, W)`` float32; what is negative counts as 0.
    gains
        K gains of the codes.
    weights, offset
        ``(K, h, w)`` and ``(h, w)`` float32, one value for each block of ``size`` pixels,
        interpolated between the centres of the blocks.
    size
        Side of a block.

    Returns
    -------
    Array
        ``(H, W)`` float32; ``c`` is held within 0 and 1.
    """
    body = body_for(light, cpu=_mix_cpu, generic=_mix_generic)
    return body(light, [float(g) for g in gains], weights, offset, size)


def _mix_generic(
    light: Array, gains: list[float], weights: Array, offset: Array, size: int
) -> Array:
    xp = array_api_compat.array_namespace(light)
    zero, one = xp.zeros_like(light), xp.ones_like(light)
    root = xp.sqrt(xp.maximum(light, zero))
    code = interpolated(offset, light.shape, size)
    for k, gain in enumerate(gains):
        weight = interpolated(weights[k, ...], light.shape, size)
        code = code + weight * xp.minimum(gain * root, one)
    code = xp.minimum(xp.maximum(code, zero), one)
    return code * code


def _mix_cpu(
    light: Floats, gains: list[float], weights: Floats, offset: Floats, size: int
) -> Floats:
    light = np.ascontiguousarray(light, np.float32)
    h, w = light.shape
    small = np.concatenate([offset[None], weights]).astype(np.float32)
    below, down = grid_positions(h, size, small.shape[1])
    left, across = grid_positions(w, size, small.shape[2])
    edges = np.searchsorted(left, np.arange(small.shape[2] + 1))
    out = np.empty((h, w), np.float32)
    in_bands(
        _mix, h, light, np.asarray(gains, np.float32), small, below, down.astype(np.float32),
        edges, across.astype(np.float32), out,
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
def _mix(
    y0: int, y1: int, light: Floats, gains: Floats, small: Floats, below: Any, down: Floats,
    edges: Any, across: Floats, out: Floats,
) -> None:  # fmt: skip
    w = out.shape[1]
    zero, one = np.float32(0.0), np.float32(1.0)
    rows = np.empty((2, w), np.float32)
    root, weight = rows[0], rows[1]
    for y in range(y0, y1):
        source, code = light[y], out[y]
        for x in range(w):
            root[x] = np.sqrt(max(source[x], zero))
        enlarge_row(small[0], below[y], down[y], edges, across, code)
        for k in range(gains.size):
            enlarge_row(small[k + 1], below[y], down[y], edges, across, weight)
            gain = gains[k]
            for x in range(w):
                code[x] += weight[x] * min(gain * root[x], one)
        for x in range(w):
            c = min(max(code[x], zero), one)
            code[x] = c * c
