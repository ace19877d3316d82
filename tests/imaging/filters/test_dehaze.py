"""Dehaze: a known light dome over the simulated sky comes off, the sky without it is left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.imaging.filters.dehaze import dehaze, measure
from allsky360.model import Site
from allsky360.simulator.conditions import SkyConditions
from allsky360.simulator.radiance import LightDome
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription
from tests.imaging.filters.local_helpers import away, clouds

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
REQUEST = ExposureRequest(start=datetime(2026, 7, 15, 1, 0, tzinfo=UTC), exposure_s=30.0)
ONE = (LightDome(200.0, 4.0, 40.0),)
TWO = (LightDome(128.0, 2.2, 30.0), LightDome(296.0, 0.8, 22.0, 7.0))
WIDE = (LightDome(200.0, 3.0, 70.0),)
TILE = 12


@cache
def rendered(
    domes: tuple[LightDome, ...], milky_way: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour frame ``(H, W, 3)`` of stars and sky, vignetting removed; mask; altitude."""
    conditions = SkyConditions(
        cloud_cover=0.0, domes=domes, milky_way=milky_way, bodies=False, horizon_deg=2.5
    )
    sensor = replace(SensorDescription(), width=1208, height=832)
    source = SkySource(SITE, sensor, conditions=conditions)
    mosaic = source.expected_electrons(REQUEST) / np.maximum(source.scene.throughput, 1e-6)
    planes = [mosaic[j::2, i::2] for j in (0, 1) for i in (0, 1)]
    image = np.stack([planes[0], 0.5 * (planes[1] + planes[2]), planes[3]], axis=-1)
    sky = source.scene.sky > 0.99
    mask = sky[0::2, 0::2] & sky[1::2, 1::2]
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    return image.astype(np.float32), mask, source.lens.unproject(2 * x + 0.5, 2 * y + 0.5)[0]


