"""The chain as a whole: what a picture must look like, and what it must not depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from allsky360.config import Settings
from allsky360.imaging.border import sky_mask
from allsky360.imaging.calibrate import Master, Masters
from allsky360.imaging.display import SkyHints
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import Developed, develop
from allsky360.imaging.tone import (
    SLEW,
    Tone,
    daylight_share,
    share_of_new,
    smooth_state,
    smooth_tone,
)
from allsky360.imaging.white_balance import NIGHT_TINT, grey_gains, mix_gains, night_gains
from allsky360.model import Bracket, Exposure, Site

WHEN = datetime(2026, 1, 1, 2, 3, 4, 567000, tzinfo=UTC)
H, W = 480, 640
BLACK, FULL, EGAIN = 500.0, 60_000.0, 0.8
PARAMETERS = ChainParameters(black_level_adu=BLACK)


@lru_cache
def light_of(
    *, sky: float = 3000.0, tint: tuple[float, float, float] = (0.6, 1.0, 0.7), moon: float = 0.0
) -> np.ndarray:
    """Electrons per 10 s, (H, W, 3): image circle, gradient, stars, perhaps a Moon."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:H, :W]
    radius = np.hypot(rows - H / 2, columns - W / 2) / (H / 2)
    light = sky * (1.0 + 0.5 * radius**2)
    for _ in range(150):
        y, x = rng.integers(8, H - 8), rng.integers(8, W - 8)
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        yy, xx = np.mgrid[-6:7, -6:7]
        star = np.exp(-0.5 * ((yy - dy) ** 2 + (xx - dx) ** 2) / 0.9**2)
        light[y - 6 : y + 7, x - 6 : x + 7] += 10.0 ** rng.uniform(3, 6) * star
    light += moon * np.exp(-0.5 * ((rows - 150) ** 2 + (columns - 350) ** 2) / 5.0**2)
    return np.asarray((light * (radius < 0.98))[..., None] * tint)


