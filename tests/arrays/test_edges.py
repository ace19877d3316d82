"""The guided filter and the local range: against closed forms and plain loops, on both devices."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.edges import guided_self, highest, lowest

DEVICE = array_api_strict.Device("device1")


def away(array: Any) -> Any:
    return array_api_strict.asarray(np.asarray(array), device=DEVICE)


@pytest.mark.parametrize("radius", [0, 1, 4, 7])
def test_local_range_is_that_of_the_window(radius: int) -> None:
    plane = np.random.default_rng(3).normal(0, 1, (23, 31)).astype(np.float32)
    top, bottom = highest(plane, radius), lowest(plane, radius)
    for y in (0, 5, 22):
        for x in (0, 9, 30):
            window = plane[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            assert top[y, x] == window.max()
            assert bottom[y, x] == window.min()
    np.testing.assert_array_equal(arrays.to_host(highest(away(plane), radius)), top)


def test_guided_filter_keeps_an_edge_and_smooths_texture() -> None:
    rng = np.random.default_rng(4)
    plane = np.where(np.arange(80) < 40, 0.2, 0.7)[None].repeat(60, 0).astype(np.float32)
    noisy = plane + rng.normal(0, 0.01, plane.shape).astype(np.float32)
    # By the definition, window by window, on one row of the noiseless edge (all rows are alike).
    row = np.pad(plane[0].astype(float), 16, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(row, 17)
    a = windows.var(axis=1) / (windows.var(axis=1) + 0.1**2)
    b = (1 - a) * windows.mean(axis=1)
    mean = [np.lib.stride_tricks.sliding_window_view(v, 17).mean(axis=1) for v in (a, b)]
    expected = mean[0] * plane[0] + mean[1]
    np.testing.assert_allclose(guided_self(plane, 8, 0.1)[30], expected, atol=1e-5)
    # A fifth of what a box does to the edge.
    assert np.abs(expected - plane[0]).max() < 0.05
    out = guided_self(noisy, 8, 0.1)
    assert out[:, 5:25].std() < 0.15 * noisy[:, 5:25].std()
    # Texture far under the edge level: the box mean of the box mean.
    flat = 0.3 + rng.normal(0, 1e-4, (60, 80)).astype(np.float32)
    twice = arrays.box_mean(arrays.box_mean(flat, 4), 4)
    np.testing.assert_allclose(guided_self(flat, 4, 0.5), twice, atol=2e-6)


def test_guided_filter_bodies_agree() -> None:
    plane = np.random.default_rng(4).uniform(0, 1, (37, 41)).astype(np.float32)
    ours = guided_self(plane, 3, 0.1)
    np.testing.assert_allclose(arrays.to_host(guided_self(away(plane), 3, 0.1)), ours, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees() -> None:
    import cupy

    plane = np.random.default_rng(4).uniform(0, 1, (37, 41)).astype(np.float32)
    np.testing.assert_array_equal(highest(cupy.asarray(plane), 3).get(), highest(plane, 3))
    ours = guided_self(plane, 3, 0.1)
    np.testing.assert_allclose(guided_self(cupy.asarray(plane), 3, 0.1).get(), ours, atol=1e-5)
