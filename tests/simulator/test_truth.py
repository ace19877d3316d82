"""Rendered frames against closed forms and against their own truth."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from allsky360.config import Settings
from allsky360.model import Site
from allsky360.simulator.photometry import COLOUR_BANDS, MONO_BANDS, airmass, mag_arcsec2
from allsky360.simulator.radiance import NIGHT_BV
from allsky360.simulator.scene import vignetting
from allsky360.simulator.sky import SimulatorError, SkyConditions, SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription
from allsky360.simulator.transients import TransientRates
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.refraction import pressure_mbar

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
SUTHERLAND = Site("Sutherland", -32.3783, 20.8117, 1798.0)
NIGHT = datetime(2026, 7, 14, 0, 30, tzinfo=UTC)  # no Moon
MOON = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
DAY = datetime(2026, 7, 14, 14, 0, tzinfo=UTC)

QUIET = TransientRates(0, 0, 0)
CLEAR = SkyConditions(cloud_cover=0.0, transients=QUIET, domes=())
EMPTY = replace(CLEAR, stars=False, bodies=False, milky_way=False)
COLOUR = SensorDescription(width=604, height=504)
MONO = replace(COLOUR, pattern=None)


def source(conditions=CLEAR, sensor=COLOUR, site=LA_PALMA, **kw) -> SkySource:
    return SkySource(site, sensor, conditions=conditions, **kw)


@pytest.fixture(scope="module")
def clear() -> SkySource:
    return source()


@pytest.fixture(scope="module")
def mono() -> SkySource:
    return source(sensor=MONO)


def at(when: datetime, exposure_s: float = 10.0, **kw) -> ExposureRequest:
    return ExposureRequest(when, exposure_s, **kw)


def adu_to_electrons(frame, sensor: dict) -> np.ndarray:
    return (frame.astype(float) - sensor["pedestal_adu"]) * sensor["egain_e_per_adu"]


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND], ids=lambda s: s.name)
def test_stars_fall_where_catalogue_and_lens_put_them(site: Site) -> None:
    """Centroids measured on the noiseless picture against an independent projection."""
    mono = source(sensor=MONO, site=site)
    request = at(datetime(2026, 7, 14, 22 if site is SUTHERLAND else 2, 0, tzinfo=UTC))
    light = mono.expected_electrons(request)
    flat = light - cv2.medianBlur(light, 5)
    stars = load_catalogue(2.6)
    alt, az = apparent_altaz(stars, site, request.middle)
    x, y, seen = mono.lens.project(alt, az)
    seen &= alt > 15
    off = []
    for sx, sy in zip(x[seen], y[seen], strict=True):
        i, j = round(sx), round(sy)
        box = np.clip(flat[j - 3 : j + 4, i - 3 : i + 4], 0, None)
        rows, columns = np.mgrid[j - 3 : j + 4, i - 3 : i + 4]
        off.append(
            np.hypot((box * columns).sum() / box.sum() - sx, (box * rows).sum() / box.sum() - sy)
        )
    assert len(off) > 20
    assert np.median(off) < 0.06
    assert np.quantile(off, 0.9) < 0.3  # close neighbours pull some


def test_one_star_holds_the_electrons_its_magnitude_gives() -> None:
    """Against the closed form: zero point, colour, extinction, vignetting."""
    only = source(replace(CLEAR, milky_way=False, bodies=False, max_v=0.1), MONO)
    request = at(NIGHT, 5.0)
    with_star = only.expected_electrons(request).astype(float)
    without = source(EMPTY, MONO).expected_electrons(request)
    stars = load_catalogue(0.1)
    (vega,) = np.flatnonzero(stars.hip == 91262)
    alt, az = apparent_altaz(stars, LA_PALMA, request.middle)
    x, y, _ = only.lens.project(alt[vega], az[vega])
    thin = pressure_mbar(LA_PALMA.elevation_m) / 1013.25
    band = MONO_BANDS[0]
    theta = np.degrees(only.lens.theta(np.hypot(x - only.lens.cx, y - only.lens.cy)))
    want = (
        12_000
        * 5.0
        * band.response
        * 10
        ** (
            -0.4
            * (
                stars.v_mag[vega]
                + band.bv_slope * stars.bv[vega]
                + band.extinction * thin * airmass(alt[vega])
            )
        )
        * vignetting(theta)
    )
    j, i = round(float(y)), round(float(x))
    got = (with_star - without)[j - 12 : j + 13, i - 12 : i + 13].sum()
    assert got == pytest.approx(float(want), rel=2e-3)


def test_listed_fluxes_are_in_the_pixels() -> None:
    request = at(NIGHT)
    few = source(replace(EMPTY, stars=True, max_v=2.0))
    truth = few.expose(request).truth["stars"]
    empty = source(EMPTY).expected_electrons(request)
    extra = (few.expected_electrons(request) - empty).astype(float)
    share = []
    for k in range(len(truth["hip"])):
        i, j = round(truth["x"][k]), round(truth["y"][k])
        i0, j0 = i - 6 - i % 2, j - 6 - j % 2
        box = extra[j0 : j0 + 14, i0 : i0 + 14]
        red, green, blue = truth["electrons"][k]
        # A quarter of the pixels is red, half green, a quarter blue; the star is well sampled.
        share.append(box.sum() / (red / 4 + green / 2 + blue / 4))
    assert np.median(share) == pytest.approx(1.0, abs=0.02)
    assert len(truth["hip"]) == len(truth["electrons"]) > 12


def test_zenith_brightness_comes_back_from_the_electrons() -> None:
    for mag in (20.0, 21.7):
        dark = source(replace(EMPTY, zenith_mag_arcsec2=mag))
        request = at(NIGHT, 30.0)
        light = dark.expected_electrons(request)
        x, y, _ = dark.lens.project(90.0, 0.0)
        j, i = round(float(y)) // 2 * 2, round(float(x)) // 2 * 2
        green = light[j - 5 : j + 6 : 2, i - 6 : i + 6 : 2].mean()  # odd rows, even columns
        band = COLOUR_BANDS[1]
        per_sr = green / (
            30.0 * 12_000 * float(band.colour_factor(NIGHT_BV)) * dark.lens.solid_angle_sr(x, y)
        )
        assert mag_arcsec2(per_sr) == pytest.approx(mag, abs=0.02)
        truth = dark.expose(request).truth
        assert truth["sky_v_mag_arcsec2_zenith"] == pytest.approx(mag, abs=0.02)


def test_noise_around_the_truth_is_shot_dark_and_read_noise(clear: SkySource) -> None:
    request = at(NIGHT, 20.0, gain=200.0, temperature_c=-10)
    light = clear.expected_electrons(request).astype(float)
    frame = clear.expose(request)
    sensor = frame.truth["sensor"]
    got = adu_to_electrons(frame.pixels, sensor)
    well = light < 0.5 * sensor["saturation_adu"] * sensor["egain_e_per_adu"]
    dark = clear.model.dark_map * sensor["dark_e"]
    variance = (
        light + dark + sensor["read_noise_e"] ** 2 + (4 * sensor["egain_e_per_adu"]) ** 2 / 12
    )
    pull = ((got - light - dark) / np.sqrt(variance))[well]
    assert pull.mean() == pytest.approx(0.0, abs=0.01)
    assert pull.std() == pytest.approx(1.0, abs=0.01)


def test_light_is_linear_in_time_and_blind_to_gain() -> None:
    quiet = source(EMPTY)
    centre = NIGHT
    long = quiet.expected_electrons(at(centre, 20.0))
    short = quiet.expected_electrons(at(centre + timedelta(seconds=9.5), 1.0))
    np.testing.assert_allclose(long, 20 * short, rtol=1e-4)
    assert np.array_equal(long, quiet.expected_electrons(at(centre, 20.0, gain=200)))


def test_equal_requests_give_equal_frames_and_others_do_not(clear: SkySource) -> None:
    a, b = clear.expose(at(NIGHT)), source().expose(at(NIGHT))
    assert np.array_equal(a.pixels, b.pixels)
    assert a.truth == b.truth
    later = clear.expose(at(NIGHT + timedelta(milliseconds=1)))
    assert not np.array_equal(a.pixels, later.pixels)
    other = source(seed=2).expose(at(NIGHT))
    assert not np.array_equal(a.pixels, other.pixels)


def test_truth_is_plain_json(clear: SkySource) -> None:
    truth = json.loads(json.dumps(clear.expose(at(MOON)).truth))
    assert truth["start"] == "2026-11-22T01:00:00+00:00"
    assert truth["moon"]["altitude_deg"] > 50
    assert truth["sun"]["altitude_deg"] < -18
    assert truth["moon"]["illumination"] == pytest.approx(0.905, abs=0.01)
    assert truth["cloud_fraction"] == 0.0
    assert truth["sky_v_mag_arcsec2_zenith"] < 19.5
    assert {p["name"] for p in truth["planets"]} >= {"Mars", "Jupiter", "Saturn"}
    assert truth["seed"] == 1
    assert truth["transients"] == []


def test_the_moon_shines_where_it_stands(clear: SkySource) -> None:
    light = clear.expected_electrons(at(MOON, 0.1))
    truth = clear.expose(at(MOON, 0.1)).truth["moon"]
    x, y, _ = clear.lens.project(truth["altitude_deg"], truth["azimuth_deg"])
    j, i = np.unravel_index(cv2.GaussianBlur(light, (0, 0), 2).argmax(), light.shape)
    assert np.hypot(i - x, j - y) < 2.0


def test_day_saturates_when_long_and_shows_the_sun_when_short(clear: SkySource) -> None:
    long = clear.expose(at(DAY, 1.0)).pixels
    inside = clear.scene.throughput * (clear.scene.sky == 1) > 0
    assert (long[inside] == 65532).mean() > 0.99
    short = clear.expose(at(DAY, 32e-6))
    assert (short.pixels[inside] >= 65000).mean() < 0.03
    sun = short.truth["sun"]
    x, y, _ = clear.lens.project(sun["altitude_deg"], sun["azimuth_deg"])
    assert short.pixels[round(float(y)), round(float(x))] == 65532
    median = np.median(short.pixels[inside]) - short.truth["sensor"]["pedestal_adu"]
    assert 200 < median < 20_000
    assert short.truth["stars"]["hip"] == []


def test_the_night_falls_smoothly() -> None:
    """Zenith light through a whole dusk, a minute a step: never more than the sky's own slope."""
    dusk = source(replace(EMPTY, bodies=True), replace(MONO, width=200, height=160))
    start = datetime(2026, 7, 14, 19, 30, tzinfo=UTC)
    x, y, _ = dusk.lens.project(90.0, 0.0)
    j, i = round(float(y)), round(float(x))
    level = [
        dusk.expected_electrons(at(start + timedelta(minutes=m), 1.0))[j, i] for m in range(130)
    ]
    ev = np.diff(np.log2(level))
    assert level[0] > 1e6 * level[-1]
    assert np.all(ev < 0.01)
    assert ev.min() > -0.42  # 1.5 mag a degree of the Sun, 4 minutes a degree here


