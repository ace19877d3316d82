"""The CUDA source of the front end, compiled as C++ for the host, against the NumPy bodies.

Proves the arithmetic and the indexing of the kernels; not their launch.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.cuda_front import SOURCE
from allsky360.arrays.generic import FLOOR, OPEN, SHORTEST_FLOOR, SLACK, SPILL

SHIM = r"""
#include <cmath>
#include <algorithm>
using std::max;
using std::min;
#define __device__
#define __global__
#define __forceinline__ inline
struct Index { int x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0};
static void atomicAdd(int* where, int n) { *where += n; }
"""

DRIVER = r"""
// One thread more than needed on each axis: those beyond the edge must do nothing.
#define EACH(h, w) for (blockIdx.y = 0; blockIdx.y <= h; ++blockIdx.y) \
                       for (blockIdx.x = 0; blockIdx.x <= w; ++blockIdx.x)
extern "C" void run_repair(const float* p, float* out, int* count, int h, int w, const float* n) {
    EACH(h, w) repair(p, out, count, h, w, n[0], n[1], n[2], n[3]);
}
extern "C" void run_sums(const float* const* v, int k, const float* numbers, int h, int w, int size,
                         int channels, float slack, float* out, int tall, int wide) {
    EACH(tall, wide) block_sums(v, k, numbers, h, w, size, channels, slack, out, tall, wide);
}
extern "C" void run_merge(const float* const* v, int k, const float* numbers, int h, int w,
                          int channels, const float* n, const float* keep, int size, int tall,
                          int wide, float* out, unsigned char* clipped) {
    EACH(h, w) merge(v, k, numbers, h, w, channels, n[0], n[1], n[2], n[3], keep, size, tall, wide,
                     n[4], n[5], out, clipped);
}
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder: Path = tmp_path_factory.mktemp("cuda")
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(SHIM + SOURCE + DRIVER)
    flags = ["-O1", "-std=c++11", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run(
        [compiler, *flags, "-o", str(library), str(source)], check=True, capture_output=True
    )
    return ctypes.CDLL(str(library))


def pointer(a: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0) if a is None else a.ctypes.data_as(ctypes.c_void_p)


def numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("shape", [(60, 73), (5, 7), (4, 4)])
def test_repair(kernels: ctypes.CDLL, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(1000, 30, shape).astype(np.float32)
    for _ in range(image.size // 60):
        image[rng.integers(shape[0]), rng.integers(shape[1])] += rng.choice([2000, -700])
    out, count = np.full(shape, np.nan, np.float32), np.zeros(1, np.int32)
    kernels.run_repair(
        pointer(image), pointer(out), pointer(count), *shape, pointer(numbers(8, 9, 0.9, SPILL))
    )
    expected, found = arrays.repair_isolated(image, sigmas=8.0, read_var=9.0, shot=0.9)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert count[0] == found


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("shape", [(43, 50), (43, 50, 3), (5, 7)])
def test_merge_and_block_sums(kernels: ctypes.CDLL, shape: tuple[int, ...], count: int) -> None:
    rng = np.random.default_rng(5)
    ratios, full = [1.0, 0.3, 0.05, 0.01][:count], [5000.0, 5000.0, 4000.0, 5000.0][:count]
    truth = 10.0 ** rng.uniform(0, 6, shape)
    values = [
        np.minimum(truth * r * rng.uniform(0.5, 1.5, shape), f).astype(np.float32)
        for r, f in zip(ratios, full, strict=True)
    ]
    table = (ctypes.c_void_p * count)(*(v.ctypes.data for v in values))
    h, w = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    tall, wide = -(-h // 8), -(-w // 8)
    if count > 1:
        sums = np.full((3, count - 1, tall, wide), np.nan, np.float32)
        given = numbers(*(1 / r for r in ratios), *(OPEN * f for f in full))
        kernels.run_sums(
            table, count, pointer(given), h, w, 8, channels, ctypes.c_float(SLACK), pointer(sums),
            tall, wide,
        )  # fmt: skip
        expected = arrays.block_differences(values, ratios, full=full, size=8)
        for ours, theirs in zip(sums, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1.0)
    for keep in (None, rng.choice(np.float32([0, 0.4, 1, 1]), (count, tall, wide))):
        if keep is not None:
            keep[0] = 1.0
        out, clipped = np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint8)
        floors = [FLOOR] * (count - 1) + [SHORTEST_FLOOR]
        given = numbers(*ratios, *(1 / f for f in full), *floors)
        kernels.run_merge(
            table, count, pointer(given), h, w, channels,
            pointer(numbers(9.0, 0.8, 0.9, 1 / 0.08, SLACK, 2e-4)), pointer(keep), 8, tall, wide,
            pointer(out), pointer(clipped),
        )  # fmt: skip
        merged, flags = arrays.merge_weighted(
            values, ratios, full=full, read_var=9.0, shot=0.8, knee=(0.9, 0.98), keep=keep, size=8,
            scale=2e-4,
        )  # fmt: skip
        np.testing.assert_allclose(out, merged, rtol=5e-4)
        np.testing.assert_allclose(clipped, flags, atol=1)
