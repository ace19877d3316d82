from __future__ import annotations

import numpy as np
import pytest

from allsky360.simulator.photometry import cfa_of
from allsky360.simulator.points import add_profile, disc_profile, draw_points, glare_profile


def drawn(x: float, y: float, electrons, pattern=None, shape=(60, 80), **kw) -> np.ndarray:
    image = np.zeros(shape, dtype=np.float32)
    draw_points(
        image, np.array([x]), np.array([y]), np.array([electrons], float), cfa_of(pattern), **kw
    )
    return image


@pytest.mark.parametrize(("x", "y"), [(40.0, 30.0), (40.5, 30.5), (33.27, 21.81), (39.999, 30.001)])
def test_flux_and_centroid_are_exact(x: float, y: float) -> None:
    image = drawn(x, y, [1e5]).astype(float)
    rows, columns = np.mgrid[0:60, 0:80]
    assert image.sum() == pytest.approx(1e5, rel=2e-4)
    assert (image * columns).sum() / image.sum() == pytest.approx(x, abs=2e-3)
    assert (image * rows).sum() / image.sum() == pytest.approx(y, abs=2e-3)


def test_width_is_what_was_asked() -> None:
    # Oversampled by drawing one star at many sub-pixel phases and reading one pixel column.
    fwhm = 6.0
    image = drawn(40, 30, [1.0], fwhm_px=fwhm, wing_share=0.0)
    profile = image[30] / image[30].max()
    left = np.interp(0.5, profile[30:41], np.arange(30, 41))
    assert 2 * (40 - left) == pytest.approx(fwhm, rel=0.03)


def test_each_pixel_takes_its_own_band() -> None:
    image = drawn(40.3, 30.7, [4000.0, 8000.0, 2000.0], "RGGB")
    white = drawn(40.3, 30.7, [1.0])
    np.testing.assert_allclose(image[0::2, 0::2], 4000 * white[0::2, 0::2], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(image[1::2, 0::2], 8000 * white[1::2, 0::2], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(image[1::2, 1::2], 2000 * white[1::2, 1::2], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-4.0, 30.0), (79.4, 59.4), (500.0, 3.0)])
def test_edges_cut_and_never_wrap(x: float, y: float) -> None:
    image = drawn(x, y, [1000.0])
    whole = drawn(x + 100, y + 100, [1000.0], shape=(300, 700))[100:160, 100:180]
    np.testing.assert_allclose(image, whole, atol=1e-3)


@pytest.mark.parametrize("radius", [0.8, 1.6, 12.3])
@pytest.mark.parametrize("phase", [0.0, 60.0, 120.0, 179.9, 180.0])
def test_discs_hold_all_their_light(radius: float, phase: float) -> None:
    profile, left, top = disc_profile(20.4, 31.7, radius, (1.0, 0.0), phase)
    assert profile.sum() == pytest.approx(1.0, rel=1e-5)
    rows, columns = np.mgrid[0 : profile.shape[0], 0 : profile.shape[1]]
    centre = ((profile * columns).sum() + left, (profile * rows).sum() + top)
    assert centre[1] == pytest.approx(31.7, abs=0.35 * max(1, radius / 4))
    if phase == 0.0:
        assert centre[0] == pytest.approx(20.4, abs=0.05)
    elif radius > 10 and phase < 179:
        assert centre[0] > 20.4 + 0.5  # the lit side looks toward the Sun


def test_half_moon_is_half_lit() -> None:
    profile, left, _ = disc_profile(50.0, 50.0, 20.0, (0.0, -1.0), 90.0)
    row = profile.sum(axis=1)
    middle = 50 - left
    assert row[middle + 3 :].sum() < 0.05
    assert row[: middle + 1].sum() > 0.95


def test_glare_sums_to_nearly_one_and_ends_smoothly() -> None:
    halo, left, top = glare_profile(100.2, 99.7, 200)
    assert 0.9 < halo.sum() < 1.0
    assert np.unravel_index(halo.argmax(), halo.shape) == (100 - top, 100 - left)
    assert halo[0].max() < 1e-3 * halo.max()


def test_profiles_are_clipped_to_the_frame() -> None:
    image = np.zeros((20, 30), dtype=np.float32)
    profile = np.ones((9, 9), dtype=np.float32)
    add_profile(image, profile, -5, -3, np.array([1.0, 2.0, 3.0]), cfa_of("RGGB"))
    assert image[:6, :4].min() == 1.0
    assert image[6:].max() == image[:, 4:].max() == 0.0
    assert image[0, 0] == 1.0
    assert image[0, 1] == image[1, 0] == 2.0
    assert image[1, 1] == 3.0
    before = image.copy()
    add_profile(image, profile, 300, 3, np.ones(3), cfa_of("RGGB"))
    assert np.array_equal(image, before)
