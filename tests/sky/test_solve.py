from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.model import Site
from allsky360.sky.lens import LensError, LensModel, fisheye
from allsky360.sky.solve import LensNotSolved, refine_lens, solve_lens
from allsky360.sky.stars import HOT
from tests.sky.lens_cases import (
    Stars,
    error_px,
    false_stars,
    found_stars,
    random_lens,
    random_place,
)

DARK = datetime(2026, 3, 17, 23, tzinfo=UTC)
TENERIFE = Site("Teide", 28.3, -16.5, 2400.0)
PARANAL = Site("Paranal", -24.627, -70.404, 2635.0)


NEAR = (280.0, 420.0)  # focal lengths around fisheye(1600, 1100): a quarter of the blind search


def solved(stars, lens, site=TENERIFE, when=DARK, **more):
    return solve_lens(stars, site, when, lens.width, lens.height, **more)


@pytest.mark.parametrize("seed", range(2))
def test_any_lens_is_solved_blind(seed):
    rng = np.random.default_rng(seed + 500)
    lens, (site, when) = random_lens(rng, max_tilt_deg=5.5), random_place(rng)
    solution = solved(found_stars(lens, site, when, rng), lens, site, when)
    error = error_px(lens, solution.lens)
    assert np.median(error) < 0.15
    assert error.max() < 1.0
    # 0.2 px of noise in x and in y, in held-out stars.
    assert solution.evidence.rms_px == pytest.approx(0.2 * np.sqrt(2), rel=0.25)
    assert solution.evidence.chance_rate < 0.05
    assert solution.evidence.log10_odds > 50


def test_strong_distortion_and_tilt():
    """Equidistant, k1 -0.04, tilt 2 deg, 3.86'/px: where a peer's 'success' is 10 px off."""
    lens = LensModel(
        width=2900,
        height=2850,
        cx=1460.0,
        cy=1410.0,
        focal_px=3437.75 / 3.86,
        k3=-0.04,
        tilt_north_deg=1.6,
        tilt_east_deg=1.2,
        rotation_deg=123.0,
        max_theta_deg=92.0,
    )
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(1), count=1500)
    solution = solved(stars, lens)
    assert error_px(lens, solution.lens, lowest_deg=5.0).max() < 0.3
    assert solution.lens.projection == "equidistant"
    assert solution.lens.k3 == pytest.approx(-0.04, abs=0.002)
    assert solution.tilt_deg == pytest.approx(2.0, abs=0.02)


def test_sigmas_are_what_repeated_fits_scatter_by():
    lens = replace(fisheye(1600, 1100, rotation_deg=30.0, tilt_north_deg=1.0), k5=0.0)
    pulls = []
    for seed in range(6):
        stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(seed))
        solution = solved(stars, lens, hint=lens)
        if solution.lens.projection == "equidistant" and solution.free[-1] == "k3":
            sigma = solution.sigma
            pulls.append(
                [
                    (getattr(solution.lens, name) - getattr(lens, name)) / sigma[name]
                    for name in ("cx", "cy", "rotation_deg", "tilt_north_deg", "tilt_east_deg")
                ]
            )
    assert len(pulls) >= 3
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 2.0


@pytest.mark.slow
def test_held_out_stars_never_move_the_fit():
    """Replace every fifth star by nonsense: the lens must stay, the verdict must not."""
    lens = fisheye(1600, 1100)
    rng = np.random.default_rng(3)
    stars = found_stars(lens, TENERIFE, DARK, rng, false=0.0)
    x = stars.x.copy()
    x[4::5] += 7.0
    good, bad = solved(stars, lens, hint=lens), None
    with pytest.raises(LensNotSolved) as refusal:
        bad = solved(
            Stars(x, stars.y, stars.flux), lens, focal_range_px=NEAR, explain_failure=False
        )
    assert bad is None
    assert refusal.value.reason == "no-match"
    assert error_px(lens, good.lens).max() < 0.5


def test_pieces_of_a_blob_do_not_vouch_for_each_other():
    """Split blobs put near-copies of fitted points among the held-out ones; those do not count."""
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(11), count=200, false=0.0)
    rng = np.random.default_rng(12)
    copies = [np.repeat(v, 3) + rng.normal(0, 0.3, 3 * v.size) for v in (stars.x, stars.y)]
    tripled = Stars(copies[0], copies[1], np.repeat(stars.flux, 3))
    with pytest.raises(LensNotSolved):
        solved(tripled, lens, hint=lens, focal_range_px=NEAR, explain_failure=False)
    assert solved(stars, lens, hint=lens).evidence.log10_odds > 20


