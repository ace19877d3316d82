"""The à trous ("with holes") wavelet transform with the cubic B-spline.

Smoothing a plane again and again with the spline's five taps, their distance doubled each time,
gives ``c_0 = plane, c_1, c_2, …``; what each step takes away is a detail plane of about that size::

    w_j = c_(j-1) - c_j        plane = w_1 + … + w_J + c_J        (exactly)

No plane is reduced, so nothing rings or blocks (Holschneider et al. 1989; Starck & Murtagh 2006,
"Astronomical Image and Data Analysis", section 2.3). Detail plane ``j`` holds structure about
``2^(j-1)`` px in radius. Borders are mirrored about the edge pixel.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import BINOMIAL as B3
from allsky360.arrays.generic import _mirror, on_device_of

Array = Any
Floats = NDArray[np.float32]


def smooth(plane: Array, level: int, *, out: Array | None = None) -> Array:
    """Smooth a plane with the spline's taps ``2**level`` px apart.

    Parameters
    ----------
    plane
        ``(H, W)`` float32; not written to.
    level
        0 for neighbouring pixels; ``c_(j+1) = smooth(c_j, j)``.
    out
        ``(H, W)`` float32 of the same library to write to; must not be ``plane``.
    """
    _check(plane, level + 1)
    body = body_for(plane, cpu=_smooth_cpu, generic=_smooth_generic, cuda=_smooth_cuda)
    smoothed: Array = body(plane, 1 << level, out)
    return smoothed


def smooths(plane: Array, scales: int) -> list[Array]:
    """Return ``[plane, c_1, …, c_scales]``: for those who take the differences themselves.

    The first one is the plane itself, not a copy.
    """
    _check(plane, scales)
    planes = [plane]
    for level in range(scales):
        planes.append(smooth(planes[-1], level))
    return planes


def atrous(plane: Array, scales: int) -> tuple[list[Array], Array]:
    """Split a plane into details and what is left.

    Parameters
    ----------
    plane
        ``(H, W)`` float32; not written to.
    scales
        Number of detail planes, 1 to 12.

    Returns
    -------
    details, residual
        Finest first; all ``(H, W)`` float32. Their sum is the plane.
    """
    _check(plane, scales)
    body = body_for(plane, cpu=_split_cpu, generic=_split_generic, cuda=_split_generic)
    details, rest = [], plane
    for level in range(scales):
        rest, detail = body(rest, level)
        details.append(detail)
    return details, rest


@cache
def white_noise_sigmas(scales: int) -> tuple[float, ...]:
    """Standard deviation of each detail plane for white noise of 1.

    0.891, 0.201, 0.086 and so on: norms of the kernels, which are differences of separable ones.
    """
    sigmas = []
    before = np.ones(1)
    for level in range(scales):
        taps = np.zeros(4 * (1 << level) + 1)
        taps[:: 1 << level] = B3
        after = np.convolve(before, taps)
        pad = (after.size - before.size) // 2
        cross = float(np.pad(before, pad) @ after)
        own, smoothed = float(before @ before), float(after @ after)
        sigmas.append((own**2 - 2.0 * cross**2 + smoothed**2) ** 0.5)
        before = after
    return tuple(sigmas)


def _check(plane: Array, scales: int) -> None:
    if plane.ndim != 2:
        raise ValueError(f"the à trous transform takes one plane (H, W), got {plane.shape}")
    if not 1 <= scales <= 12:
        raise ValueError(f"scales must be 1 to 12, got {scales}")


def _smooth_generic(plane: Array, step: int, out: Array | None) -> Array:
    xp = array_api_compat.array_namespace(plane)
    for axis in (1, 0):
        n, pad = plane.shape[axis], 2 * step
        index = on_device_of(plane, _mirror(n, pad), "int64")
        wide = xp.take(plane, index, axis=axis)

        def view(k: int, wide: Array = wide, axis: int = axis, n: int = n) -> Array:
            return (
                wide[k * step : k * step + n, :] if axis == 0 else wide[:, k * step : k * step + n]
            )

        plane = B3[2] * view(2) + B3[1] * (view(1) + view(3)) + B3[0] * (view(0) + view(4))
    if out is None:
        return plane
    out[...] = plane
    return out


def _split_generic(plane: Array, level: int) -> tuple[Array, Array]:
    rest = smooth(plane, level)
    return rest, plane - rest


def _smooth_cpu(plane: Floats, step: int, out: Floats | None) -> Floats:
    plane = np.ascontiguousarray(plane, np.float32)
    if out is None:
        out = np.empty_like(plane)
    in_bands(_smooth_rows, plane.shape[0], plane, step, out, out[:0])
    return out


def _split_cpu(plane: Floats, level: int) -> tuple[Floats, Floats]:
    plane = np.ascontiguousarray(plane, np.float32)
    rest, detail = np.empty_like(plane), np.empty_like(plane)
    in_bands(_smooth_rows, plane.shape[0], plane, 1 << level, rest, detail)
    return rest, detail


@compiled
def _fold(i: int, n: int) -> int:
    """Index mirrored about the edge samples, however far outside."""
    if n == 1:
        return 0
    period = 2 * (n - 1)
    i = abs(i) % period
    return i if i < n else period - i


@compiled
def _smooth_rows(y0: int, y1: int, plane: Floats, step: int, out: Floats, detail: Floats) -> None:
    """Columns of a row first, into a line with mirrored ends, then along it."""
    h, w = plane.shape
    far, middle, near = np.float32(1 / 16), np.float32(6 / 16), np.float32(4 / 16)
    pad = 2 * step
    line = np.empty(w + 2 * pad, np.float32)
    inner = line[pad : pad + w]
    a, b, d, e = line[:w], line[step : step + w], line[3 * step : 3 * step + w], line[2 * pad :]
    for y in range(y0, y1):
        centre = plane[y]
        up, down = plane[_fold(y - step, h)], plane[_fold(y + step, h)]
        top, bottom = plane[_fold(y - pad, h)], plane[_fold(y + pad, h)]
        for x in range(w):
            inner[x] = middle * centre[x] + near * (up[x] + down[x]) + far * (top[x] + bottom[x])
        for k in range(1, pad + 1):
            line[pad - k] = inner[_fold(-k, w)]
            line[pad + w - 1 + k] = inner[_fold(w - 1 + k, w)]
        target = out[y]
        for x in range(w):
            target[x] = middle * inner[x] + near * (b[x] + d[x]) + far * (a[x] + e[x])
        if detail.shape[0]:
            difference = detail[y]
            for x in range(w):
                difference[x] = centre[x] - target[x]


CUDA_SOURCE = r"""
__device__ __forceinline__ int fold_far(int i, int n) {
    if (n == 1) return 0;
    int period = 2 * (n - 1);
    i = (i < 0 ? -i : i) % period;
    return i < n ? i : period - i;
}

