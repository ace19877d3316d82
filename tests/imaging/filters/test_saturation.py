"""Chroma is scaled; hue, lightness, grey and gamut are kept."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.arrays.oklab import LIGHTNESS, TO_LMS, scale_chroma
from allsky360.imaging.filters.saturation import saturation

A = (1.9779984951, -2.4285922050, 0.4505937099)
B = (0.0259040371, 0.7827717662, -0.8086757660)


def oklab(code: np.ndarray) -> np.ndarray:
    """Oklab of sRGB codes, as its author gives it (float64)."""
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    roots = np.cbrt(light @ np.array(TO_LMS).T)
    return roots @ np.array([LIGHTNESS, A, B]).T


def colours(n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(1)
    grey = rng.uniform(0.25, 0.75, (n, 1))
    return np.clip(grey + rng.uniform(-0.08, 0.08, (n, 3)), 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.5])
def test_chroma_is_scaled_at_constant_lightness_and_hue(amount: float) -> None:
    before, after = oklab(colours()), oklab(saturation(colours(), amount=amount))
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=2e-3)
    chroma = np.hypot(before[..., 1], before[..., 2])
    np.testing.assert_allclose(np.hypot(after[..., 1], after[..., 2]), amount * chroma, atol=4e-3)
    if amount:
        clear = chroma > 0.03
        angle = np.angle(
            (after[..., 1] + 1j * after[..., 2]) / (before[..., 1] + 1j * before[..., 2])
        )
        assert np.abs(angle[clear]).max() < np.radians(6)


def test_grey_stays_grey_and_identity_is_the_input() -> None:
    grey = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], 3, axis=2)
    np.testing.assert_allclose(saturation(grey, amount=3.0), grey, atol=2e-3)
    image = colours()
    assert saturation(image, amount=1.0) is image
    mono = image[..., :1]
    assert saturation(mono, amount=2.0) is mono


def test_result_stays_in_gamut_without_turning_hue() -> None:
    rng = np.random.default_rng(2)
    wild = rng.uniform(0, 1, (1, 20_000, 3)).astype(np.float32)
    result = saturation(wild, amount=4.0)
    assert result.min() >= 0.0
    assert result.max() <= 1.0
    order = np.argmax(wild, axis=-1) == np.argmax(result, axis=-1)
    assert order.mean() > 0.95


def test_wrong_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="amount"):
        saturation(colours(), amount=-1.0)


def test_devices_agree() -> None:
    import array_api_strict as xp

    image = colours()
    there = xp.asarray(image, device=xp.Device("device1"))
    theirs = scale_chroma(there, 1.5)
    host = np.asarray(theirs.to_device(xp.Device("CPU_DEVICE")))
    np.testing.assert_allclose(host, scale_chroma(image, 1.5), atol=3e-3)
