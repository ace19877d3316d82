"""Large brightness is compressed by the stated share; details, colours and a plain sky stay."""

from __future__ import annotations

import array_api_strict as xp
import numpy as np
import pytest

from allsky360.imaging.filters.filter import Conditions
from allsky360.imaging.filters.tone_map import tone_map


def dome(peak: float = 20.0, size: int = 480) -> np.ndarray:
    """Sky 1 with a glow of ``peak`` at the lower edge."""
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    sky = 1.0 + (peak - 1.0) * np.exp(-((1.0 - y) ** 2) / 0.05)
    return np.repeat(np.broadcast_to(sky, (size, size))[..., None], 3, axis=2).astype(np.float32)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_glow_loses_the_stated_share_of_its_log(share: float) -> None:
    image = dome()
    out = tone_map(image, highlights=share)
    row = 470
    assert np.log(out[row, 240, 1]) / np.log(image[row, 240, 1]) == pytest.approx(
        1.0 - share, abs=0.05
    )
    np.testing.assert_allclose(out[20, 240], image[20, 240], rtol=0.02)


def test_details_on_the_glow_keep_their_contrast() -> None:
    image = dome()
    rng = np.random.default_rng(0)
    texture = 1.0 + 0.1 * rng.standard_normal(image.shape[:2]).astype(np.float32)
    out = tone_map(image * texture[..., None], highlights=0.5)
    part = (slice(440, 475), slice(100, 380), 1)
    flat = tone_map(image, highlights=0.5)
    assert np.std(out[part] / flat[part]) == pytest.approx(0.1, rel=0.15)


def test_shadows_are_lifted() -> None:
    image = np.ones((320, 320, 3), np.float32)
    image[256:] = 0.2
    out = tone_map(image, highlights=0.0, shadows=0.5)
    assert out[310, 160, 1] == pytest.approx(0.2**0.5, rel=0.15)
    assert out[20, 160, 1] == pytest.approx(1.0, rel=0.02)


def test_what_the_camera_saturates_at_stays_white() -> None:
    image = np.ones((320, 320, 3), np.float32)
    image[64:256, 64:256] = 50.0
    out = tone_map(image, highlights=0.4, conditions=Conditions(saturation=50.0))
    np.testing.assert_allclose(out[150:170, 150:170], 50.0, rtol=0.01)
    glow = dome()
    far = Conditions(saturation=1e4)
    np.testing.assert_allclose(tone_map(glow, conditions=far), tone_map(glow), rtol=1e-5)


def test_identity_grey_mask_and_nonsense() -> None:
    image = dome()
    assert tone_map(image, highlights=0.0, shadows=0.0) is image
    out = tone_map(image)
    np.testing.assert_array_equal(out[..., 0], out[..., 2])
    mask = np.ones(image.shape[:2], bool)
    mask[:, 300:] = False
    spoiled = image.copy()
    spoiled[:, 300:] = np.nan
    inside = (slice(None), slice(0, 300))
    np.testing.assert_array_equal(
        tone_map(image, mask=mask)[inside], tone_map(spoiled, mask=mask)[inside]
    )
    assert tone_map(image[..., :1]).shape == (480, 480, 1)
    with pytest.raises(ValueError, match="highlights"):
        tone_map(image, highlights=2.0)
    with pytest.raises(ValueError, match="radius_px"):
        tone_map(image, radius_px=2.0)


def test_devices_agree() -> None:
    image = dome(size=160)
    there = tone_map(xp.asarray(image, device=xp.Device("device1")))
    host = np.asarray(there.to_device(xp.Device("CPU_DEVICE")))
    np.testing.assert_allclose(host, tone_map(image), rtol=2e-3, atol=1e-4)
