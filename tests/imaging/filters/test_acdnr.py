"""Noise reduction: sky noise is halved, stars keep flux, width and colour, and the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.luminance import luminance
from allsky360.arrays.wavelets import atrous, white_noise_sigmas
from allsky360.config import ProcessingSettings
from allsky360.imaging.filters.acdnr import acdnr, measure_noise
from allsky360.imaging.noise import NoiseModel
from allsky360.imaging.parameters import default_profiles
from allsky360.model import Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription

DEVICE = array_api_strict.Device("device1")
SIGMA = 0.06


def used_settings() -> list[dict[str, Any]]:
    """The keywords of the settings' defaults, and of every profile that has the filter."""
    found = [ProcessingSettings().filters.acdnr.model_dump()]
    steps = [step for steps in default_profiles().values() for step in steps]
    return found + [own for name, own in steps if name == "acdnr" and own not in found]


USED = sorted({tuple(sorted(keywords.items())) for keywords in used_settings()})
"""Each set of keywords once: the marks hold for what is in use, not for one amount."""


def away(array: Any) -> Any:
    return array_api_strict.asarray(array, device=DEVICE)


def circle(h: int, w: int, share: float = 0.46) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w]
    return np.hypot(rows - h / 2, columns - w / 2) < share * min(h, w)