def test_clouds_take_starlight_and_are_told(clear: SkySource) -> None:
    overcast = source(replace(CLEAR, cloud_cover=0.97), truth_arrays=True)
    frame = overcast.expose(at(NIGHT))
    assert frame.truth["cloud_fraction"] > 0.8
    assert frame.arrays["cloud_transmission"].shape == frame.pixels.shape
    bright = np.sum([e[1] for e in clear.expose(at(NIGHT)).truth["stars"]["electrons"]])
    left = np.sum([e[1] for e in frame.truth["stars"]["electrons"]])
    assert left < 0.3 * bright
    np.testing.assert_array_equal(
        frame.arrays["expected_electrons"], overcast.expected_electrons(at(NIGHT))
    )


def test_regions_and_bins_are_cut_from_the_same_sky(clear: SkySource) -> None:
    whole = clear.expected_electrons(at(NIGHT))
    roi = (101, 50, 300, 200)
    part = clear.expose(at(NIGHT, roi=roi))
    assert part.pattern == "GRBG"
    assert part.pixels.shape == (200, 300)
    np.testing.assert_array_equal(
        clear.expected_electrons(at(NIGHT, roi=roi)), whole[50:250, 101:401]
    )
    binned = clear.expose(at(NIGHT, roi=roi, binning=2))
    assert binned.pixels.shape == (100, 150)
    k = binned.truth["stars"]["hip"].index(91262)
    whole_truth = clear.expose(at(NIGHT)).truth["stars"]
    n = whole_truth["hip"].index(91262)
    assert binned.truth["stars"]["x"][k] == pytest.approx(
        (whole_truth["x"][n] - 101.5) / 2, abs=2e-3
    )
    j, i = np.unravel_index(
        cv2.GaussianBlur(binned.pixels, (0, 0), 1).argmax(), binned.pixels.shape
    )
    brightest = int(np.argmax([e[1] for e in binned.truth["stars"]["electrons"]]))
    assert binned.truth["lens"]["width"] == 150
    assert 0 <= i < 150
    assert 0 <= j < 100
    assert binned.truth["stars"]["hip"][brightest] > 0