def test_heaps_brighter_than_any_star_do_not_hide_the_sky():
    """The Moon's bleeding column and glare: dozens of points a pixel or two apart (Lowell 018)."""
    lens = fisheye(1600, 1100)
    rng = np.random.default_rng(14)
    stars = found_stars(lens, TENERIFE, DARK, rng, count=250)
    column = np.arange(60) * 3.0 + 700.0
    heap = np.stack([np.full(60, 666.0) + rng.normal(0, 0.4, 60), column])
    bright = np.full(60, 10.0 * stars.flux.max())
    both = Stars(
        np.concatenate([stars.x, heap[0]]),
        np.concatenate([stars.y, heap[1]]),
        np.concatenate([stars.flux, bright]),
    )
    solution = solved(both, lens, focal_range_px=NEAR, explain_failure=False)
    assert error_px(lens, solution.lens).max() < 0.6


def test_hot_pixels_by_flag_are_left_out():
    lens = fisheye(1600, 1100)
    rng = np.random.default_rng(4)
    stars = found_stars(lens, TENERIFE, DARK, rng, count=200, false=0.0)
    hot = false_stars(rng, 200, 1600, 1100)

    class Flagged(Stars):
        flags = np.concatenate([np.zeros(stars.x.size), np.full(200, HOT)]).astype(np.uint16)

    both = Flagged(
        np.concatenate([stars.x, hot.x]),
        np.concatenate([stars.y, hot.y]),
        np.concatenate([stars.flux, np.full(200, 10 * stars.flux.max())]),
    )
    assert solved(both, lens).stars == stars.x.size


def test_a_flag_that_calls_most_stars_hot_is_doubted():
    """Undersampled stars look like hot pixels to a finder (Lowell 018: four fifths of them)."""
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(13), count=250)

    class Flagged(Stars):
        flags = np.where(np.arange(stars.x.size) % 12 == 0, 0, HOT).astype(np.uint16)

    flagged = Flagged(stars.x, stars.y, stars.flux)
    solution = solved(flagged, lens, focal_range_px=NEAR)
    assert solution.stars == stars.x.size
    assert error_px(lens, solution.lens).max() < 0.6
    night = refine_lens([(flagged, DARK)], TENERIFE, solution.lens)
    assert night.stars == stars.x.size


def test_wrong_hour_is_named():
    lens = fisheye(1600, 1100, tilt_north_deg=1.5)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(5))
    with pytest.raises(LensNotSolved, match=r"clock looks wrong by \+1 h") as refusal:
        solved(stars, lens, when=DARK + timedelta(hours=1), focal_range_px=NEAR)
    assert refusal.value.reason == "wrong-time"
    assert refusal.value.explanations[0].clock_error_h == 1.0
    assert refusal.value.explanations[0].when == DARK


@pytest.mark.slow
def test_flipped_longitude_is_named():
    lens = fisheye(1600, 1100, tilt_north_deg=1.5)
    stars = found_stars(lens, PARANAL, DARK, np.random.default_rng(6))
    wrong = replace(PARANAL, longitude_deg=70.404)
    with pytest.raises(LensNotSolved, match="longitude looks flipped") as refusal:
        solved(stars, lens, site=wrong, focal_range_px=NEAR)
    assert refusal.value.reason == "wrong-site"
    assert refusal.value.explanations[0].site.longitude_deg == pytest.approx(-70.404)


@pytest.mark.slow
def test_flipped_latitude_is_named():
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, PARANAL, DARK, np.random.default_rng(7))
    with pytest.raises(LensNotSolved, match="latitude looks flipped"):
        solved(stars, lens, site=replace(PARANAL, latitude_deg=24.627), focal_range_px=NEAR)


@pytest.mark.parametrize("count", [40, 400])
def test_false_stars_alone_are_refused(count):
    stars = false_stars(np.random.default_rng(count), count, 1600, 1100)
    with pytest.raises(LensNotSolved) as refusal:
        solved(stars, fisheye(1600, 1100), focal_range_px=NEAR, explain_failure=False)
    assert refusal.value.reason == ("too-few-stars" if count < 200 else "no-match")


def test_few_stars_by_day_are_called_that():
    stars = false_stars(np.random.default_rng(1), 5, 1600, 1100)
    with pytest.raises(LensNotSolved, match="too bright for stars") as refusal:
        solved(stars, fisheye(1600, 1100), when=DARK.replace(hour=12))
    assert refusal.value.reason == "too-few-stars"


def test_moonlit_false_stars_are_glare():
    stars = false_stars(np.random.default_rng(2), 120, 1600, 1100)
    full_moon = datetime(2026, 3, 3, 23, tzinfo=UTC)
    with pytest.raises(LensNotSolved, match="Moon") as refusal:
        solved(
            stars,
            fisheye(1600, 1100),
            when=full_moon,
            focal_range_px=NEAR,
            explain_failure=False,
        )
    assert refusal.value.reason == "moon-glare"