def shoot(light: np.ndarray, exposure_s: float, seed: int = 0, **more: Any) -> Exposure:
    """One raw RGGB exposure of ``light`` (electrons per 10 s)."""
    rng = np.random.default_rng(seed)
    mosaic = light[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    electrons = rng.poisson(np.minimum(mosaic * exposure_s / 10, 1e6)) + rng.normal(0, 3, (H, W))
    adu = np.clip(np.round(electrons / EGAIN + BLACK), 0, FULL).astype(np.uint16)
    return Exposure(adu, "RGGB", WHEN, exposure_s, saturation_adu=FULL, camera="Test", **more)


@lru_cache
def night(**more: Any) -> Developed:
    return develop(Bracket((shoot(light_of(**more), 10.0),)), PARAMETERS)


def sky_level(developed: Developed) -> np.ndarray:
    """Median colour of the sky near the zenith."""
    return np.median(developed.picture[150:330, 230:410].reshape(-1, 3), axis=0)


def test_night_sky_is_faintly_blue_and_at_its_target() -> None:
    red, green, blue = level = sky_level(night())
    # The zenith lies a little below the target, which is the sky's median.
    assert level.mean() / 255 == pytest.approx(0.18, abs=0.04)
    assert red < green < blue
    assert np.ptp(level) <= 14


def test_linear_is_calibrated_radiance() -> None:
    light = light_of()
    developed = night()
    assert developed.linear.shape == (H, W, 3)
    assert developed.linear.dtype == np.float32
    expected = np.median(light[200:280, 280:360], axis=(0, 1)) / EGAIN / (FULL - BLACK)
    found = np.median(developed.linear[200:280, 280:360], axis=(0, 1))
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert developed.linear[:20, :20].min() < 0  # negatives kept in the border


def test_bracket_brings_the_moon_back() -> None:
    light = light_of(moon=4e6)
    alone = develop(Bracket((shoot(light, 10.0),)), PARAMETERS)
    exposures = tuple(shoot(light, 10.0 / 4**k, seed=k) for k in range(5))
    merged = develop(Bracket(exposures), PARAMETERS)
    assert alone.statistics["saturated_fraction"] > merged.statistics["saturated_fraction"]
    truth = light[150, 350, 1] / EGAIN / (FULL - BLACK)
    assert merged.linear[150, 350, 1] == pytest.approx(truth, rel=0.03)
    np.testing.assert_allclose(sky_level(merged), sky_level(alone), atol=12)


def test_saturated_highlights_are_white() -> None:
    picture = night(moon=4e7).picture[140:161, 340:361].reshape(-1, 3).astype(int)
    assert picture.min() >= 250
    rim = night(moon=4e6).picture[120:181, 320:381].reshape(-1, 3).astype(int)
    bright = rim[rim.mean(axis=1) > 120]
    assert np.ptp(bright, axis=1).max() < 60  # no purple rim


def test_changed_exposure_does_not_step_the_picture() -> None:
    light = light_of()
    first = develop(Bracket((shoot(light, 10.0),)), PARAMETERS)
    later = replace(shoot(light, 5.0), start=WHEN + timedelta(seconds=10))
    second = develop(Bracket((later,)), PARAMETERS, tone=first.tone)
    np.testing.assert_allclose(sky_level(second), sky_level(first), atol=2)


def test_passing_cloud_is_followed_slowly() -> None:
    first = night()
    bright = replace(shoot(light_of(sky=6000.0), 10.0), start=WHEN + timedelta(seconds=10))
    jumped = sky_level(develop(Bracket((bright,)), PARAMETERS))
    followed = sky_level(develop(Bracket((bright,)), PARAMETERS, tone=first.tone))
    assert followed.mean() > jumped.mean() + 10  # the cloud shows, instead of being normalised away


def test_blue_sky_stays_blue_by_day() -> None:
    light = light_of(sky=20_000.0, tint=(0.35, 1.0, 1.1))
    day = replace(shoot(light, 10.0), exposure_s=0.0005)
    red, green, blue = sky_level(develop(Bracket((day,)), PARAMETERS))
    assert blue > green > red
    assert blue > 100


def test_manual_white_balance_is_obeyed() -> None:
    parameters = replace(PARAMETERS, white_balance="manual", red=1 / 0.6, blue=1 / 0.7)
    developed = develop(Bracket((shoot(light_of(), 10.0),)), parameters)
    assert np.ptp(sky_level(developed)) <= 4
    assert developed.statistics["white_balance_red"] == pytest.approx(1 / 0.6)


def test_star_colours_balance_day_and_night_alike() -> None:
    parameters = replace(PARAMETERS, white_balance="stars")
    light = light_of(sky=20_000.0, tint=(0.35, 1.0, 1.1))
    for exposure_s in (10.0, 0.0005):
        bracket = Bracket((replace(shoot(light, 10.0), exposure_s=exposure_s),))
        known = develop(bracket, parameters, hints=SkyHints(star_gains=(1.9, 1.3)))
        assert known.tone.gains == (1.9, 1.0, 1.3)
        unknown = develop(bracket, parameters)
        assert unknown.tone.gains == develop(bracket, PARAMETERS).tone.gains


def test_star_colours_are_for_raw_frames() -> None:
    codes = np.clip(night().picture.astype(int) + 10, 0, 255).astype(np.uint8)
    rgb = Exposure(codes, None, WHEN, 10.0, saturation_adu=255.0, metadata={"linear": False})
    parameters = ChainParameters(white_balance="stars")
    got = develop(Bracket((rgb,)), parameters, hints=SkyHints(star_gains=(1.9, 1.3)))
    assert got.tone.gains == develop(Bracket((rgb,)), ChainParameters()).tone.gains


def test_mono_gives_a_neutral_picture() -> None:
    raw = replace(shoot(light_of(tint=(1.0, 1.0, 1.0)), 10.0), pattern=None)
    developed = develop(Bracket((raw,)), PARAMETERS)
    assert developed.linear.shape == (H, W, 3)
    assert developed.picture.shape == (H, W, 3)
    assert (developed.picture[..., 0] == developed.picture[..., 2]).all()
    assert sky_level(developed).mean() / 255 == pytest.approx(0.18, abs=0.04)


def test_colour_frames_need_no_debayer() -> None:
    codes = np.clip(night().picture.astype(int) + 10, 0, 255).astype(np.uint8)
    rgb = Exposure(codes, None, WHEN, 10.0, saturation_adu=255.0, metadata={"linear": False})
    developed = develop(Bracket((rgb,)), ChainParameters())
    assert "debayer" not in [s.name for s in developed.steps]
    # The decoded picture has more contrast than the sky had, so its zenith lies deeper.
    assert 0.05 < sky_level(developed).mean() / 255 < 0.25


def pedestal_of(developed: Developed) -> tuple[float, str]:
    step = next(s for s in developed.steps if s.name == "black-level")
    return step.parameters["level_adu"], step.parameters["source"]


def test_unknown_pedestal_is_read_off_the_border() -> None:
    developed = develop(Bracket((shoot(light_of(), 10.0),)), ChainParameters())
    level, source = pedestal_of(developed)
    assert source == "border"
    assert level == pytest.approx(BLACK, abs=3.0)
    np.testing.assert_allclose(sky_level(developed), sky_level(night()), atol=4)
    assert developed.picture[:20, :20].mean() < 8


def test_unknown_pedestal_is_read_off_a_bracket() -> None:
    light = light_of() + 300.0  # no dark border
    exposures = tuple(shoot(light, 10.0 / 4**k, seed=k) for k in range(3))
    unknown = develop(Bracket(exposures), ChainParameters())
    level, source = pedestal_of(unknown)
    assert source == "bracket"
    assert level == pytest.approx(BLACK, abs=1.0)
    known = develop(Bracket(exposures), PARAMETERS)
    np.testing.assert_allclose(unknown.linear, known.linear, atol=5e-4, rtol=1e-3)


def test_pedestal_that_cannot_be_known_stays() -> None:
    flat = Exposure(np.full((96, 96), 900, np.uint16), None, WHEN, 10.0)
    developed = develop(Bracket((flat,)), ChainParameters())
    assert pedestal_of(developed) == (0.0, "unknown")


def test_unfitting_master_warns_and_goes_on() -> None:
    dark = Master(np.zeros((H, W), np.float32), "dark", "dark.fits", 99.0)
    developed = develop(Bracket((shoot(light_of(), 10.0),)), PARAMETERS, masters=Masters((dark,)))
    assert len(developed.warnings) == 1
    assert "dark.fits is 99 s" in developed.warnings[0]
    assert sky_level(developed).mean() > 30


def test_flats_alone_divide_and_leave_the_black_level_to_the_frame() -> None:
    rows, columns = np.mgrid[:H, :W]
    loss = 1.0 - 0.4 * (np.hypot(rows - H / 2, columns - W / 2) / (H / 2)) ** 2
    flat = Master((20_000.0 * np.maximum(loss, 0.02)).astype(np.float32), "flat", "flat.fits")
    dim = light_of() * np.maximum(loss, 0.0)[..., None]
    developed = develop(Bracket((shoot(dim, 10.0),)), ChainParameters(), masters=Masters((flat,)))
    assert pedestal_of(developed)[0] == pytest.approx(BLACK, abs=3.0)
    whole = develop(Bracket((shoot(light_of(), 10.0),)), ChainParameters())
    edge, middle = (slice(60, 100), slice(300, 340)), (slice(220, 260), slice(300, 340))

    def shape(d: Developed) -> float:
        return float(np.median(d.linear[edge]) / np.median(d.linear[middle]))

    assert shape(developed) == pytest.approx(shape(whole), rel=0.03)
    wrong = Master(np.ones((4, 4), np.float32), "flat", "small.fits")
    refused = develop(Bracket((shoot(dim, 10.0),)), PARAMETERS, masters=Masters((wrong,)))
    assert any("not flattened" in w for w in refused.warnings)


def test_banding_is_removed_on_request() -> None:
    raw = shoot(light_of(), 10.0)
    bands = np.random.default_rng(5).integers(-60, 60, H)[:, None]
    banded = replace(raw, pixels=np.clip(raw.pixels.astype(int) + bands, 0, FULL).astype(np.uint16))

    def unevenness(parameters: ChainParameters) -> float:
        linear = develop(Bracket((banded,)), parameters).linear[..., 1]
        return float(np.std(np.diff(np.median(linear[150:330, 200:440], axis=1))))

    assert unevenness(replace(PARAMETERS, banding="rows")) < 0.4 * unevenness(PARAMETERS)


def test_steps_say_what_was_done() -> None:
    developed = night()
    names = [s.name for s in developed.steps]
    assert names == [
        "calibrate", "noise", "hot-pixels", "hdr-merge", "debayer", "survey", "tone", "balance",
        *(name for name, _ in PARAMETERS.profiles["clear"]), "quantise", "statistics",
    ]  # fmt: skip
    assert all(s.version >= 1 and s.seconds >= 0 for s in developed.steps)
    assert developed.statistics["sky_fraction"] == pytest.approx(
        np.pi / 4 * 0.98**2 * H / W, abs=0.03
    )
    assert developed.statistics["egain"] == pytest.approx(EGAIN, rel=0.15)


@pytest.mark.parametrize("shape", [(5, 7), (33, 18), (64, 64)])
@pytest.mark.parametrize("value", [0, 700, 65535])
def test_frames_without_a_sky_do_not_break(shape: tuple[int, int], value: int) -> None:
    raw = Exposure(np.full(shape, value, np.uint16), "GBRG", WHEN, 1.0)
    developed = develop(Bracket((raw,)), PARAMETERS)
    assert np.isfinite(developed.linear).all()
    assert developed.picture.shape == (*shape, 3)
    json.dumps(developed.tone.to_json(), allow_nan=False)


def test_border_is_found_and_a_vignette_is_not() -> None:
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:240, :320]
    radius = np.hypot(rows - 120, columns - 160) / 120
    noise = rng.normal(0, 0.002, radius.shape)
    mask = sky_mask((0.05 + 0.1 * (radius < 0.9) + noise).astype(np.float32))
    assert np.mean(mask == (radius < 0.9)) > 0.97
    vignette = 0.05 + 0.1 * np.clip(1 - 0.1 * radius**2, 0, 1) + noise
    assert sky_mask(vignette.astype(np.float32)).all()
    assert sky_mask(np.zeros((200, 200), np.float32)).all()
    assert sky_mask(np.zeros((8, 8), np.float32)).all()