// Five spline taps `step` apart along one axis, one thread a pixel.
extern "C" __global__ void spline_taps(
    const float* p, float* out, int h, int w, int step, int vertical)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    float v[5];
    for (int k = -2; k <= 2; ++k) {
        int yy = vertical ? fold_far(y + k * step, h) : y;
        int xx = vertical ? x : fold_far(x + k * step, w);
        v[k + 2] = p[(long long)yy * w + xx];
    }
    out[(long long)y * w + x] =
        0.375f * v[2] + 0.25f * (v[1] + v[3]) + 0.0625f * (v[0] + v[4]);
}
"""
"""CUDA C of one smoothing step along one axis."""


@cache
def _cuda_module() -> Any:
    import cupy

    return cupy.RawModule(code=CUDA_SOURCE)


def _smooth_cuda(plane: Array, step: int, out: Array | None) -> Array:
    import cupy

    plane = cupy.ascontiguousarray(plane, dtype=cupy.float32)
    h, w = plane.shape
    between = cupy.empty_like(plane)
    result = cupy.empty_like(plane) if out is None else out
    kernel = _cuda_module().get_function("spline_taps")
    grid, block = ((w + 31) // 32, (h + 7) // 8), (32, 8)
    size = (np.int32(h), np.int32(w), np.int32(step))
    kernel(grid, block, (plane, between, *size, np.int32(0)))
    kernel(grid, block, (between, result, *size, np.int32(1)))
    return result
