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


def solved(stars, lens, site=TENERIFE, when=DARK, **more):
    return solve_lens(stars, site, when, lens.width, lens.height, **more)


@pytest.mark.parametrize("seed", range(5))
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
    for seed in range(12):
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
    assert len(pulls) >= 6
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 2.0


def test_held_out_stars_never_move_the_fit():
    """Replace every fifth star by nonsense: the lens must stay, the verdict must not."""
    lens = fisheye(1600, 1100)
    rng = np.random.default_rng(3)
    stars = found_stars(lens, TENERIFE, DARK, rng, false=0.0)
    x = stars.x.copy()
    x[4::5] += 7.0
    good, bad = solved(stars, lens), None
    with pytest.raises(LensNotSolved) as refusal:
        bad = solved(Stars(x, stars.y, stars.flux), lens, explain_failure=False)
    assert bad is None
    assert refusal.value.reason == "no-match"
    assert error_px(lens, good.lens).max() < 0.5


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


def test_wrong_hour_is_named():
    lens = fisheye(1600, 1100, tilt_north_deg=1.5)
    stars = found_stars(lens, TENERIFE, DARK, np.random.default_rng(5))
    with pytest.raises(LensNotSolved, match=r"clock looks wrong by \+1 h") as refusal:
        solved(stars, lens, when=DARK + timedelta(hours=1))
    assert refusal.value.reason == "wrong-time"
    assert refusal.value.explanations[0].clock_error_h == 1.0
    assert refusal.value.explanations[0].when == DARK


def test_flipped_longitude_is_named():
    lens = fisheye(1600, 1100, tilt_north_deg=1.5)
    stars = found_stars(lens, PARANAL, DARK, np.random.default_rng(6))
    wrong = replace(PARANAL, longitude_deg=70.404)
    with pytest.raises(LensNotSolved, match="longitude looks flipped") as refusal:
        solved(stars, lens, site=wrong)
    assert refusal.value.reason == "wrong-site"
    assert refusal.value.explanations[0].site.longitude_deg == pytest.approx(-70.404)


def test_flipped_latitude_is_named():
    lens = fisheye(1600, 1100)
    stars = found_stars(lens, PARANAL, DARK, np.random.default_rng(7))
    with pytest.raises(LensNotSolved, match="latitude looks flipped"):
        solved(stars, lens, site=replace(PARANAL, latitude_deg=24.627))


@pytest.mark.parametrize("count", [40, 400])
def test_false_stars_alone_are_refused(count):
    stars = false_stars(np.random.default_rng(count), count, 1600, 1100)
    with pytest.raises(LensNotSolved) as refusal:
        solved(stars, fisheye(1600, 1100), explain_failure=False)
    assert refusal.value.reason == ("too-few-stars" if count < 60 else "no-match")


def test_few_stars_by_day_are_called_that():
    stars = false_stars(np.random.default_rng(1), 5, 1600, 1100)
    with pytest.raises(LensNotSolved, match="too bright for stars") as refusal:
        solved(stars, fisheye(1600, 1100), when=DARK.replace(hour=12))
    assert refusal.value.reason == "too-few-stars"


def test_moonlit_false_stars_are_glare():
    stars = false_stars(np.random.default_rng(2), 90, 1600, 1100)
    full_moon = datetime(2026, 3, 3, 23, tzinfo=UTC)
    with pytest.raises(LensNotSolved, match="Moon") as refusal:
        solved(stars, fisheye(1600, 1100), when=full_moon, explain_failure=False)
    assert refusal.value.reason == "moon-glare"


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
    one = solved(frames[0][0], lens)
    night = refine_lens(frames, TENERIFE, one.lens)
    assert len(night.whens) == 5
    assert any(cloudy.isoformat() in w for w in night.warnings)
    assert night.sigma["cx"] < 0.7 * one.sigma["cx"]
    assert error_px(lens, night.lens).max() < 0.25
    with pytest.raises(LensNotSolved, match="none of 1 frames"):
        refine_lens(frames[-1:], TENERIFE, one.lens)
