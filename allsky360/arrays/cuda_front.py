"""CuPy bodies of what happens before demosaicing: defects, motion, merge. One kernel each.

Checked without a GPU as told in :mod:`allsky360.arrays.cuda`; what they compute is defined in
:mod:`allsky360.arrays.generic` under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from allsky360.arrays.generic import FLOOR, OPEN, SHORTEST_FLOOR, SLACK, SPILL

Array = Any

SOURCE = r"""
// Index mirrored about the edge samples, any distance away.
__device__ __forceinline__ int mirrored(int i, int n) {
    if (i >= 0 && i < n) return i;
    if (n == 1) return 0;
    int period = 2 * (n - 1);
    i = (i < 0 ? -i : i) % period;
    return i < n ? i : period - i;
}

#define PIXEL(j, i) p[(long long)mirrored((j), h) * w + mirrored((i), w)]

// Isolated outliers become the middle of their eight like-coloured neighbours.
extern "C" __global__ void repair(
    const float* p, float* out, int* count, int h, int w, float sigmas, float read_var, float shot,
    float spill)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    long long o = (long long)y * w + x;
    float v = p[o], like[8];
    int n = 0;
    for (int j = -2; j <= 2; j += 2)
        for (int i = -2; i <= 2; i += 2)
            if (i != 0 || j != 0) {
                float next = PIXEL(y + j, x + i);
                int k = n++;
                for (; k > 0 && like[k - 1] > next; --k) like[k] = like[k - 1];
                like[k] = next;
            }
    float low = like[0], high = like[7], middle = 0.5f * (like[3] + like[4]);
    bool hot = v > high + sigmas * sqrtf(read_var + shot * fmaxf(high, 0.0f));
    bool cold = v < low - sigmas * sqrtf(read_var + shot * fmaxf(low, 0.0f));
    if (hot || cold) {
        float adjacent = 0.25f * (PIXEL(y, x - 1) + PIXEL(y, x + 1) + PIXEL(y - 1, x)
                                  + PIXEL(y + 1, x));
        float around = 0.125f * (PIXEL(y - 2, x - 1) + PIXEL(y + 2, x - 1) + PIXEL(y - 2, x + 1)
                                 + PIXEL(y + 2, x + 1) + PIXEL(y - 1, x - 2) + PIXEL(y - 1, x + 2)
                                 + PIXEL(y + 1, x - 2) + PIXEL(y + 1, x + 2));
        float light = adjacent - around, limit = spill * (v - middle);
        if ((hot && light < limit) || (cold && light > limit)) {
            v = middle;
            atomicAdd(count, 1);
        }
    }
    out[o] = v;
}

// Sums over one block a thread; numbers = 1 / ratio of each exposure, then its open limit.
extern "C" __global__ void block_sums(
    const float* const* values, int count, const float* numbers, int h, int w, int size,
    int channels, float slack, float* out, int tall, int wide)
{
    int bx = blockIdx.x * blockDim.x + threadIdx.x;
    int by = blockIdx.y * blockDim.y + threadIdx.y;
    if (bx >= wide || by >= tall) return;
    const float* limits = numbers + count;
    int step = channels == 1 ? 2 : 1;
    long long plane = (long long)tall * wide, o = (long long)by * wide + bx;
    for (int k = 1; k < count; ++k) {
        float apart = 0.0f, level = 0.0f, change = 0.0f;
        for (int y = by * size; y < min((by + 1) * size, h); ++y)
            for (int x = bx * size; x < min((bx + 1) * size, w); ++x)
                for (int c = 0; c < channels; ++c) {
                    float reference[2];
                    bool closed = false;
                    for (int far = 0; far < 2; ++far) {
                        int xx = x + far * step;
                        if (xx >= w) { reference[far] = reference[0]; continue; }
                        long long i = ((long long)y * w + xx) * channels + c;
                        float r = values[0][i] * numbers[0];
                        bool shut = values[0][i] >= limits[0];
                        for (int j = 1; j < k && shut; ++j) {
                            r = values[j][i] * numbers[j];
                            shut = values[j][i] >= limits[j];
                        }
                        reference[far] = r;
                        if (far == 0) closed = shut;
                    }
                    float r = reference[0];
                    float v = values[k][((long long)y * w + x) * channels + c] * numbers[k];
                    apart += closed ? fminf(v - slack * r, 0.0f) : v - r;
                    level += fmaxf(r, 0.0f);
                    change += fabsf(reference[1] - r);
                }
        out[(k - 1) * plane + o] = apart;
        out[(count - 1 + k - 1) * plane + o] = level;
        out[(2 * (count - 1) + k - 1) * plane + o] = change;
    }
}

