"""The sky continued past its mask: smooth, blind to the outside, nothing inside touched."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from allsky360.imaging.filters.extend import extend_outward


def circle(height: int, width: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2


def ramp(height: int, width: int, channels: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plane = 1.0 + 0.01 * x - 0.004 * y
    return np.stack([plane * (1 + 0.5 * c) for c in range(channels)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("size", [(200, 301), (137, 150), (9, 5), (8, 16), (1, 40), (70, 3)])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_nothing_inside_changes_and_the_outside_is_never_read(size, channels):
    h, w = size
    image = np.random.default_rng(1).normal(1, 0.3, (h, w, max(channels, 1))).astype(np.float32)
    image = image[..., 0] if channels == 0 else image
    mask = circle(h, w, 0.4 * max(h, w)) & (np.random.default_rng(2).random((h, w)) < 0.9)
    poisoned = np.where(mask.reshape(mask.shape + (1,) * (image.ndim - 2)), image, np.nan)
    before = poisoned.astype(np.float32).copy()
    out = extend_outward(before, mask)
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert np.array_equal(before, poisoned, equal_nan=True)
    assert np.array_equal(out[mask], image[mask])
    assert np.array_equal(out, extend_outward(image, mask))
    assert np.isfinite(out).all()
    assert out.min() >= image[mask].min() - 1e-5
    assert out.max() <= image[mask].max() + 1e-5


def test_flat_sky_stays_flat_far_out():
    image = np.full((300, 420, 3), (0.2, 0.5, 0.9), np.float32)
    out = extend_outward(image, circle(300, 420, 90))
    assert np.abs(out - image).max() < 1e-6


def test_goes_on_where_the_sky_ended():
    """At the edge the continuation must not jump: a slope is met to some pixels' worth of it."""
    image, mask = ramp(400, 600, 3), circle(400, 600, 150)
    out = extend_outward(np.where(mask[..., None], image, -50.0).astype(np.float32), mask)
    near = circle(400, 600, 155) & ~mask
    slope = 0.01 * np.array([1, 1.5, 2.0])
    apart = np.abs(out - image)[near] / slope
    assert np.sqrt(np.mean(apart**2)) < 5
    assert apart.max() < 20
    # No step anywhere: neighbours differ by no more than a few pixels of slope.
    assert (np.abs(np.diff(out, axis=1)) / slope).max() < 8


def test_one_lit_pixel_fills_the_picture():
    image, mask = np.zeros((64, 80), np.float32), np.zeros((64, 80), bool)
    image[13, 70], mask[13, 70] = 3.0, True
    assert np.allclose(extend_outward(image, mask), 3.0)


def test_without_a_mask_the_image_itself_comes_back():
    image = ramp(40, 50, 3)
    assert extend_outward(image, None) is image
    assert extend_outward(image, np.ones((40, 50), bool)) is image


def test_nothing_inside_gives_zeros():
    image = np.full((40, 50), np.nan, np.float32)
    assert not extend_outward(image, np.zeros((40, 50), bool)).any()


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"mask is 50x40, the image 50x41"):
        extend_outward(np.zeros((41, 50), np.float32), np.ones((40, 50), bool))


def test_strided_input_is_read_as_it_stands():
    image, mask = ramp(80, 120, 3), circle(80, 120, 30)
    whole = extend_outward(image[::2, ::2, ::-1], mask[::2, ::2])
    assert np.array_equal(
        whole, extend_outward(image[::2, ::2, ::-1].copy(), mask[::2, ::2].copy())
    )
    plane = extend_outward(image[..., 1], mask)
    assert np.allclose(plane, extend_outward(image, mask)[..., 1], atol=2e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_same_on_a_device(channels):
    """array-api-strict's second device raises on any hidden copy to the host."""
    device = array_api_strict.Device("device1")
    image, mask = ramp(101, 150, channels), circle(101, 150, 40)
    there = extend_outward(
        array_api_strict.asarray(image, device=device),
        array_api_strict.asarray(mask, device=device),
    )
    assert there.device == device
    back = np.asarray(there.to_device(array_api_strict.Device("CPU_DEVICE")))
    assert np.abs(back - extend_outward(image, mask)).max() < 2e-6


@pytest.mark.gpu
def test_same_on_the_gpu():
    cupy = pytest.importorskip("cupy")
    image, mask = ramp(101, 150, 3), circle(101, 150, 40)
    there = extend_outward(cupy.asarray(image), cupy.asarray(mask))
    assert np.abs(there.get() - extend_outward(image, mask)).max() < 2e-6
