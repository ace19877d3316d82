"""White balance from star colours, against the responses of the simulated sensor."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

import array_api_strict
import numpy as np
import pytest

from allsky360.config import Settings
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.steps import StepLog
from allsky360.model import BAYER_PATTERNS, Bracket, Site
from allsky360.simulator.photometry import COLOUR_BANDS
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure
from allsky360.sky.photometry import Photometry, measure_photometry
from allsky360.sky.plane import measurement_plane
from allsky360.sky.star_colours import (
    SUN_BV,
    StarBalance,
    colour_sums,
    measure_star_balance,
    remember_balance,
)

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
NIGHT = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
LIGHT = [float(b.colour_factor(SUN_BV)) for b in COLOUR_BANDS]
RED, BLUE = LIGHT[1] / LIGHT[0], LIGHT[1] / LIGHT[2]
"""Gains that make a Sun-like star white above the simulated air: 1.221 and 1.768."""


@lru_cache(maxsize=2)
def measured(cloud_cover: float) -> tuple[LinearFrame, Photometry]:
    settings = Settings(
        simulator={"width": 1600, "height": 1200, "cloud_cover": cloud_cover}  # type: ignore[arg-type]
    )
    source = SkySource.from_settings(settings, SITE)
    request = ExposureRequest(start=NIGHT, exposure_s=10.0, gain=0.0)
    exposure = as_exposure(source.expose(request), request)
    frame = linearise(Bracket((exposure,)), ChainParameters(), StepLog())
    photometry = measure_photometry(
        measurement_plane(frame.image), source.lens, SITE, NIGHT, 10.0, clipped=frame.clipped
    )
    return frame, photometry


@pytest.mark.parametrize("cloud_cover", [0.0, 0.5])
def test_gains_of_the_simulated_sensor(cloud_cover: float) -> None:
    frame, photometry = measured(cloud_cover)
    found = measure_star_balance(frame.image, frame.reference.pattern, photometry)
    assert found is not None
    assert found.stars > 30
    assert found.red == pytest.approx(RED, rel=0.05)
    assert found.blue == pytest.approx(BLUE, rel=0.05)
    assert abs(found.red - RED) < 2.5 * found.red_sigma < 0.15
    assert abs(found.blue - BLUE) < 2.5 * found.blue_sigma < 0.25
    assert found.gains == (found.red, found.blue)


def test_photosites_tell_more_than_interpolated_colours() -> None:
    frame, photometry = measured(0.0)
    sites = measure_star_balance(frame.image, frame.reference.pattern, photometry)
    filled = measure_star_balance(frame.image, None, photometry)
    assert sites is not None
    assert filled is not None
    wrong = [abs(math.log(b.red / RED)) + abs(math.log(b.blue / BLUE)) for b in (sites, filled)]
    assert wrong[0] < wrong[1]


def test_another_filter_changes_the_gains_by_as_much() -> None:
    frame, photometry = measured(0.0)
    pattern = frame.reference.pattern
    plain = measure_star_balance(frame.image, pattern, photometry)
    tinted = frame.image * np.array([1.6, 1.0, 0.7], np.float32)
    found = measure_star_balance(tinted, pattern, photometry)
    assert plain is not None
    assert found is not None
    assert found.red == pytest.approx(plain.red / 1.6, rel=0.01)
    assert found.blue == pytest.approx(plain.blue / 0.7, rel=0.01)


def test_too_few_stars_or_colours_say_nothing() -> None:
    frame, photometry = measured(0.0)
    hidden = replace(photometry, detected=np.zeros(len(photometry), dtype=bool))
    assert measure_star_balance(frame.image, "RGGB", hidden) is None
    assert measure_star_balance(frame.image[..., :1], None, photometry) is None
    noise = np.random.default_rng(1).standard_normal(frame.image.shape).astype(np.float32)
    assert measure_star_balance(noise, "RGGB", photometry) is None


@pytest.mark.parametrize("pattern", [*BAYER_PATTERNS, None])
def test_sums_of_photosites_hold_all_light(pattern: str | None) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.uniform(30, 170, 40), rng.uniform(30, 130, 40)
    wanted = rng.uniform(1, 9, (40, 3))
    sky = np.array([0.2, 0.3, 0.1])
    rows, columns = np.mgrid[:160, :200]
    cell = {"R": 0, "G": 1, "B": 2}
    got = []
    for k in range(40):
        profile = np.exp(-0.5 * ((columns - x[k]) ** 2 + (rows - y[k]) ** 2) / 1.1**2)
        image = profile[..., None] / (2 * np.pi * 1.1**2) * wanted[k] + sky
        if pattern is not None:  # what is not a photosite is anything
            kept = np.full_like(image, 1e3)
            for place, letter in enumerate(pattern):
                j, i = divmod(place, 2)
                kept[j::2, i::2, cell[letter]] = image[j::2, i::2, cell[letter]]
            image = kept
        flux, sigma = colour_sums(
            image.astype(np.float32), pattern, x[k : k + 1], y[k : k + 1], 4.0
        )
        assert np.all(sigma >= 0)
        got.append(flux[0])
    np.testing.assert_allclose(np.array(got), wanted, rtol=0.04)
    assert np.abs(np.mean(np.array(got) / wanted, axis=0) - 1.0).max() < 0.01


def test_stars_at_the_rim_are_left_out_and_any_device_says_the_same() -> None:
    image = np.random.default_rng(3).random((80, 90, 3), dtype=np.float32)
    x, y = np.array([45.3, 2.0, 44.0]), np.array([40.1, 40.0, 79.0])
    flux, _ = colour_sums(image, "GRBG", x, y, 3.0)
    assert np.isfinite(flux[0]).all()
    assert np.isnan(flux[1:]).all()
    there = array_api_strict.asarray(image, device=array_api_strict.Device("device1"))
    np.testing.assert_array_equal(colour_sums(there, "GRBG", x, y, 3.0)[0], flux)


@pytest.mark.parametrize("method", ["edge-aware", "bilinear"])
def test_debayering_leaves_photosites_as_they_were(method: str) -> None:
    from allsky360.imaging.debayer import debayer

    mosaic = np.random.default_rng(5).random((40, 60), dtype=np.float32)
    image = debayer(mosaic, "RGGB", method=method, balance=(1.35, 1.0, 1.65))  # type: ignore[arg-type]
    for j, i, c in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        np.testing.assert_allclose(image[j::2, i::2, c], mosaic[j::2, i::2], rtol=1e-5, atol=1e-6)


def test_memory_gets_steadier_and_follows() -> None:
    rng = np.random.default_rng(2)
    memory = None
    seen = []
    for _ in range(60):
        red, blue = 1.4 * np.exp(rng.normal(0, 0.02)), 1.6 * np.exp(rng.normal(0, 0.03))
        memory = remember_balance(memory, StarBalance(red, 0.035, blue, 0.055, 80))
        assert memory is not None
        seen.append(memory.red)
    assert memory is not None
    assert memory.frames == 60
    assert memory.red == pytest.approx(1.4, rel=0.015)
    assert memory.blue == pytest.approx(1.6, rel=0.02)
    assert np.abs(np.diff(np.log(seen[-20:]))).max() < 0.008
    assert remember_balance(memory, None) is memory
    for _ in range(200):  # the filter was changed
        memory = remember_balance(memory, StarBalance(1.8, 0.035, 1.6, 0.055, 80))
    assert memory is not None
    assert memory.red == pytest.approx(1.8, rel=0.01)


def test_uncertain_gains_are_not_offered() -> None:
    assert StarBalance(1.4, 0.2, 1.6, 0.05, 12).gains is None
    assert StarBalance(1.4, 0.05, 1.6, 0.05, 12).gains == (1.4, 1.6)
