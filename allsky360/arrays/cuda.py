"""CuPy bodies of the primitives. Everything not named here runs its generic body on CuPy.

None of this has run on a GPU yet: no CUDA device was at hand. What was done instead: the generic
bodies and the whole chain run on array-api-strict's second device (``tests/test_arrays.py``,
``tests/imaging/test_devices.py``), where a hidden host copy raises, and the CUDA source below is
compiled with a C++ compiler behind a few macros and compared with the NumPy bodies
(``tests/test_arrays_cuda_source.py``). Tests marked ``gpu`` compare both on a real device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

Array = Any

SOURCE = r"""
// Index mirrored about the edge samples; keeps the parity of a Bayer mosaic.
__device__ __forceinline__ int fold(int i, int n) {
    if (n == 1) return 0;
    if (i < 0) i = -i;
    if (i >= n) i = 2 * (n - 1) - i;
    return i;
}

#define AT(image, y, x) image[(long long)fold((y), h) * w + fold((x), w)]

// Green at every pixel: Hamilton-Adams with soft direction weights.
extern "C" __global__ void green_plane(
    const float* p, float* green, int h, int w, int ry, int rx, float noise, float clip)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    float c = AT(p, y, x);
    long long i = (long long)y * w + x;
    if (((y ^ ry) & 1) != ((x ^ rx) & 1)) { green[i] = c; return; }
    float a = AT(p, y, x - 1), b = AT(p, y, x + 1), aa = AT(p, y, x - 2), bb = AT(p, y, x + 2);
    float u = AT(p, y - 1, x), d = AT(p, y + 1, x), uu = AT(p, y - 2, x), dd = AT(p, y + 2, x);
    float ch = 2.0f * c - aa - bb, cv = 2.0f * c - uu - dd;
    float eh = fabsf(a - b) + fabsf(ch), ev = fabsf(u - d) + fabsf(cv);
    if (fmaxf(fmaxf(fmaxf(a, b), fmaxf(aa, bb)), c) >= clip) ch = 0.0f;
    if (fmaxf(fmaxf(fmaxf(u, d), fmaxf(uu, dd)), c) >= clip) cv = 0.0f;
    float least = 4.0f * noise * noise + 1e-12f;
    float wh = 1.0f / (eh * eh + least), wv = 1.0f / (ev * ev + least);
    float g = (wh * (0.5f * (a + b) + 0.25f * ch) + wv * (0.5f * (u + d) + 0.25f * cv)) / (wh + wv);
    green[i] = fmaxf(g, fminf(fminf(a, b), fminf(u, d)) - 3.0f * noise);
}

// Red and blue from colour differences; plain means beside saturated green.
extern "C" __global__ void colour_planes(
    const float* p, const float* g, float* out, int h, int w, int ry, int rx, float clip)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    float top = -1e30f;
    for (int j = -1; j <= 1; ++j)
        for (int i = -1; i <= 1; ++i) top = fmaxf(top, AT(g, y + j, x + i));
    float s = top >= clip ? 0.0f : 1.0f;
    float k = AT(g, y, x), own = AT(p, y, x), base = s * k, r, b;
    bool red_row = ((y ^ ry) & 1) == 0, red_column = ((x ^ rx) & 1) == 0;
#define DIFFERENCE(j, i) (AT(p, y + (j), x + (i)) - s * AT(g, y + (j), x + (i)))
    if (red_row == red_column) {
        float other = base + 0.25f * (DIFFERENCE(-1, -1) + DIFFERENCE(-1, 1)
                                      + DIFFERENCE(1, -1) + DIFFERENCE(1, 1));
        r = red_row ? own : other;
        b = red_row ? other : own;
    } else {
        float across = base + 0.5f * (DIFFERENCE(0, -1) + DIFFERENCE(0, 1));
        float along = base + 0.5f * (DIFFERENCE(-1, 0) + DIFFERENCE(1, 0));
        r = red_row ? across : along;
        b = red_row ? along : across;
    }
#undef DIFFERENCE
    long long o = 3 * ((long long)y * w + x);
    out[o] = r; out[o + 1] = k; out[o + 2] = b;
}
"""
"""CUDA C of the demosaic kernels, one thread a pixel."""


@cache
def _kernels() -> Any:
    import cupy

    # No --std: CuPy and NVRTC choose their own, and the source is valid in every one of them.
    return cupy.RawModule(code=SOURCE)


def _grid(h: int, w: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((w + 31) // 32, (h + 7) // 8), (32, 8)


def demosaic(mosaic: Array, ry: int, rx: int, method: str, noise: float, clip: float) -> Array:
    """Raw kernels for the edge-aware method; bilinear runs its generic body."""
    import cupy
    import numpy as np

    from allsky360.arrays import generic

    if method == "bilinear":
        return generic.demosaic(mosaic, ry, rx, method, noise, clip)
    mosaic = cupy.ascontiguousarray(mosaic, dtype=cupy.float32)
    h, w = mosaic.shape
    green = cupy.empty((h, w), dtype=cupy.float32)
    out = cupy.empty((h, w, 3), dtype=cupy.float32)
    blocks, threads = _grid(h, w)
    size = (np.int32(h), np.int32(w), np.int32(ry), np.int32(rx))
    level = np.float32(min(clip, 3.0e38))
    module = _kernels()
    module.get_function("green_plane")(
        blocks, threads, (mosaic, green, *size, np.float32(noise), level)
    )
    module.get_function("colour_planes")(blocks, threads, (mosaic, green, out, *size, level))
    return out


def convolve_separable(image: Array, kernel: Sequence[float]) -> Array:
    """cupyx.scipy.ndimage.correlate1d along both axes."""
    import cupy
    from cupyx.scipy import ndimage

    taps = cupy.asarray(kernel, dtype=cupy.float32)
    rows = ndimage.correlate1d(image, taps, axis=1, mode="mirror")
    return ndimage.correlate1d(rows, taps, axis=0, mode="mirror")


def box_mean(image: Array, radius_px: int) -> Array:
    """cupyx.scipy.ndimage.uniform_filter1d along both axes."""
    from cupyx.scipy import ndimage

    rows = ndimage.uniform_filter1d(image, 2 * radius_px + 1, axis=1, mode="mirror")
    return ndimage.uniform_filter1d(rows, 2 * radius_px + 1, axis=0, mode="mirror")


def maximum3(image: Array) -> Array:
    """cupyx.scipy.ndimage.maximum_filter."""
    from cupyx.scipy import ndimage

    size = (3, 3) + (1,) * (image.ndim - 2)
    return ndimage.maximum_filter(image, size=size, mode="mirror")
