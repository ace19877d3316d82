"""Primitives: NumPy bodies against the generic ones, and those on a device that refuses copies."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import cpu, generic

DEVICE = array_api_strict.Device("device1")
PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def away(array: Any) -> Any:
    """The array on array-api-strict's second device, where a hidden host copy raises."""
    return array_api_strict.asarray(np.asarray(array), device=DEVICE)


def mosaic(rng: np.random.Generator, h: int = 40, w: int = 55) -> np.ndarray:
    image = rng.normal(100, 5, (h, w)).astype(np.float32)
    image[10, 10] = 1000
    image[20, 20:22] = 900, 500
    image[19, 20] = image[21, 20] = 500
    image[3, 30] = -300
    return image


def test_the_second_device_refuses_hidden_copies() -> None:
    with pytest.raises((RuntimeError, TypeError)):
        np.asarray(away(np.ones(3)))


@pytest.mark.parametrize("method", ["edge-aware", "bilinear"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(40, 54), (41, 55), (4, 4), (5, 7)])
def test_demosaic_bodies_agree(
    rng: np.random.Generator, pattern: str, method: str, shape: tuple[int, int]
) -> None:
    image = rng.normal(100, 20, shape).astype(np.float32)
    image[2, 2] = 600
    keywords: dict[str, Any] = {"method": method, "noise": 5.0, "clip": 500.0}
    ours = arrays.demosaic(image, pattern, **keywords)
    theirs = arrays.demosaic(away(image), pattern, **keywords)
    assert ours.shape == (*shape, 3)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=1e-3)


def test_repair_bodies_agree(rng: np.random.Generator) -> None:
    image = mosaic(rng)
    keywords = {"sigmas": 8.0, "read_var": 25.0, "shot": 0.01}
    ours, count = arrays.repair_isolated(image, **keywords)
    theirs, other = arrays.repair_isolated(away(image), **keywords)
    np.testing.assert_array_equal(ours, arrays.to_host(theirs))
    assert int(count) == int(other) == 2
    assert abs(ours[10, 10] - 100) < 20
    assert abs(ours[3, 30] - 100) < 20
    assert ours[20, 20] == 900  # its light spills over: a star


@pytest.mark.parametrize("ratios", [(1.0,), (1.0, 0.25), (1.0, 0.25, 0.0625, 0.015625)])
def test_merge_bodies_agree(rng: np.random.Generator, ratios: tuple[float, ...]) -> None:
    truth = 10.0 ** rng.uniform(0, 6, (30, 31))
    values = [np.minimum(truth * r, 5000).astype(np.float32) for r in ratios]
    keywords: dict[str, Any] = {
        "full": [5000.0] * len(ratios),
        "read_var": 9.0,
        "shot": 0.8,
        "knee": (0.9, 0.98),
    }
    ours, clipped = arrays.merge_weighted(values, ratios, **keywords)
    moved = [away(v) for v in values]
    theirs, other = arrays.merge_weighted(moved, ratios, **keywords)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), rtol=1e-4)
    np.testing.assert_allclose(clipped, arrays.to_host(other), atol=1)
    assert clipped[truth * ratios[-1] > 5000].min() == 255
    brightest = cpu.maximum3(truth.astype(np.float32))
    assert clipped[brightest * ratios[-1] < 4000].max() == 0


