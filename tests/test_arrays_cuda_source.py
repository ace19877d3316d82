"""The CUDA source, compiled as C++ for the host, against the NumPy bodies.

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
from allsky360.arrays.cuda import SOURCE

SHIM = r"""
#include <cmath>
#define __device__
#define __global__
#define __forceinline__ inline
struct Index { int x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0};
"""

DRIVER = r"""
extern "C" void run(const float* p, float* scratch, float* out, int h, int w, int ry, int rx,
                    float noise, float clip, float red, float blue) {
    float *along = scratch, *across = scratch + h * w, *d = scratch + 2 * h * w;
    // One pixel more than the image on each axis: threads beyond the edge must do nothing.
    for (int pass = 0; pass < 3; ++pass)
        for (blockIdx.y = 0; blockIdx.y <= h; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x <= w; ++blockIdx.x) {
                if (pass == 0)
                    line_differences(p, along, across, h, w, ry, rx, red, blue);
                else if (pass == 1)
                    colour_differences(
                        p, along, across, d, h, w, ry, rx, noise, clip, red, blue);
                else
                    colour_planes(p, d, out, h, w, ry, rx, clip, red, blue);
            }
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


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("shape", [(40, 54), (33, 35), (4, 4)])
def test_demosaic_kernels_agree(kernels: ctypes.CDLL, pattern: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(100, 20, shape).astype(np.float32)
    image[2, 2] = 600
    if min(shape) > 20:  # plain, near and untouched neighbourhoods side by side
        image[10:13, 20:24] = 700
    h, w = shape
    scratch = np.full((3, h, w), np.nan, dtype=np.float32)
    out = np.full((h, w, 3), np.nan, dtype=np.float32)
    ry, rx = divmod(pattern.index("R"), 2)

    def pointer(a: np.ndarray) -> ctypes.c_void_p:
        return a.ctypes.data_as(ctypes.c_void_p)

    kernels.run(
        pointer(image), pointer(scratch), pointer(out), h, w, ry, rx,
        *(ctypes.c_float(v) for v in (5.0, 500.0, 1.4, 1.7)),
    )  # fmt: skip
    keywords = {"noise": 5.0, "clip": 500.0, "balance": (1.4, 1.0, 1.7)}
    expected = arrays.demosaic(image, pattern, method="edge-aware", **keywords)
    np.testing.assert_allclose(out, expected, atol=2e-3)