def test_dark_bias_and_flat(clear: SkySource) -> None:
    bias = clear.expose(at(NIGHT, frame_type="bias"))
    dark = clear.expose(at(NIGHT, 30.0, frame_type="dark", temperature_c=25.0))
    flat = clear.expose(at(NIGHT, 1.0, frame_type="flat"))
    assert bias.pixels.mean() == pytest.approx(480, abs=1)
    assert "stars" not in bias.truth
    rise = (dark.pixels.astype(float).mean() - 480) * 1.48
    assert rise == pytest.approx(
        float(clear.model.dark_map.mean()) * clear.model.dark_e_per_s(25.0) * 30, rel=0.05
    )
    centre, corner = flat.pixels[240:260, 290:310].mean(), flat.pixels[:10, :10].mean()
    assert 0.15 * 65535 < centre < 0.5 * 65535
    assert corner == pytest.approx(480, abs=10)
    assert not clear.expected_electrons(at(NIGHT, frame_type="dark")).any()


def test_mono_sensors_have_no_pattern(mono: SkySource) -> None:
    frame = mono.expose(at(NIGHT))
    assert frame.pattern is None
    assert frame.truth["bands"] == ["L"]
    assert len(frame.truth["stars"]["electrons"][0]) == 1


def test_polar_summer_has_no_night() -> None:
    svalbard = source(CLEAR, site=Site("Svalbard", 78.148, 16.043, 520.0))
    frame = svalbard.expose(at(datetime(2026, 6, 21, 23, 0, tzinfo=UTC), 1e-4))
    assert frame.truth["sun"]["altitude_deg"] > 10
    assert frame.truth["stars"]["hip"] == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"exposure_s": -1.0}, "-1.0 s"),
        ({"exposure_s": 1e6}, "2000"),
        ({"roi": (600, 0, 100, 100)}, "604 x 504"),
        ({"roi": (-1, 0, 100, 100)}, "does not fit"),
        ({"roi": (0, 0, 1, 1)}, "does not fit"),
        ({"binning": 0}, "does not fit"),
        ({"binning": 300}, "does not fit"),
    ],
)
def test_impossible_requests_are_named(clear: SkySource, changes, word: str) -> None:
    with pytest.raises(SimulatorError, match=word):
        clear.expose(replace(at(NIGHT), **changes))


def test_a_lens_of_another_size_is_refused(clear: SkySource) -> None:
    with pytest.raises(SimulatorError, match="604 x 504"):
        SkySource(LA_PALMA, replace(COLOUR, width=1000), clear.lens)


def test_settings_reach_the_source() -> None:
    settings = Settings(
        simulator={
            "width": 320,
            "height": 240,
            "seed": 7,
            "cloud_cover": 0.6,
            "zenith_mag_arcsec2": 20.0,
        }
    )
    made = SkySource.from_settings(settings, SUTHERLAND)
    assert (made.sensor.width, made.sensor.height) == (320, 240)
    assert made.seed == 7
    assert made.conditions.cloud_cover == made.clouds.cover == 0.6
    assert made.conditions.zenith_mag_arcsec2 == 20.0
    assert made.expose(at(NIGHT)).pixels.shape == (240, 320)