def frames(
    domes: tuple[LightDome, ...], milky_way: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    clean, mask, altitude = rendered((), milky_way)
    # Light adds up: the domes' is the same with the Milky Way and without.
    dirty = clean + (rendered(domes, False)[0] - rendered((), False)[0])
    level = np.median(clean[mask], axis=0)
    return clean / level, dirty / level, mask, altitude


def background(image: np.ndarray) -> np.ndarray:
    h, w = (n // TILE * TILE for n in image.shape[:2])
    tiles = image[:h, :w].reshape(h // TILE, TILE, w // TILE, TILE, 3)
    return np.median(tiles.transpose(0, 2, 1, 3, 4).reshape(-1, TILE * TILE, 3), axis=1)


def errors(image: np.ndarray, truth: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Relative error of the background, channel by channel, of tiles wholly inside."""
    h, w = (n // TILE * TILE for n in above.shape)
    inside = above[:h, :w].reshape(h // TILE, TILE, w // TILE, TILE).all(axis=(1, 3)).ravel()
    true = background(truth)[inside]
    return (background(image)[inside] - true) / true


@pytest.mark.parametrize("milky_way", [False, True])
@pytest.mark.parametrize("domes", [ONE, TWO, WIDE], ids=["one", "two", "wide"])
def test_a_light_dome_comes_off_to_five_per_cent(
    domes: tuple[LightDome, ...], milky_way: bool
) -> None:
    clean, dirty, mask, altitude = frames(domes, milky_way)
    above = mask & (altitude > 10.0)
    before = errors(dirty, clean, above)
    out = dehaze(dirty, amount=1.0, opacity=0.0, mask=mask)
    after = errors(out, clean, above)
    assert np.abs(before).max(axis=0).min() > 0.3
    assert np.sqrt(np.mean(after**2, axis=0)).max() < (0.035 if milky_way else 0.02)
    # The one and the wide dome stand where the Milky Way's bulge does.
    assert np.quantile(np.abs(after), 0.95, axis=0).max() < (0.07 if milky_way else 0.04)


@pytest.mark.parametrize("milky_way", [False, True])
def test_a_sky_without_a_dome_is_left(milky_way: bool) -> None:
    clean, _, mask, altitude = frames(ONE, milky_way)
    out = dehaze(clean, amount=1.0, opacity=0.0, mask=mask)
    after = errors(out, clean, mask & (altitude > 10.0))
    assert np.sqrt(np.mean(after**2, axis=0)).max() < 0.02
    assert np.quantile(np.abs(after), 0.95, axis=0).max() < 0.04


def test_stars_keep_their_light_or_get_some_back() -> None:
    clean, dirty, mask, altitude = frames(ONE, False)
    bright = (clean[..., 1] > 10) & mask & (altitude > 15)
    plain = dehaze(dirty, amount=1.0, opacity=0.0, mask=mask)
    assert np.abs(plain[bright] / clean[bright] - 1).max() < 0.05
    more = dehaze(dirty, amount=1.0, opacity=0.8, mask=mask)
    ratio = more[bright][:, 1] / plain[bright][:, 1]
    assert ratio.min() > 0.99
    assert 1.05 < ratio.max() < 2.6
    # The background is the same whatever the opacity.
    above = mask & (altitude > 10.0)
    assert np.sqrt(np.mean(errors(more, clean, above) ** 2)) < 0.04


def test_amount_is_a_share() -> None:
    _, dirty, mask, _ = frames(ONE, False)
    assert dehaze(dirty, amount=0.0, mask=mask) is dirty
    whole, half = (dehaze(dirty, amount=a, mask=mask) for a in (1.0, 0.5))
    np.testing.assert_allclose(half, 0.5 * (whole + dirty), rtol=1e-4, atol=1e-4)


def test_grey_mono_and_outside() -> None:
    _, dirty, mask, _ = frames(ONE, False)
    grey = np.repeat(dirty[..., 1:2], 3, axis=2)
    out = dehaze(grey, mask=mask)
    np.testing.assert_allclose(out[..., 0], out[..., 2], atol=1e-5)
    mono = dehaze(grey[..., :1], mask=mask)
    np.testing.assert_allclose(mono[mask], out[..., :1][mask], rtol=1e-4, atol=1e-4)
    given = grey.copy()
    given[~mask] = np.nan
    again = dehaze(given, mask=mask)
    np.testing.assert_array_equal(again[mask], out[mask])
    np.testing.assert_array_equal(out[~mask], grey[~mask])


def test_an_obstacle_inside_the_mask_has_no_veil() -> None:
    _, dirty, mask, _ = frames(ONE, False)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    tree = (np.abs(x - 300) < 25) & (y > 330) & mask
    image = dirty.copy()
    image[tree] = 0.05
    out = dehaze(image, amount=1.0, mask=mask)
    inner = (np.abs(x - 300) < 10) & (y > 350) & mask
    assert inner.sum() > 100
    assert np.median(out[inner]) > -0.1
    assert out[tree].max() < 0.2


def test_the_state_rules_and_no_sky_is_no_haze() -> None:
    _, dirty, mask, _ = frames(ONE, False)
    state = measure(dirty, mask=mask)
    np.testing.assert_array_equal(dehaze(dirty, state=state, mask=mask), dehaze(dirty, mask=mask))
    # Half the veil of another frame leaves more.
    weaker = state | {"veil": [0.5 * v for v in state["veil"]]}
    less = dehaze(dirty, state=weaker, opacity=0.0, mask=mask)
    assert less[mask].mean() > dehaze(dirty, state=state, opacity=0.0, mask=mask)[mask].mean()
    nowhere = np.zeros(mask.shape, bool)
    assert dehaze(dirty, mask=nowhere) is dirty
    assert measure(dirty, mask=nowhere)["airlight"] == [1.0]


def test_devices_agree() -> None:
    plane = clouds(140, 200, level=1.0, contrast=0.1)
    y, x = np.mgrid[:140, :200]
    r = np.hypot(y - 70, x - 100)
    image = plane + 0.02 * np.exp(r / 20) * (x > 100)
    image = np.repeat(image[..., None], 3, axis=2).astype(np.float32)
    mask = r < 65
    theirs = dehaze(away(image), mask=away(mask))
    np.testing.assert_allclose(arrays.to_host(theirs), dehaze(image, mask=mask), atol=1e-3)
    np.testing.assert_allclose(
        measure(away(image), mask=mask)["natural"], measure(image, mask=mask)["natural"], atol=1e-4
    )