// numbers = ratio of each exposure, 1 / full, floor of its trust.
extern "C" __global__ void merge(
    const float* const* values, int count, const float* numbers, int h, int w, int channels,
    float read_var, float shot, float knee, float steep, const float* keep, int size, int tall,
    int wide, float slack, float scale, float* out, unsigned char* clipped)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    const float *ratios = numbers, *inverse = numbers + count, *floors = numbers + 2 * count;
    float py = fminf(fmaxf((y + 0.5f) / size - 0.5f, 0.0f), (float)max(tall - 1, 0));
    float px = fminf(fmaxf((x + 0.5f) / size - 0.5f, 0.0f), (float)max(wide - 1, 0));
    int y0 = min((int)py, max(tall - 2, 0)), x0 = min((int)px, max(wide - 2, 0));
    int y1 = min(y0 + 1, tall - 1), x1 = min(x0 + 1, wide - 1);
    float fy = py - y0, fx = px - x0;
    for (int c = 0; c < channels; ++c) {
        long long o = ((long long)y * w + x) * channels + c;
        float trust[16], light = 0.0f, time = 0.0f, cover = 0.0f, bound = 0.0f, seen = 0.0f;
        for (int k = 0; k < count; ++k) {
            const float* p = values[k];
            float peak = p[o];
            if (channels == 1) {
                for (int j = -1; j <= 1; ++j)
                    for (int i = -1; i <= 1; ++i) peak = fmaxf(peak, PIXEL(y + j, x + i));
            } else {
                for (int i = 0; i < channels; ++i) peak = fmaxf(peak, p[o - c + i]);
            }
            float t = fminf(fmaxf((peak * inverse[k] - knee) * steep, 0.0f), 1.0f);
            float s = 1.0f - t * t * (3.0f - 2.0f * t), part = 1.0f, v = p[o];
            if (keep) {
                const float* map = keep + (long long)k * tall * wide;
                float a = map[y0 * wide + x0], b = map[y0 * wide + x1];
                float d = map[y1 * wide + x0], e = map[y1 * wide + x1];
                a += fy * (d - a);
                b += fy * (e - b);
                bool enough = v / ratios[k] >= slack * bound && seen < 0.5f;
                part = enough ? 1.0f : a + fx * (b - a);
            }
            cover = fmaxf(cover, part * s);
            trust[k] = part * fmaxf(s, floors[k]);
            bound = fmaxf(bound, v / ratios[k]);
            seen = fmaxf(seen, trust[k]);
            light += trust[k] * v;
            time += trust[k] * ratios[k];
        }
        clipped[o] = (unsigned char)(255.0f * (1.0f - cover) + 0.5f);
        if (count == 1) { out[o] = values[0][o] * (scale / ratios[0]); continue; }
        float first = fmaxf(light / time, 0.0f), total = 0.0f, weight = 0.0f;
        for (int k = 0; k < count; ++k) {
            float one = trust[k] * ratios[k] / (read_var + shot * ratios[k] * first);
            total += one * values[k][o];
            weight += one * ratios[k];
        }
        out[o] = scale * total / weight;
    }
}
"""
"""CUDA C: a thread a pixel (``repair``, ``merge``) or a block (``block_sums``)."""

MOST = 16
"""Exposures the merge kernel has room for."""


@cache
def _kernels() -> Any:
    import cupy

    return cupy.RawModule(code=SOURCE)


def _grid(h: int, w: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((w + 31) // 32, (h + 7) // 8), (32, 8)


def _planes(values: Sequence[Array]) -> tuple[list[Array], Array]:
    """Contiguous planes (to be kept alive) and their addresses on the device."""
    import cupy

    planes = [cupy.ascontiguousarray(v, dtype=cupy.float32) for v in values]
    return planes, cupy.asarray([p.data.ptr for p in planes], dtype=cupy.uint64)


def repair_isolated(
    mosaic: Array, sigmas: float, read_var: float, shot: float, in_place: bool
) -> tuple[Array, Array]:
    """One thread a pixel; always a new array."""
    import cupy

    mosaic = cupy.ascontiguousarray(mosaic, dtype=cupy.float32)
    h, w = mosaic.shape
    out, count = cupy.empty_like(mosaic), cupy.zeros((), dtype=cupy.int32)
    numbers = (np.float32(v) for v in (sigmas, read_var, shot, SPILL))
    blocks, threads = _grid(h, w)
    _kernels().get_function("repair")(
        blocks, threads, (mosaic, out, count, np.int32(h), np.int32(w), *numbers)
    )
    return out, count


def block_differences(
    values: Sequence[Array], ratios: Sequence[float], full: Sequence[float], size: int
) -> tuple[Array, Array, Array]:
    """One thread a block."""
    import cupy

    planes, addresses = _planes(values)
    h, w = planes[0].shape[:2]
    tall, wide, count = -(-h // size), -(-w // size), len(planes)
    numbers = cupy.asarray([1.0 / r for r in ratios] + [OPEN * f for f in full], cupy.float32)
    out = cupy.empty((3, count - 1, tall, wide), dtype=cupy.float32)
    blocks, threads = _grid(tall, wide)
    channels = planes[0].size // (h * w)
    _kernels().get_function("block_sums")(
        blocks,
        threads,
        (addresses, np.int32(count), numbers, np.int32(h), np.int32(w), np.int32(size),
         np.int32(channels), np.float32(SLACK), out, np.int32(tall), np.int32(wide)),
    )  # fmt: skip
    return out[0], out[1], out[2]


def merge_weighted(
    values: Sequence[Array],
    ratios: Sequence[float],
    full: Sequence[float],
    read_var: float,
    shot: float,
    knee: tuple[float, float],
    keep: Array | None,
    size: int,
    scale: float,
) -> tuple[Array, Array]:
    """One thread a pixel reads every exposure once."""
    import cupy

    if len(values) > MOST:
        raise ValueError(f"a bracket of {len(values)} exposures is more than {MOST}")
    planes, addresses = _planes(values)
    h, w = planes[0].shape[:2]
    floors = [FLOOR] * len(ratios)
    floors[int(np.argmin(ratios))] = SHORTEST_FLOOR
    numbers = cupy.asarray([*ratios, *(1.0 / f for f in full), *floors], dtype=cupy.float32)
    out = cupy.empty(planes[0].shape, dtype=cupy.float32)
    clipped = cupy.empty(planes[0].shape, dtype=cupy.uint8)
    maps = None if keep is None else cupy.ascontiguousarray(keep, dtype=cupy.float32)
    tall, wide = (1, 1) if maps is None else maps.shape[1:]
    blocks, threads = _grid(h, w)
    _kernels().get_function("merge")(
        blocks,
        threads,
        (addresses, np.int32(len(planes)), numbers, np.int32(h), np.int32(w),
         np.int32(planes[0].size // (h * w)), np.float32(read_var), np.float32(shot),
         np.float32(knee[0]), np.float32(1.0 / (knee[1] - knee[0])),
         np.uint64(0) if maps is None else maps, np.int32(size), np.int32(tall), np.int32(wide),
         np.float32(SLACK), np.float32(scale), out, clipped),
    )  # fmt: skip
    return out, clipped