def test_gains_and_daylight() -> None:
    assert grey_gains((0.5, 1.0, 2.0), (0.0, 0.0, 0.0)) == pytest.approx((2.0, 1.0, 0.5))
    assert grey_gains((0.1, 0.0, 0.1), (0.0, 0.0, 0.0)) == (1.0, 1.0, 1.0)
    assert grey_gains((0.01, 1.0, 1e-9), (0.0, 0.0, 0.0)) == (4.0, 1.0, 1.0)
    assert night_gains((0.6, 0.6, 0.6), (0.1, 0.1, 0.1)) == pytest.approx(NIGHT_TINT)
    assert night_gains((0.5,), (0.0,)) == (1.0,)
    assert mix_gains((1.0,), (4.0,), 0.5) == pytest.approx((2.0,))
    assert daylight_share(-3.0) == 0.0
    assert daylight_share(3.0) == 1.0


def test_tone_smoothing_forgets_after_gaps() -> None:
    old = Tone(WHEN, 0.0, (1.0, 1.0, 1.0))
    new = Tone(WHEN + timedelta(seconds=90), 1.0, (2.0, 1.0, 1.0), {"a": {"b": [1.0]}})
    # Two NEARs away: 1 + 2^4 times as fast.
    assert share_of_new(new, old, 90.0) == pytest.approx(1 - np.exp(-17))
    close = share_of_new(replace(new, radiance=0.1), old, 90.0)
    assert close == pytest.approx(1 - np.exp(-(1 + 0.2**4)))
    assert share_of_new(replace(new, time=WHEN + timedelta(hours=1)), old, 90.0) == 1.0
    assert share_of_new(replace(new, time=WHEN - timedelta(seconds=1)), old, 90.0) == 1.0
    assert share_of_new(replace(new, gains=(1.0,)), old, 90.0) == 1.0
    mixed = smooth_tone(new, old, 0.25)
    assert mixed.radiance == 0.25
    assert mixed.gains[0] == pytest.approx(2**0.25)


