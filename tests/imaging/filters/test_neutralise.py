"""Background neutralisation: the darkest sky comes out grey, whatever else is in the frame."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.generic import LUMA
from allsky360.imaging.filters.neutralise import measure, neutralise
from tests.imaging.filters.local_helpers import away, circle

H, W = 400, 600
SKY = np.array([0.9, 1.0, 1.4])


def frame() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    image = SKY + rng.normal(0, 0.05, (H, W, 3))
    image[:, 400:] += np.array([1.5, 0.8, 0.2])  # a town
    image[100:140, 100:140] = 0.02  # a tree inside the mask
    return image.astype(np.float32), circle(H, W)


def test_the_darkest_sky_is_grey_at_its_old_luminance() -> None:
    image, mask = frame()
    out = neutralise(image, mask=mask)
    dark = np.median(out[150:250, 150:380], axis=(0, 1))
    assert np.ptp(dark) < 0.01
    assert dark[1] == pytest.approx(float(SKY @ LUMA), abs=0.01)
    # By adding: what stands above the background keeps its colour.
    before = image[200, 450] - SKY
    np.testing.assert_allclose(out[200, 450] - dark, before, atol=0.01)
    assert measure(image, mask=mask)["background"] == pytest.approx(SKY, abs=0.02)


def test_identity_grey_mono_and_outside() -> None:
    image, mask = frame()
    assert neutralise(image, amount=0.0) is image
    grey = np.repeat(image[..., :1], 3, axis=2)
    np.testing.assert_allclose(neutralise(grey, mask=mask), grey, atol=1e-6)
    mono = image[..., :1]
    assert neutralise(mono, mask=mask) is mono
    out = neutralise(image, mask=mask)
    given = image.copy()
    given[~mask] = np.nan
    again = neutralise(given, mask=mask)
    np.testing.assert_array_equal(again[mask], out[mask])
    np.testing.assert_array_equal(out[~mask], image[~mask])


def test_the_state_rules() -> None:
    image, mask = frame()
    out = neutralise(image, state={"background": [1.0, 0.5, 0.5]}, mask=mask, amount=0.5)
    level = float(np.dot(LUMA, [1.0, 0.5, 0.5]))
    expected = image + 0.5 * (level - np.array([1.0, 0.5, 0.5], np.float32))
    np.testing.assert_allclose(out[mask], expected[mask], atol=1e-6)


def test_no_sky_and_a_bad_share() -> None:
    image, _ = frame()
    np.testing.assert_array_equal(neutralise(image, mask=np.zeros((H, W), bool)), image)
    with pytest.raises(ValueError, match="share"):
        neutralise(image, share=0.0)


def test_devices_agree() -> None:
    image, mask = frame()
    theirs = neutralise(away(image), mask=away(mask))
    np.testing.assert_allclose(arrays.to_host(theirs), neutralise(image, mask=mask), atol=1e-5)
    assert measure(away(image), mask=mask)["background"] == pytest.approx(
        measure(image, mask=mask)["background"], abs=1e-5
    )
