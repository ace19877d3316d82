"""The à trous transform: exact sum, against its kernel, on a second device, and its CUDA source."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import wavelets

DEVICE = array_api_strict.Device("device1")


def away(array: np.ndarray) -> Any:
    return array_api_strict.asarray(array, device=DEVICE)


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(1).normal(1.0, 0.3, (131, 90)).astype(np.float32)


def reference(plane: np.ndarray, level: int) -> np.ndarray:
    """The 25 taps of the two-dimensional kernel, one by one, in double precision."""
    taps, step = np.array([1, 4, 6, 4, 1]) / 16, 2**level
    h, w = plane.shape
    wide = np.pad(plane.astype(float), 2 * step, mode="reflect")
    return np.asarray(
        sum(
            taps[j] * taps[i] * wide[j * step : j * step + h, i * step : i * step + w]
            for j in range(5)
            for i in range(5)
        )
    )


@pytest.mark.parametrize("level", [0, 1, 3])
def test_smoothing_agrees_with_the_kernel(plane: np.ndarray, level: int) -> None:
    before = plane.copy()
    ours = wavelets.smooth(plane, level)
    np.testing.assert_allclose(ours, reference(plane, level), atol=1e-6)
    np.testing.assert_array_equal(plane, before)
    out = np.empty_like(plane)
    assert wavelets.smooth(plane, level, out=out) is out
    np.testing.assert_array_equal(out, ours)


@pytest.mark.parametrize("shape", [(131, 90), (3, 5), (1, 40), (2, 2)])
def test_bodies_agree_and_the_sum_is_exact(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(2).normal(1.0, 0.3, shape).astype(np.float32)
    details, rest = wavelets.atrous(plane, 4)
    far_details, far_rest = wavelets.atrous(away(plane), 4)
    for ours, theirs in zip([*details, rest], [*far_details, far_rest], strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)
    np.testing.assert_allclose(rest + sum(details), plane, atol=2e-6)
    planes = wavelets.smooths(plane, 4)
    assert planes[0] is plane
    np.testing.assert_array_equal(planes[-1], rest)
    np.testing.assert_array_equal(planes[1] - planes[2], details[1])


def test_a_constant_has_no_detail() -> None:
    details, rest = wavelets.atrous(np.full((70, 80), 3.25, np.float32), 5)
    for detail in details:
        np.testing.assert_array_equal(detail, 0.0)
    np.testing.assert_array_equal(rest, 3.25)


def test_noise_of_each_scale() -> None:
    noise = np.random.default_rng(3).normal(0.0, 1.0, (700, 700)).astype(np.float32)
    details, _ = wavelets.atrous(noise, 4)
    measured = [float(np.std(d)) for d in details]
    np.testing.assert_allclose(measured, wavelets.white_noise_sigmas(4), rtol=0.02)


def test_out_on_the_second_device(plane: np.ndarray) -> None:
    out = away(np.zeros_like(plane))
    wavelets.smooth(away(plane), 1, out=out)
    np.testing.assert_allclose(arrays.to_host(out), wavelets.smooth(plane, 1), atol=2e-6)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ValueError, match="one plane"):
        wavelets.atrous(np.zeros((4, 4, 3), np.float32), 2)
    with pytest.raises(ValueError, match="scales must be"):
        wavelets.atrous(np.zeros((4, 4), np.float32), 0)


SHIM = r"""
#define __device__
#define __global__
#define __forceinline__ inline
struct Index { int x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0};
"""

DRIVER = r"""
extern "C" void run(const float* p, float* out, int h, int w, int step, int vertical) {
    for (blockIdx.y = 0; blockIdx.y <= h; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x <= w; ++blockIdx.x)
            spline_taps(p, out, h, w, step, vertical);
}
"""


@pytest.mark.parametrize("shape", [(33, 21), (1, 9), (2, 3)])
def test_the_cuda_source_agrees(tmp_path: Path, shape: tuple[int, int]) -> None:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source, library = tmp_path / "k.cpp", tmp_path / "k.so"
    source.write_text(SHIM + wavelets.CUDA_SOURCE + DRIVER)
    flags = ["-O1", "-std=c++11", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run(
        [compiler, *flags, "-o", str(library), str(source)], check=True, capture_output=True
    )
    run = ctypes.CDLL(str(library)).run
    plane = np.random.default_rng(2).normal(1.0, 0.3, shape).astype(np.float32)
    between, out = np.full_like(plane, np.nan), np.full_like(plane, np.nan)
    for a, b, vertical in ((plane, between, 0), (between, out, 1)):
        run(
            a.ctypes.data_as(ctypes.c_void_p), b.ctypes.data_as(ctypes.c_void_p),
            *shape, 4, vertical,
        )  # fmt: skip
    np.testing.assert_allclose(out, wavelets.smooth(plane, 2), atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees(plane: np.ndarray) -> None:
    details, rest = wavelets.atrous(arrays.to_device(plane, "cupy"), 4)
    for ours, theirs in zip(
        [*wavelets.atrous(plane, 4)[0], wavelets.atrous(plane, 4)[1]], [*details, rest], strict=True
    ):
        np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)