@lru_cache
def field(fwhm: float, channels: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean and noisy sky of 1 with stars of SNR 20 to 1000 on a grid, and where they are."""
    rng = np.random.default_rng(int(10 * fwhm))
    h, w, s = 420, 400, fwhm / 2.3548
    clean = np.ones((h, w))
    spots = []
    rows, columns = np.mgrid[-20:21, -20:21]
    for y in range(30, h - 30, 40):
        for x in range(30, w - 30, 40):
            dy, dx = rng.uniform(-0.5, 0.5, 2)
            # SNR in the aperture of 1.5 FWHM radius.
            snr = 10.0 ** rng.uniform(np.log10(20), 3)
            flux = snr * np.sqrt(np.pi) * 1.5 * fwhm * SIGMA
            shape = np.exp(-0.5 * ((rows - dy) ** 2 + (columns - dx) ** 2) / s**2)
            clean[y - 20 : y + 21, x - 20 : x + 21] += flux * shape / (2 * np.pi * s**2)
            spots.append((y + dy, x + dx, flux))
    clean = np.repeat(clean[..., None], channels, axis=2).astype(np.float32)
    # Channels share no noise; their luminance has SIGMA at the sky.
    each = SIGMA / np.sqrt(np.sum(np.square((0.2126, 0.7152, 0.0722)))) if channels == 3 else SIGMA
    noise = rng.standard_normal(clean.shape, dtype=np.float32) * (each * np.sqrt(clean))
    return clean, clean + noise.astype(np.float32), np.array(spots)


def stars_off(shape: tuple[int, int], spots: np.ndarray, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    empty = np.ones(shape, bool)
    for y, x, _ in spots:
        empty &= np.hypot(rows - y, columns - x) > radius
    return empty


def aperture(plane: np.ndarray, y: float, x: float, radius: float) -> tuple[float, float]:
    """Flux above a sky of 1, and FWHM from second moments, in a circle."""
    at, left, reach = round(y), round(x), int(radius) + 1
    cut = plane[at - reach : at + reach + 1, left - reach : left + reach + 1].astype(float) - 1.0
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    r2 = (rows + at - y) ** 2 + (columns + left - x) ** 2
    inside = r2 < radius**2
    flux = cut[inside].sum()
    return float(flux), float(2.3548 * np.sqrt(max(0.5 * (cut * r2)[inside].sum() / flux, 0.0)))


@pytest.mark.parametrize("used", USED, ids=lambda used: str(dict(used)["amount_luminance"]))
@pytest.mark.parametrize(("fwhm", "channels"), [(1.6, 3), (2.3, 1), (3.5, 3)])
def test_sky_noise_is_halved_and_stars_are_kept(
    fwhm: float, channels: int, used: tuple[tuple[str, Any], ...]
) -> None:
    clean, noisy, spots = field(fwhm, channels)
    out = acdnr(noisy, **dict(used))
    before, after = luminance(noisy), luminance(out)
    truth = luminance(clean)
    empty = stars_off(truth.shape, spots, 14.0)
    assert (after - truth)[empty].std() < 0.4 * (before - truth)[empty].std()
    rough, _ = atrous(before - truth, 3)
    smooth, _ = atrous(after - truth, 3)
    for j in range(3):
        assert smooth[j][empty].std() < 0.5 * rough[j][empty].std()
    assert abs((after - truth)[empty].mean()) < 1e-3
    radius = 1.5 * fwhm
    changes = []
    for y, x, _ in spots:
        (flux, width), (flux_after, width_after) = (
            aperture(p, y, x, radius) for p in (before, after)
        )
        changes.append((flux_after / flux - 1.0, width_after / width - 1.0))
    flux_change, width_change = np.abs(changes).T
    assert np.max(flux_change) <= 0.01
    assert np.max(width_change) <= 0.03


def test_colour_noise_goes_and_star_colours_stay() -> None:
    clean, noisy, spots = field(2.3)
    tint = np.array([1.6, 1.0, 0.7], np.float32)
    clean, noisy = 1.0 + (clean - 1.0) * tint, noisy + (clean - 1.0) * (tint - 1.0)
    out = acdnr(noisy)
    empty = stars_off(clean.shape[:2], spots, 14.0)
    for c in (0, 2):
        rough = (noisy - clean)[..., c] - (noisy - clean)[..., 1]
        smooth = (out - clean)[..., c] - (out - clean)[..., 1]
        assert smooth[empty].std() < 0.3 * rough[empty].std()
        for y, x, flux in spots:
            if flux < 30 * SIGMA * 8:
                continue
            kept = [
                aperture(im[..., c], y, x, 3.5)[0] / aperture(im[..., 1], y, x, 3.5)[0]
                for im in (noisy, out)
            ]
            assert kept[1] == pytest.approx(kept[0], rel=0.02)


@lru_cache
def simulated_sky() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """A debayered frame of the simulator without noise and with it, its sky, and its stars."""
    sensor = SensorDescription(width=560, height=400, pixel_um=25.0)
    source = SkySource(Site("La Palma", 28.76, -17.88, 2326.0), sensor, cloud_cover=0.0)
    request = ExposureRequest(datetime(2026, 11, 9, 1, tzinfo=UTC), 10.0)
    electrons = np.asarray(source.expected_electrons(request), np.float64)
    rng = np.random.default_rng(4)
    noisy = rng.poisson(electrons) + rng.normal(0.0, 2.6, electrons.shape)
    truth, image = (
        arrays.demosaic(m.astype(np.float32), "RGGB", method="edge-aware", noise=12.0)
        for m in (electrons, noisy)
    )
    mask = circle(400, 560, 0.42)
    sky = np.median(truth[mask], axis=0)
    return truth / sky, image / sky, mask, source.expose(request).truth["stars"]


@pytest.mark.parametrize("used", USED, ids=lambda used: str(dict(used)["amount_luminance"]))
def test_on_the_simulated_sky(used: tuple[tuple[str, Any], ...]) -> None:
    truth, image, mask, record = simulated_sky()
    out = acdnr(image, **dict(used), mask=mask)
    clean, before, after = luminance(truth), luminance(image), luminance(out)
    bumps = np.abs(clean - arrays.box_mean(clean, 5))
    near = bumps > 0.05
    for _ in range(3):
        near = arrays.maximum3(near.astype(np.uint8)) > 0
    empty = mask & ~near
    assert empty.sum() > 3000
    assert (after - clean)[empty].std() < 0.5 * (before - clean)[empty].std()
    sigma = (before - clean)[empty].std()
    changes, widths = [], []
    rows, columns = np.mgrid[-3:4, -3:4]
    for x, y in zip(record["x"], record["y"], strict=True):
        at, left = round(y), round(x)
        if not (8 <= at < 392 and 8 <= left < 552) or not circle(400, 560, 0.40)[at, left]:
            continue
        cut = np.s_[at - 3 : at + 4, left - 3 : left + 4]
        inside = np.hypot(rows + at - y, columns + left - x) < 3.0
        around = np.median(clean[at - 8 : at + 9, left - 8 : left + 9])
        flux = float((clean[cut] - around)[inside].sum())
        # The sky's sigma**2 is what one unit of light adds to the variance, too.
        if flux > 20.0 * sigma * np.sqrt(inside.sum() + max(flux, 0.0)):
            changes.append(abs(float((after - before)[cut][inside].sum())) / flux)
            old, new = (aperture(p - around + 1.0, y, x, 3.0)[1] for p in (before, after))
            widths.append(abs(new / old - 1.0))
    assert len(changes) >= 10
    assert np.quantile(changes, 0.95) <= 0.01
    assert np.quantile(widths, 0.95) <= 0.03


def test_amount_0_is_identity_and_bright_sky_keeps_its_mean() -> None:
    _, noisy, _ = field(2.3)
    assert acdnr(noisy, amount_luminance=0.0, amount_chrominance=0.0) is noisy
    light = acdnr(noisy, amount_luminance=0.0)
    np.testing.assert_allclose(luminance(light), luminance(noisy), atol=2e-6 * noisy.max())
    colour = acdnr(noisy, amount_chrominance=0.0)
    np.testing.assert_allclose(
        colour[..., 0] - colour[..., 1], noisy[..., 0] - noisy[..., 1], atol=2e-6 * noisy.max()
    )


def test_flat_and_grey_stay() -> None:
    flat = np.broadcast_to(np.array([0.3, 1.0, 2.0], np.float32), (150, 170, 3))
    np.testing.assert_allclose(acdnr(flat), flat, rtol=1e-6)
    _, noisy, _ = field(2.3, 1)
    grey = np.repeat(noisy, 3, axis=2)
    out = acdnr(grey)
    np.testing.assert_allclose(out[..., 0], out[..., 1], rtol=1e-6)
    np.testing.assert_allclose(out[..., 2], out[..., 1], rtol=1e-6)
    np.testing.assert_allclose(out[..., :1], acdnr(noisy), atol=1e-5)


def test_flat_colours_with_noise_do_not_move() -> None:
    # A tenth of the noise, that is.
    rng = np.random.default_rng(9)
    patches = np.repeat(np.repeat(rng.uniform(0.4, 2.0, (3, 4, 3)), 100, 0), 100, 1)
    noisy = (patches + rng.normal(0, 0.08, patches.shape)).astype(np.float32)
    out = acdnr(noisy, noise=NoiseModel(0.08**2 * 0.56, 0.0))
    for i in range(3):
        for k in range(4):
            inner = np.s_[100 * i + 25 : 100 * i + 75, 100 * k + 25 : 100 * k + 75]
            np.testing.assert_allclose(
                out[inner].mean((0, 1)), noisy[inner].mean((0, 1)), atol=8e-3
            )
            assert out[inner].std(axis=(0, 1)).max() < 0.045
    # No rings: beside an edge nothing goes beyond the colours that meet there.
    assert np.abs(out - patches).max() <= np.abs(noisy - patches).max() * 1.25


def test_what_lies_outside_the_mask_changes_nothing_inside() -> None:
    _, noisy, _ = field(2.3)
    mask = circle(*noisy.shape[:2])
    reference = acdnr(noisy, mask=mask)
    assert np.isfinite(reference).all()
    np.testing.assert_array_equal(reference[~mask], noisy[~mask])
    for value in (0.0, 1e4, np.nan):
        other = np.where(mask[..., None], noisy, np.float32(value))
        np.testing.assert_array_equal(acdnr(other, mask=mask)[mask], reference[mask])


@pytest.mark.parametrize("channels", [1, 3])
def test_devices_agree(channels: int) -> None:
    _, noisy, _ = field(2.3, channels)
    noisy = noisy[:200, :230]
    mask = circle(200, 230)
    ours = acdnr(noisy, mask=mask)
    theirs = acdnr(away(noisy), mask=away(mask))
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-5 * noisy.max())


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
def test_cupy_agrees(channels: int) -> None:
    _, noisy, _ = field(2.3, channels)
    mask = circle(*noisy.shape[:2])
    theirs = acdnr(arrays.to_device(noisy, "cupy"), mask=arrays.to_device(mask, "cupy"))
    np.testing.assert_allclose(
        acdnr(noisy, mask=mask), arrays.to_host(theirs), atol=2e-5 * noisy.max()
    )


def test_the_noise_of_each_scale_is_found() -> None:
    rng = np.random.default_rng(3)
    slope = np.linspace(1.0, 3.0, 900)[None, :, None]
    image = (slope + rng.normal(0, 1, (800, 900, 1)) * np.sqrt(1e-4 + 0.003 * slope)).astype(
        np.float32
    )
    found = measure_noise(image)
    np.testing.assert_allclose(found["share_luminance"], white_noise_sigmas(4), rtol=0.12)
    model = NoiseModel(found["read_sigma"][0] ** 2, found["shot"][0])
    for level in (1.2, 2.8):
        assert model.sigma(level) == pytest.approx(np.sqrt(1e-4 + 0.003 * level), rel=0.05)
    given = measure_noise(image, noise=NoiseModel(1e-4, 0.003))
    assert set(given) == {"share_luminance"}
    np.testing.assert_allclose(given["share_luminance"], white_noise_sigmas(4), rtol=0.12)
    # A state is all that run needs.
    np.testing.assert_array_equal(acdnr(image), acdnr(image, state=found))


def test_stars_and_slopes_do_not_count_as_noise() -> None:
    _, noisy, _ = field(2.3, 1)
    rows = np.linspace(0.0, 1.0, noisy.shape[0], dtype=np.float32)[:, None, None]
    found = measure_noise(noisy + rows, noise=NoiseModel(SIGMA**2, 0.0))
    np.testing.assert_allclose(found["share_luminance"], white_noise_sigmas(4), rtol=0.25)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 40), (33, 31), (70, 65)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_and_masks(shape: tuple[int, int], channels: int) -> None:
    image = np.random.default_rng(1).normal(1, 0.1, (*shape, channels)).astype(np.float32)
    nowhere = np.zeros(shape, bool)
    np.testing.assert_array_equal(acdnr(image, mask=nowhere), image)
    for mask in (None, np.ones(shape, bool), circle(*shape)):
        out = acdnr(image, mask=mask, scales_luminance=6, scales_chrominance=5)
        assert out.shape == image.shape
        assert np.isfinite(out).all()


@pytest.mark.parametrize("scales", [2, 3, 6])
def test_more_scales_smooth_more(scales: int) -> None:
    _, noisy, spots = field(2.3, 1)
    empty = stars_off(noisy.shape[:2], spots, 14.0)
    left = [
        float(acdnr(noisy, scales_luminance=n)[..., 0][empty].std()) for n in (scales, scales + 1)
    ]
    assert left[1] < left[0] < 0.6 * SIGMA


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount_luminance", 1.5),
        ("amount_chrominance", -0.1),
        ("scales_luminance", 1),
        ("scales_chrominance", 9),
        ("threshold_luminance", 0.0),
        ("threshold_chrominance", 50.0),
        ("protect", 0.0),
        ("protect_px", -2),
    ],
)
def test_wrong_keywords_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        acdnr(np.ones((40, 40, 3), np.float32), **{name: value})
