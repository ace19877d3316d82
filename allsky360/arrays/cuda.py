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

from allsky360.arrays.cuda_front import block_differences as block_differences
from allsky360.arrays.cuda_front import merge_weighted as merge_weighted
from allsky360.arrays.cuda_front import repair_isolated as repair_isolated

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

// Index mirrored any distance away; see fold.
__device__ __forceinline__ int fold_far(int i, int n) {
    if (i >= 0 && i < n) return i;
    if (n == 1) return 0;
    int period = 2 * (n - 1);
    i = (i < 0 ? -i : i) % period;
    return i < n ? i : period - i;
}

// Sample times the gain of its colour. Mirroring keeps the parity, so the gain follows x and y.
__device__ __forceinline__ float sample(
    const float* p, int h, int w, int y, int x, int ry, int rx, float red, float blue)
{
    float v = p[(long long)fold_far(y, h) * w + fold_far(x, w)];
    int row = (y ^ ry) & 1, column = (x ^ rx) & 1;
    if (row != column) return v;
    return v * (row == 0 ? red : blue);
}

#define Q(j, i) sample(p, h, w, (j), (i), ry, rx, red, blue)

// Green less the other colour along a line; negative at green samples.
__device__ __forceinline__ float second(
    const float* p, int h, int w, int y, int x, int dy, int dx, int ry, int rx,
    float red, float blue)
{
    return 0.5f * (Q(y - dy, x - dx) + Q(y + dy, x + dx) - Q(y, x))
         - 0.25f * (Q(y - 2 * dy, x - 2 * dx) + Q(y + 2 * dy, x + 2 * dx));
}

__device__ __forceinline__ float largest(
    const float* p, int h, int w, int y, int x, int reach)
{
    float top = -3.0e38f;
    for (int j = -reach; j <= reach; ++j)
        for (int i = -reach; i <= reach; ++i)
            top = fmaxf(top, p[(long long)fold_far(y + j, h) * w + fold_far(x + i, w)]);
    return top;
}

// The two estimates of green less the other colour at every sample.
extern "C" __global__ void line_differences(
    const float* p, float* along, float* across, int h, int w, int ry, int rx,
    float red, float blue)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    long long i = (long long)y * w + x;
    along[i] = second(p, h, w, y, x, 0, 1, ry, rx, red, blue);
    across[i] = second(p, h, w, y, x, 1, 0, ry, rx, red, blue);
}

// Green less the own colour at red and blue samples, 0 at green ones.
extern "C" __global__ void colour_differences(
    const float* p, const float* along, const float* across, float* d, int h, int w,
    int ry, int rx, float noise, float clip, float red, float blue)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    long long o = (long long)y * w + x;
    int row = (y ^ ry) & 1, column = (x ^ rx) & 1;
    if (row != column) { d[o] = 0.0f; return; }
    float gain = row == 0 ? red : blue, c = p[o];
    float left = Q(y, x - 1), right = Q(y, x + 1), up = Q(y - 1, x), down = Q(y + 1, x);
    float low = fminf(fminf(left, right), fminf(up, down)) - 3.0f * noise - gain * c;
    float result;
    if (largest(p, h, w, y, x, 4) >= clip) {
        float total = 0.0f, weight = 0.0f;
        for (int k = 0; k < 2; ++k) {
            int dy = k, dx = 1 - k;
            float a = Q(y - dy, x - dx), b = Q(y + dy, x + dx);
            float curve = 2.0f * gain * c - Q(y - 2 * dy, x - 2 * dx) - Q(y + 2 * dy, x + 2 * dx);
            float change = fabsf(a - b) + fabsf(curve), top = c;
            for (int s = -2; s <= 2; ++s)
                top = fmaxf(top, p[(long long)fold_far(y + s * dy, h) * w
                                   + fold_far(x + s * dx, w)]);
            if (top >= clip) curve = 0.0f;
            float one = 1.0f / (change * change + 4.0f * noise * noise + 1e-12f);
            total += one * (0.5f * (a + b) + 0.25f * curve);
            weight += one;
        }
        result = total / weight - gain * c;
    } else {
#define E(plane, j, i) plane[(long long)fold_far((j), h) * w + fold_far((i), w)]
        float sh = E(along, y, x - 2) + E(along, y, x + 2) + E(along, y, x)
                 - E(along, y, x - 1) - E(along, y, x + 1);
        float sv = E(across, y - 2, x) + E(across, y + 2, x) + E(across, y, x)
                 - E(across, y - 1, x) - E(across, y + 1, x);
        float uh = 0.0f, uv = 0.0f;
        for (int j = -1; j <= 1; ++j)
            for (int i = -1; i <= 1; ++i) {
                uh += fabsf(E(along, y + j, x + i - 1) - E(along, y + j, x + i + 1));
                uv += fabsf(E(across, y + j - 1, x + i) - E(across, y + j + 1, x + i));
            }
#undef E
        float least = 81.0f * noise * noise + 1e-12f;
        float wh = uv * uv + least, wv = uh * uh + least;
        result = (wh * sh + wv * sv) / (5.0f * (wh + wv));
    }
    d[o] = fmaxf(result, low);
}

