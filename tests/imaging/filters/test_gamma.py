"""A power on luminance; black, white, hue and gamut stay."""

from __future__ import annotations

import array_api_strict as xp
import numpy as np
import pytest

from allsky360.arrays.luminance import bend_luminance, luminance
from allsky360.imaging.filters.gamma import gamma


def ramp(channels: int = 3) -> np.ndarray:
    grey = np.linspace(0, 1, 1000, dtype=np.float32)[None, :, None]
    return np.repeat(grey, channels, axis=2)


@pytest.mark.parametrize("value", [0.5, 0.9, 1.1, 2.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_follows_the_power(value: float, channels: int) -> None:
    out = gamma(ramp(channels), value=value)
    expected = ramp(channels) ** (1 / value)
    clear = ramp(channels) > 2e-3
    np.testing.assert_allclose(out[clear], expected[clear], atol=2e-3)
    assert out[0, 0, 0] == 0
    if channels == 3:
        np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_hue_and_gamut_are_kept() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (30, 40, 3)).astype(np.float32)
    out = gamma(image, value=2.0)
    assert out.max() <= 1.0 + 1e-6
    ratios = out / image
    assert np.ptp(ratios, axis=-1).max() < 1e-4
    assert (luminance(out) >= luminance(image) - 1e-6).all()


def test_identity_and_nonsense() -> None:
    image = ramp()
    assert gamma(image, value=1.0) is image
    with pytest.raises(ValueError, match="value"):
        gamma(image, value=0.0)


def test_devices_agree() -> None:
    image = np.random.default_rng(1).uniform(0, 1, (30, 40, 3)).astype(np.float32)
    there = bend_luminance(xp.asarray(image, device=xp.Device("device1")), 0.7)
    host = np.asarray(there.to_device(xp.Device("CPU_DEVICE")))
    np.testing.assert_allclose(host, bend_luminance(image, 0.7), atol=1e-3)