def test_tone_is_steady_at_night_unless_it_is_lost() -> None:
    old = Tone(WHEN, 0.0, (1.0, 1.0, 1.0))
    moonrise = Tone(WHEN + timedelta(seconds=30), 1.3, (1.0, 1.0, 1.0))
    share = share_of_new(moonrise, old, 1800.0, steady=True)
    assert share * 1.3 == pytest.approx(SLEW)
    assert share_of_new(moonrise, old, 1800.0) > 10 * share
    lost = replace(moonrise, radiance=3.0)
    assert share_of_new(lost, old, 1800.0, steady=True) == share_of_new(lost, old, 1800.0) > 0.9


def test_tone_is_plain_json() -> None:
    new = Tone(WHEN, 1.0, (2.0, 1.0, 1.0), {"a": {"b": [1.0]}})
    assert Tone.from_json(json.loads(json.dumps(new.to_json()))) == new


def test_states_are_kept_per_unit_of_light() -> None:
    first = smooth_state({"sky": [1.0], "share_x": [0.5]}, None, 1.0, 10.0)
    assert first == {"sky": [10.0], "share_x": [0.5]}
    # Half the light to the unit: the same sky measures twice as much, and nothing changes.
    assert smooth_state({"sky": [2.0], "share_x": [0.5]}, first, 0.3, 5.0) == first
    moved = smooth_state({"sky": [2.0], "share_x": [1.0]}, first, 0.5, 10.0)
    assert moved == {"sky": [15.0], "share_x": [0.75]}
    assert smooth_state({"sky": [1.0, 2.0]}, first, 0.1, 1.0) == {"sky": [1.0, 2.0]}