def test_a_site_of_somewhere_else_is_told_where_the_stars_are():
    """Not a plain mistake of the clock or a sign: the latitude under the stars is named."""
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(8))
    wrong = replace(TENERIFE, latitude_deg=TENERIFE.latitude_deg + 11.0)
    with pytest.raises(LensNotSolved, match=r"overhead near latitude \+28\.3") as refusal:
        solved(stars, lens, site=wrong, focal_range_px=NEAR)
    assert refusal.value.reason == "wrong-site"


def test_a_lower_limit_of_tilt_refuses_a_leaning_camera():
    lens = fisheye(1600, 1100, tilt_north_deg=4.0)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(9))
    assert solved(stars, lens, hint=lens).tilt_deg == pytest.approx(4.0, abs=0.05)
    with pytest.raises(LensNotSolved, match="max_tilt_deg"):
        solved(stars, lens, hint=lens, max_tilt_deg=2.0)


def test_a_tilt_like_an_hour_is_warned_of():
    """At 70 degrees of latitude a wrong hour is a tilt of 5.1 degrees: nobody can tell."""
    north = Site("north", 70.0, 20.0, 0.0)
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, north, DARK, np.random.default_rng(10))
    solution = solved(stars, lens, site=north, when=DARK + timedelta(hours=1), focal_range_px=NEAR)
    assert solution.tilt_deg == pytest.approx(15.04 * np.cos(np.radians(70.0)), abs=0.1)
    assert "check the clock" in solution.warnings[0]


def test_hint_of_another_size_is_an_error():
    stars = false_stars(np.random.default_rng(2), 90, 1600, 1100)
    with pytest.raises(LensError, match="800 x 550"):
        solved(stars, fisheye(1600, 1100), hint=fisheye(800, 550))


def test_a_night_beats_a_frame_and_names_what_it_left_out():
    lens = fisheye(1600, 1100, tilt_north_deg=1.0)
    frames = []
    for k in range(5):
        when = DARK + timedelta(minutes=40 * k)
        rng = np.random.default_rng(20 + k)
        frames.append((found_stars(lens, TENERIFE, when, rng, count=300), when))
    cloudy = DARK + timedelta(hours=4)
    frames.append((false_stars(np.random.default_rng(9), 100, 1600, 1100), cloudy))
    one = solved(frames[0][0], lens, hint=lens)
    night = refine_lens(frames, TENERIFE, one.lens)
    assert len(night.whens) == 5
    assert any(cloudy.isoformat() in w for w in night.warnings)
    assert night.sigma["cx"] < 0.7 * one.sigma["cx"]
    assert error_px(lens, night.lens).max() < 0.25
    with pytest.raises(LensNotSolved, match="none of 1 frames"):
        refine_lens(frames[-1:], TENERIFE, one.lens)


def test_lowell_agrees_with_its_reference_fit(real_data):
    """A real frame, blind: as near to another fit's 847 stars as their centroids allow (0.36)."""
    import csv

    from allsky360.camera.files import read_exposures
    from allsky360.sky.stars import find_stars

    exposure = next(read_exposures(real_data("lowell-dct-2018/005.fits.bz2")))
    site = Site("Lowell DCT", 34.4773, -111.4332, 2361.0)
    when = exposure.start + timedelta(seconds=30)
    plane = exposure.pixels.astype(np.float32)
    height, width = plane.shape
    solution = solve_lens(find_stars(plane), site, when, width, height)
    with real_data("lowell-dct-2018/reference/005.stars.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["x_meas"]]
    columns = (
        np.array([float(r[name]) for r in rows])
        for name in ("alt_deg", "az_deg", "x_meas", "y_meas")
    )
    altitude, azimuth, x, y = columns
    px, py, _ = solution.lens.project(altitude, azimuth)
    assert np.median(np.hypot(px - x, py - y)) < 0.5
    assert solution.evidence.median_px < 0.4
    assert solution.lens.parity == -1


def test_lowell_overcast_is_refused(real_data):
    from allsky360.camera.files import read_exposures
    from allsky360.sky.stars import find_stars

    exposure = next(read_exposures(real_data("lowell-dct-2018/009.fits.bz2")))
    site = Site("Lowell DCT", 34.4773, -111.4332, 2361.0)
    stars = find_stars(exposure.pixels.astype(np.float32))
    with pytest.raises(LensNotSolved) as refusal:
        solve_lens(
            stars, site, exposure.start, 1392, 1040, explain_failure=False, focal_range_px=NEAR
        )
    assert refusal.value.reason in ("too-few-stars", "moon-glare")  # clouds under a Moon
