"""Fusion in the place of the stretch: steady, grey stays grey, what saturates is white."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import array_api_strict
import numpy as np
import pytest

from allsky360.arrays import to_host
from allsky360.arrays.luminance import luminance
from allsky360.config import Settings
from allsky360.imaging import fusion
from allsky360.imaging.display import SkyHints
from allsky360.imaging.filters.filter import Conditions
from allsky360.imaging.filters.fuse import fuse, raised
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import develop
from allsky360.model import Bracket, Exposure

H, W = 160, 200


def moonlit(tint: tuple[float, float, float] = (0.9, 1.0, 1.15)) -> np.ndarray:
    """Linear sky about 1, a Moon 400 times as bright with its glow, a little noise."""
    rows, columns = np.mgrid[:H, :W]
    r2 = (rows - 60.0) ** 2 + (columns - 120.0) ** 2
    light = 1.0 + 400.0 / (1.0 + np.exp((np.sqrt(r2) - 9.0) * 2.0)) + 20.0 / (1.0 + r2 / 200.0)
    noise = 0.01 * np.random.default_rng(4).standard_normal((H, W, 3))
    return (light[..., None] * np.array(tint) + noise).astype(np.float32)


def test_without_conditions_it_is_the_fusion_of_the_paper() -> None:
    image = moonlit()
    floor = 0.1 * fusion.srgb_light(0.2)
    np.testing.assert_allclose(fuse(image), fusion.fuse(image, chroma_floor=floor), atol=1e-6)


def test_the_sky_is_near_its_level_and_the_moon_keeps_its_disc() -> None:
    image = moonlit((1.0, 1.0, 1.0))
    fused = fuse(image)
    assert np.median(fused) == pytest.approx(0.25, abs=0.06)
    # The glow ten pixels off the limb: it can be told from the disc.
    disc, glow = (60, 120), (60, 142)
    assert fused[disc].mean() - fused[glow].mean() > 0.2
    assert fused.min() >= 0.0
    assert fused.max() <= 1.0


@pytest.mark.parametrize("saturation", [2.5, 8.0, 60.0, 500.0])
def test_what_saturates_is_white_and_the_rest_rises(saturation: float) -> None:
    ramp = np.minimum(np.linspace(0.0, 1.5 * saturation, W, dtype=np.float32), saturation)
    image = np.repeat(np.repeat(ramp[None, :, None], H, axis=0), 3, axis=2)
    shown = fuse(image, conditions=Conditions(saturation=saturation))
    assert shown[:, -30:].min() > 0.97
    row = shown[H // 2, :, 0]
    assert np.diff(row).min() > -0.005
    assert row[0] < 0.01


def test_raising_keeps_order_colour_and_what_is_dark() -> None:
    ramp = np.linspace(-1.0, 12.0, 600, dtype=np.float32).reshape(1, 600, 1)
    image = ramp * np.array([0.8, 1.0, 1.3], np.float32)
    out = raised(image, 8.0, 30.0)
    old, new = luminance(image), luminance(out)
    assert np.all(np.diff(new[0]) > 0)
    np.testing.assert_array_equal(out[old < 4.0], image[old < 4.0])
    np.testing.assert_allclose(new[old >= 8.0], old[old >= 8.0] * 30.0 / 8.0, rtol=1e-5)
    ratio = image[0, 400:] / image[0, 400:, 1:2]
    np.testing.assert_allclose(out[0, 400:] / out[0, 400:, 1:2], ratio, rtol=1e-5)
    assert raised(image, 40.0, 30.0) is image


def test_a_longer_bracket_changes_nothing_in_the_sky() -> None:
    image = moonlit()
    few = fuse(image, conditions=Conditions(saturation=8.0, range=256.0))
    many = fuse(image, conditions=Conditions(saturation=8.0, range=1024.0))
    np.testing.assert_allclose(few, many, atol=1e-6)


def test_grey_and_mono_stay_grey() -> None:
    grey = np.repeat(luminance(moonlit())[..., None], 3, axis=2)
    shown = fuse(grey)
    np.testing.assert_allclose(shown[..., 0], shown[..., 2], atol=2e-3)
    np.testing.assert_allclose(fuse(grey[..., :1])[..., 0], shown[..., 1], atol=4e-3)


def test_night_keeps_its_colour() -> None:
    sky = fuse(moonlit())[-40:, :40].reshape(-1, 3).mean(axis=0)
    assert sky[2] > 1.04 * sky[1] > 1.04 * sky[0]


def test_what_lies_outside_the_mask_changes_nothing_inside() -> None:
    image, mask = moonlit(), np.zeros((H, W), bool)
    mask[:, 48:] = True
    lamp = image.copy()
    lamp[:, :40] = 900.0
    a, b = fuse(image, mask=mask), fuse(lamp, mask=mask)
    np.testing.assert_allclose(a[:, 48:], b[:, 48:], atol=0.02)
    assert np.array_equal(image, moonlit())


def test_the_same_on_another_device() -> None:
    there = array_api_strict.asarray(moonlit(), device=array_api_strict.Device("device1"))
    conditions = Conditions(noise=0.01, saturation=12.0)
    got = fuse(there, conditions=conditions)
    assert got.device == array_api_strict.Device("device1")
    np.testing.assert_allclose(to_host(got), fuse(moonlit(), conditions=conditions), atol=0.004)


@pytest.mark.parametrize(
    "wrong",
    [{"background": 0.9}, {"brightest_ev": 7}, {"step_ev": 0.1}, {"exposures": 0}, {"contrast": 3},
     {"chroma_floor": -1}],
)  # fmt: skip
def test_wrong_keywords_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fuse(moonlit(), **wrong)  # type: ignore[arg-type]


def test_profiles_may_fuse_and_are_mixed_with_those_that_stretch() -> None:
    settings = Settings(
        camera={"black_level_adu": 500.0},
        processing={
            "profiles": {"moonlit": ["scnr", "fuse(background=0.3)", "saturation"]},
            "white_balance": {"mode": "manual"},
        },
    )
    parameters = parameters_from(settings)
    adu = np.random.default_rng(0).poisson(4000.0, (H, W)) + 500.0
    start = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)
    bracket = Bracket(
        (Exposure(adu.astype(np.uint16), "RGGB", start, 10.0, saturation_adu=60_000.0),)
    )

    def level(moonlight: float, chosen: ChainParameters) -> float:
        done = develop(bracket, chosen, hints=SkyHints(moonlight))
        assert ("fuse" in [s.name for s in done.steps]) == (moonlight > 0)
        return float(np.mean(done.picture))

    low, middle, high = (level(m, parameters) for m in (0.0, 0.2, 1.0))
    assert low < middle < high
    assert middle == pytest.approx((low + high) / 2, abs=3)
    assert replace(parameters, profile="moonlit").digest() != parameters.digest()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (["scnr"], "or 'fuse' in its place"),
        (["stretch", "fuse"], "exactly once"),
        (["fuse", "scnr"], "'scnr' must stand before 'fuse'"),
        (["saturation", "fuse"], "'saturation' must stand after 'fuse'"),
        (["fuse(exposures=9)"], "exposures"),
    ],
)
def test_a_profile_has_one_or_the_other(steps: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(processing={"profiles": {"clear": steps}})