@pytest.mark.parametrize("shape", [(70, 81), (70, 81, 3), (131, 16), (5, 7)])
def test_bodies_agree_on_what_moved(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    ratios, full = (1.0, 0.3, 0.05), [5000.0, 5000.0, 4000.0]
    truth = 10.0 ** rng.uniform(0, 5.5, shape)
    values = [
        np.minimum(truth * r * rng.uniform(0.5, 1.5, shape), f).astype(np.float32)
        for r, f in zip(ratios, full, strict=True)
    ]
    moved = [away(v) for v in values]
    ours = arrays.block_differences(values, ratios, full=full, size=8)
    theirs = arrays.block_differences(moved, ratios, full=full, size=8)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == (2, -(-shape[0] // 8), -(-shape[1] // 8))
        np.testing.assert_allclose(a, arrays.to_host(b), rtol=1e-4, atol=1.0)
    keep = rng.choice(np.float32([0, 0.3, 1, 1, 1]), (3, *ours[0].shape[1:]))
    keep[0] = 1.0
    keywords: dict[str, Any] = {
        "full": full, "read_var": 9.0, "shot": 0.8, "knee": (0.9, 0.98), "scale": 1 / 5000,
    }  # fmt: skip
    mine, clipped = arrays.merge_weighted(values, ratios, keep=keep, size=8, **keywords)
    other, flags = arrays.merge_weighted(moved, ratios, keep=away(keep), size=8, **keywords)
    assert mine.shape == shape
    np.testing.assert_allclose(mine, arrays.to_host(other), rtol=2e-4)
    np.testing.assert_allclose(clipped, arrays.to_host(flags), atol=1)


CASES: list[tuple[str, tuple[Any, ...]]] = [
    ("median3", (1,)),
    ("median3", (2,)),
    ("maximum3", ()),
    ("block_mean", (4,)),
    ("box_mean", (2,)),
    ("pyramid_down", ()),
    ("convolve_separable", ([0.1, 0.2, 0.4, 0.2, 0.1],)),
]


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_filter_bodies_agree(
    rng: np.random.Generator, name: str, arguments: tuple[Any, ...], channels: int
) -> None:
    shape = (21, 30, channels) if channels else (21, 30)
    image = rng.normal(1, 0.3, shape).astype(np.float32)
    ours = getattr(cpu, name)(image, *arguments)
    theirs = getattr(generic, name)(away(image), *arguments)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)


@pytest.mark.parametrize("shape", [(42, 60), (41, 59)])
def test_pyramid_up_bodies_agree(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    image = rng.normal(1, 0.3, (21, 30)).astype(np.float32)
    ours = arrays.pyramid_up(image, shape)
    theirs = arrays.pyramid_up(away(image), shape)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)
    with pytest.raises(ValueError, match="does not double"):
        arrays.pyramid_up(image, (50, 60))


def test_remap_bodies_agree(rng: np.random.Generator) -> None:
    image = rng.normal(1, 0.3, (40, 54, 3)).astype(np.float32)
    x, y = np.meshgrid(np.linspace(-2, 56, 30), np.linspace(-2, 42, 20))
    # OpenCV rounds positions to 1/32 px.
    x, y = ((np.round(v * 32) / 32).astype(np.float32) for v in (x, y))
    ours = arrays.remap(image, x, y)
    theirs = arrays.remap(away(image), away(x), away(y))
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=1e-5)


def test_gaussian_keeps_a_constant_and_its_width(rng: np.random.Generator) -> None:
    flat = np.full((40, 40), 3.0, dtype=np.float32)
    np.testing.assert_allclose(arrays.gaussian(flat, 2.0), 3.0, rtol=1e-6)
    point = np.zeros((61, 61), dtype=np.float32)
    point[30, 30] = 1.0
    blurred = arrays.gaussian(point, 3.0)
    rows = np.arange(61) - 30
    assert np.sum(blurred.sum(axis=1) * rows**2) == pytest.approx(9.0, rel=0.02)
    assert arrays.gaussian(flat, 0.0) is flat
    assert arrays.box_mean(flat, 0) is flat
    assert arrays.block_mean(flat, 1) is flat


def test_wrong_requests_are_named() -> None:
    image = np.zeros((8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="odd number of taps"):
        arrays.convolve_separable(image, [0.5, 0.5])
    with pytest.raises(ValueError, match="do not fit"):
        arrays.block_mean(image, 16)


def test_moving_between_host_and_device() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert arrays.to_device(image, "numpy") is image
    assert arrays.to_host(image) is image
    np.testing.assert_array_equal(arrays.to_host(away(image)), image)


def test_the_cuda_probe_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    monkeypatch.setitem(sys.modules, "cupy", None)
    assert arrays.cuda_available() is False
    assert arrays.best_backend() == "numpy"

    def broken() -> bool:
        raise RuntimeError("driver and library do not match")

    fake = types.ModuleType("cupy")
    fake.cuda = types.SimpleNamespace(is_available=broken)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert arrays.cuda_available() is False
    fake.cuda.is_available = lambda: True
    assert arrays.best_backend() == "cupy"


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_cupy_demosaic_agrees(rng: np.random.Generator, pattern: str) -> None:
    image = mosaic(rng)
    keywords: dict[str, Any] = {"method": "edge-aware", "noise": 5.0, "clip": 500.0}
    ours = arrays.demosaic(image, pattern, **keywords)
    theirs = arrays.demosaic(arrays.to_device(image, "cupy"), pattern, **keywords)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_cupy_filters_agree(
    rng: np.random.Generator, name: str, arguments: tuple[Any, ...]
) -> None:
    image = rng.normal(1, 0.3, (41, 60)).astype(np.float32)
    ours = arrays._body(image, name)(image, *arguments)
    moved = arrays.to_device(image, "cupy")
    theirs = arrays._body(moved, name)(moved, *arguments)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(70, 81), (70, 81, 3)])
def test_cupy_front_end_agrees(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    ratios, full = (1.0, 0.3, 0.05), [5000.0, 5000.0, 4000.0]
    truth = 10.0 ** rng.uniform(0, 5.5, shape)
    values = [
        np.minimum(truth * r, f).astype(np.float32) for r, f in zip(ratios, full, strict=True)
    ]
    moved = [arrays.to_device(v, "cupy") for v in values]
    ours = arrays.block_differences(values, ratios, full=full, size=8)
    theirs = arrays.block_differences(moved, ratios, full=full, size=8)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, arrays.to_host(b), rtol=2e-4, atol=1.0)
    keywords: dict[str, Any] = {"full": full, "read_var": 9.0, "shot": 0.8, "knee": (0.9, 0.98)}
    keep = np.ones((3, *ours[0].shape[1:]), np.float32)
    keep[1:, 2:4, 3:6] = 0.2
    mine, clipped = arrays.merge_weighted(values, ratios, keep=keep, **keywords)
    other, flags = arrays.merge_weighted(
        moved, ratios, keep=arrays.to_device(keep, "cupy"), **keywords
    )
    np.testing.assert_allclose(mine, arrays.to_host(other), rtol=5e-4)
    np.testing.assert_allclose(clipped, arrays.to_host(flags), atol=1)
    if len(shape) == 2:
        image = mosaic(rng)
        given = {"sigmas": 8.0, "read_var": 25.0, "shot": 0.01}
        repaired, count = arrays.repair_isolated(image, **given)
        found, number = arrays.repair_isolated(arrays.to_device(image, "cupy"), **given)
        np.testing.assert_allclose(repaired, arrays.to_host(found), rtol=1e-6)
        assert int(count) == int(number)