def test_a_brighter_sky_does_not_hurry_a_state() -> None:
    old = {"sky": [1.0], "coefficients": [2.0, -0.5, 0.0]}
    new = {"sky": [8.0], "coefficients": [4.0, 0.5, 1.0]}
    moved = smooth_state(new, old, 0.5, 1.0, slew=SLEW)
    assert moved["sky"] == pytest.approx([1.0 + SLEW])
    assert moved["coefficients"] == pytest.approx([2.0 + 2 * SLEW, -0.5 + 2 * SLEW, 2 * SLEW])
    # From nothing it does get there.
    begun = smooth_state({"sky": [8.0]}, {"sky": [0.0]}, 0.5, 1.0, slew=SLEW)
    assert 0.0 < begun["sky"][0] <= 8.0 * SLEW


def test_jpeg_says_when_and_where() -> None:
    exposure = shoot(light_of(), 12.5)
    jpeg = encode_jpeg(
        np.zeros((8, 8, 3), np.uint8), exposure=exposure, site=Site("Süd", -30.5, -70.25, 2400.0)
    )
    with Image.open(BytesIO(jpeg)) as picture:
        exif = picture.getexif()
    detail, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert detail[ExifTags.Base.DateTimeOriginal] == "2026:01:01 02:03:04"
    assert detail[ExifTags.Base.SubsecTimeOriginal] == "567"
    assert detail[ExifTags.Base.OffsetTimeOriginal] == "+00:00"
    assert float(detail[ExifTags.Base.ExposureTime]) == 12.5
    assert gps[ExifTags.GPS.GPSLatitudeRef] == "S"
    assert [float(v) for v in gps[ExifTags.GPS.GPSLongitude]] == [70.0, 15.0, 0.0]
    assert exif[ExifTags.Base.Model] == "Test"


def test_parameters_come_from_the_settings(tmp_path: Path) -> None:
    from allsky360.config import Settings

    settings = Settings(
        camera={"black_level_adu": 64.0, "saturation_adu": 4000.0, "gain_unit_db": 0.3},
        processing={
            "debayer": "bilinear",
            "hot_pixel_sigma": 5.0,
            "white_balance": {"mode": "manual", "red": 2.0, "blue": 1.1},
            "tone_time_s": 30.0,
            "profile": "day",
            "filters": {"stretch": {"method": "mtf"}},
            "profiles": {"day": ["scnr(amount=0.5)", "stretch"]},
        },
    )
    parameters = parameters_from(settings)
    day = parameters.profiles["day"]
    assert [name for name, _ in day] == ["scnr", "stretch"]
    assert day[0][1]["amount"] == 0.5
    assert day[1][1]["method"] == "mtf"
    assert parameters == ChainParameters(
        64.0,
        4000.0,
        0.3,
        "bilinear",
        5.0,
        "manual",
        2.0,
        1.1,
        30.0,
        "keep",
        "day",
        parameters.profiles,
    )
    assert parameters.digest() != ChainParameters().digest()


@pytest.mark.parametrize(("level", "least"), [(65535, 200), (40000, 25)])
def test_a_bright_flat_sky_is_bright_in_every_channel(level: int, least: int) -> None:
    """A black point must not eat a channel by day, and a saturated sky must look overexposed."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :400]
    inside = np.hypot(y - 150, x - 200) < 145
    mosaic = np.where(inside, level, 0.0) + rng.normal(480, 30, inside.shape)
    exposure = Exposure(
        np.clip(mosaic, 0, 65535).astype(np.uint16),
        "RGGB",
        datetime(2026, 6, 1, 12, tzinfo=UTC),
        0.001,
        gain=0.0,
    )
    picture = develop(Bracket((exposure,)), parameters_from(Settings())).picture
    assert np.median(picture[inside], axis=0).min() > least