// Red and blue from the differences; plain means beside saturated samples.
extern "C" __global__ void colour_planes(
    const float* p, const float* d, float* out, int h, int w, int ry, int rx, float clip,
    float red, float blue)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    long long o = (long long)y * w + x;
    int red_row = ((y ^ ry) & 1) == 0, own = red_row == (((x ^ rx) & 1) == 0);
    float mine = red_row ? red : blue, theirs = red_row ? blue : red;
    int plain = largest(p, h, w, y, x, 2) >= clip;
    const float* t = plain ? p : d;
    float across = 0.5f * (AT(t, y, x - 1) + AT(t, y, x + 1));
    float along = 0.5f * (AT(t, y - 1, x) + AT(t, y + 1, x));
    float corners = 0.25f * (AT(t, y - 1, x - 1) + AT(t, y - 1, x + 1)
                             + AT(t, y + 1, x - 1) + AT(t, y + 1, x + 1));
    float green = own ? p[o] * mine + d[o] : p[o];
    float first = own ? p[o] : (plain ? across : (green - across) / mine);
    float other = own ? corners : along;
    if (plain) {
        // Red may exceed green only as far as blue falls short of it, four times: no purple.
        float f = green + 4.0f * fmaxf(green - other * theirs, 0.0f);
        other = fminf(other, (green + 4.0f * fmaxf(green - first * mine, 0.0f)) / theirs);
        if (!own) first = fminf(first, f / mine);
    } else {
        other = (green - other) / theirs;
    }
    out[3 * o] = red_row ? first : other;
    out[3 * o + 1] = green;
    out[3 * o + 2] = red_row ? other : first;
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


def demosaic(
    mosaic: Array,
    ry: int,
    rx: int,
    method: str,
    noise: float,
    clip: float,
    balance: Sequence[float],
) -> Array:
    """Raw kernels for the edge-aware method; bilinear runs its generic body."""
    import cupy
    import numpy as np

    from allsky360.arrays import generic

    if method == "bilinear":
        return generic.demosaic(mosaic, ry, rx, method, noise, clip, balance)
    mosaic = cupy.ascontiguousarray(mosaic, dtype=cupy.float32)
    h, w = mosaic.shape
    along, across, difference = (cupy.empty((h, w), dtype=cupy.float32) for _ in range(3))
    out = cupy.empty((h, w, 3), dtype=cupy.float32)
    blocks, threads = _grid(h, w)
    size = (np.int32(h), np.int32(w), np.int32(ry), np.int32(rx))
    level, sigma = np.float32(min(clip, 3.0e38)), np.float32(noise)
    gains = np.float32(balance[0] / balance[1]), np.float32(balance[2] / balance[1])
    module = _kernels()
    module.get_function("line_differences")(blocks, threads, (mosaic, along, across, *size, *gains))
    module.get_function("colour_differences")(
        blocks, threads, (mosaic, along, across, difference, *size, sigma, level, *gains)
    )
    module.get_function("colour_planes")(
        blocks, threads, (mosaic, difference, out, *size, level, *gains)
    )
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
