"""Exposure control against a camera whose physics is known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allsky360.camera.aims import aims_at, period_at
from allsky360.camera.black import BlackLevel
from allsky360.camera.circle import Circle
from allsky360.camera.control import (
    ExposureController,
    Limits,
    Measurement,
    Memory,
    learned_slope,
    predict_sky,
)
from allsky360.camera.statistics import RawStatistics, find_circle, measure
from allsky360.camera.twilight import sky_ev, sky_slope
from allsky360.config import ExposureSettings, PeriodSettings
from tests.camera.model_camera import ModelCamera
from tests.camera.night_simulation import make_night, run_night

TARGET = 0.2
MIN_S, MAX_S, MAX_GAIN = 3.2e-5, 60.0, 200.0
EV_PER_GAIN = 0.1 / (20 * math.log10(2))


def same_all_day(start_s: float, **more: float) -> ExposureSettings:
    period = PeriodSettings(
        **{
            "target": TARGET,
            "min_exposure_s": MIN_S,
            "max_exposure_s": MAX_S,
            "max_gain": MAX_GAIN,
            **more,
        }  # type: ignore[arg-type]
    )
    return ExposureSettings(day=period, twilight=period, night=period, start_exposure_s=start_s)


def converge(
    sky: float, start_s: float, *, black_known: bool, circle: bool = True, count: int = 6
) -> list[float]:
    """Return true level / target of consecutive exposures; the first is at ``start_s``."""
    controller = ExposureController(same_all_day(start_s), black_known=black_known)
    camera = ModelCamera(circle=circle)
    known: Circle | None = None
    ratios = []
    for _ in range(count):
        plan = controller.plan(-30.0)
        shot = camera.expose(sky, plan.exposure_s, plan.gain)
        known = known or find_circle(shot)
        black = camera.pedestal_adu if black_known else 0.0
        statistics = measure(shot, black_adu=black, circle=known)
        controller.observe(
            [Measurement(statistics, plan.exposure_s, plan.gain)], -30.0, plan.target
        )
        ratios.append(sky * plan.exposure_s * 2 ** (plan.gain * EV_PER_GAIN) / plan.target)
    return ratios


# log2 of the sky that the exposure limits can bring to the target, a little inside
DARKEST = math.log2(TARGET) - math.log2(MAX_S) - MAX_GAIN * EV_PER_GAIN + 0.2
BRIGHTEST = math.log2(TARGET) - math.log2(MIN_S) - 0.2


@settings(max_examples=60, deadline=None)
@given(
    sky=st.floats(DARKEST, BRIGHTEST),
    start=st.sampled_from([60.0, 0.001]),
    black_known=st.booleans(),
)
@example(sky=BRIGHTEST, start=60.0, black_known=True)
@example(sky=DARKEST, start=0.001, black_known=False)
def test_on_target_in_four_exposures_from_anywhere(
    sky: float, start: float, black_known: bool
) -> None:
    ratios = converge(2.0**sky, start, black_known=black_known)
    assert ratios[3:] == pytest.approx([1.0] * len(ratios[3:]), abs=0.1)


@settings(max_examples=30, deadline=None)
@given(sky=st.floats(DARKEST, BRIGHTEST), start=st.sampled_from([60.0, 0.001]))
def test_without_dark_border_and_without_known_black_it_takes_one_more(
    sky: float, start: float
) -> None:
    ratios = converge(2.0**sky, start, black_known=False, circle=False)
    assert ratios[4:] == pytest.approx([1.0] * len(ratios[4:]), abs=0.12)


def statistics(level: float, saturated: float = 0.0) -> RawStatistics:
    return RawStatistics(level, 1e-5, 1e-3, saturated)


def settled(sky: float, start_s: float = 1.0, **more: float) -> ExposureController:
    """Return a controller that has seen a constant sky for a while."""
    controller = ExposureController(same_all_day(start_s, **more), black_known=True)
    for _ in range(4):
        step(controller, sky)
    return controller


def step(controller: ExposureController, sky: float, altitude: float = -30.0) -> float:
    plan = controller.plan(altitude)
    level = min(1.0, sky * plan.exposure_s * 2 ** (plan.gain * EV_PER_GAIN))
    controller.observe(
        [Measurement(statistics(level, float(level >= 1)), plan.exposure_s, plan.gain)],
        altitude,
        plan.target,
    )
    return level


def test_exposure_first_then_gain_and_back() -> None:
    controller = settled(1.0)
    plans = []
    for ev in [*range(0, -12, -1), *range(-12, 1)]:
        for _ in range(3):
            step(controller, 2.0**ev)
        plans.append(controller.plan(-30.0))
    for plan in plans:
        assert plan.gain == 0.0 or plan.exposure_s > 0.98 * MAX_S
    assert max(p.gain for p in plans) == MAX_GAIN
    assert plans[-1].gain == 0.0
    assert plans[-1].exposure_s == pytest.approx(plans[0].exposure_s, rel=0.1)


def test_coarse_gain_is_made_up_by_exposure() -> None:
    # a camera whose gain unit is 3 dB: half an EV; the product must still be exact
    controller = ExposureController(
        same_all_day(1.0, max_gain=10.0), gain_unit_db=3.0, black_known=True
    )
    for sky in (0.001, 0.0009, 0.0008):
        for _ in range(4):
            plan = controller.plan(-30.0)
            level = sky * plan.exposure_s * 10 ** (plan.gain * 3.0 / 20)
            controller.observe(
                [Measurement(statistics(level), plan.exposure_s, plan.gain)], -30.0, TARGET
            )
        assert plan.gain == int(plan.gain)
        assert level == pytest.approx(TARGET, rel=0.06)


def test_full_frame_uses_the_shorter_exposures_of_the_bracket() -> None:
    controller = ExposureController(same_all_day(10.0), black_known=True)
    sky = 3.0  # 10 s is 7 EV too long, 10/64 s is fine
    measured = [
        Measurement(statistics(min(1.0, sky * t), float(sky * t >= 1)), t, 0.0)
        for t in (10.0, 2.5, 0.625, 0.15625)
    ]
    controller.observe(measured, -30.0, TARGET)
    assert controller.plan(-30.0).exposure_s == pytest.approx(TARGET / sky, rel=0.02)


def test_a_lamp_for_one_frame_does_not_upset_it_for_long() -> None:
    controller = settled(0.01)
    before = controller.plan(-30.0).exposure_s
    step(controller, 100.0)  # full
    step(controller, 0.01)
    step(controller, 0.01)
    assert controller.plan(-30.0).exposure_s == pytest.approx(before, rel=0.1)


def test_dead_band_leaves_settings_alone() -> None:
    controller = settled(0.01)
    before = controller.plan(-30.0)
    for factor in (1.01, 0.99, 1.015, 0.985):
        step(controller, 0.01 * factor)
        assert controller.plan(-30.0) == before


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=30, max_size=30))
def test_noise_is_not_amplified(flicker: list[float]) -> None:
    controller = settled(0.01)
    base = math.log2(controller.plan(-30.0).exposure_s)
    for ev in flicker:
        step(controller, 0.01 * 2**ev)
        assert abs(math.log2(controller.plan(-30.0).exposure_s) - base) <= 0.25


@settings(max_examples=40, deadline=None)
@given(jump=st.floats(-6, 6), sky=st.floats(-8, 2))
def test_a_jump_of_the_sky_is_followed_without_ringing(jump: float, sky: float) -> None:
    controller = settled(2.0**sky)
    new = 2.0 ** max(DARKEST, min(BRIGHTEST, sky + jump))
    levels = [step(controller, new) for _ in range(8)]
    errors = [math.log2(v / TARGET) for v in levels[3:]]
    assert max(abs(e) for e in errors) < 0.14
    swings = [b - a for a, b in pairwise(errors)]
    assert sum(a * b < 0 and min(abs(a), abs(b)) > 0.04 for a, b in pairwise(swings)) == 0


def test_camera_limits_bind() -> None:
    controller = settled(1e-6)
    controller.limits = Limits(0.001, 5.0, 0.0, 50.0)
    for _ in range(80):
        step(controller, 1e-6)
    plan = controller.plan(-30.0)
    assert plan.exposure_s == pytest.approx(5.0)
    assert plan.gain == 50.0


def test_limits_that_shrink_are_walked_into() -> None:
    short = PeriodSettings(target=TARGET, max_exposure_s=0.5, max_gain=0.0)
    long = PeriodSettings(target=TARGET, max_exposure_s=60.0, max_gain=200.0)
    both = ExposureSettings(day=short, twilight=long, night=long, start_exposure_s=10.0)
    controller = ExposureController(both, black_known=True)
    totals = []
    # the sky does nothing; the Sun rises at 0.04 degrees a frame (10 s at the steepest)
    for i in range(400):
        altitude = -8.0 + 0.04 * i
        plan = controller.plan(altitude)
        total = controller.total_ev(plan.exposure_s, plan.gain)
        totals.append(total)
        level = 0.01 * 2**total
        controller.observe(
            [Measurement(statistics(level), plan.exposure_s, plan.gain)], altitude, plan.target
        )
    assert max(abs(b - a) for a, b in pairwise(totals[4:])) <= 0.3
    assert totals[-1] == pytest.approx(math.log2(0.5), abs=0.01)


def test_aims_are_continuous_and_reach_each_period() -> None:
    s = ExposureSettings()
    altitudes = [a / 50 for a in range(-1500, 1500)]
    aims = [aims_at(s, a) for a in altitudes]
    assert aims[0].target == pytest.approx(s.night.target)
    assert aims[-1].target == pytest.approx(s.day.target)
    assert aims_at(s, -6.0).target == pytest.approx(s.twilight.target)
    for name in ("target", "max_exposure_s", "min_exposure_s"):
        steps = [abs(math.log2(getattr(b, name) / getattr(a, name))) for a, b in pairwise(aims)]
        assert max(steps) < 0.03  # EV in 0.02 degrees
    assert [period_at(s, a) for a in (5.0, 0.0, -0.1, -11.9, -12.0, -40.0)] == [
        "day",
        "day",
        "twilight",
        "twilight",
        "night",
        "night",
    ]


def test_no_twilight_at_all_still_has_no_step() -> None:
    s = ExposureSettings(day_above_deg=-6.0, night_below_deg=-6.0)
    aims = [aims_at(s, a / 50) for a in range(-1000, 500)]
    steps = [abs(math.log2(b.target / a.target)) for a, b in pairwise(aims)]
    assert max(steps) < 0.05


# lux at Sun altitudes, Explanatory Supplement 1992 table 9.3 / USNO Circular 171, two digits
@pytest.mark.parametrize(
    ("altitude", "lux"), [(-12, 0.0083), (-6, 3.4), (0, 730.0), (5, 4300.0), (60, 102_000.0)]
)
def test_twilight_model_against_the_published_table(altitude: float, lux: float) -> None:
    assert 2 ** sky_ev(altitude) == pytest.approx(lux, rel=0.15)


def test_twilight_model_is_smooth() -> None:
    values = [sky_ev(a / 20) for a in range(-800, 1800)]
    assert max(abs(b - a) for a, b in pairwise(values)) < 0.12  # EV in 0.05 degrees
    assert sky_slope(-7.0) == pytest.approx(1.5, abs=0.2)
    assert sky_slope(-30.0) == pytest.approx(0.0, abs=0.01)


def test_slope_is_learned_from_the_sky_and_not_from_two_frames() -> None:
    moonlit = [(-10.0 - 0.05 * i, -3.0 - 0.1 * 0.05 * i) for i in range(24)]  # 0.1 EV/deg
    assert learned_slope(moonlit, -11.0) == pytest.approx(0.1, abs=0.3)
    assert learned_slope(moonlit[:2], -11.0) == sky_slope(-11.0)


def test_prediction_over_a_long_pause_uses_the_model() -> None:
    memory = Memory(sky=-5.0, sun_altitude_deg=-20.0)
    assert predict_sky(memory, 10.0) == pytest.approx(-5.0 + sky_ev(10.0) - sky_ev(-20.0))
    with pytest.raises(ValueError, match="nothing was measured"):
        predict_sky(Memory(), 0.0)


def test_black_level_is_learned_from_two_exposures() -> None:
    black = BlackLevel.start(False)
    points = [(math.log2(t), statistics(0.0073 + 0.02 * t)) for t in (8.0, 2.0, 0.5)]
    black = black.learn(points)
    assert black.value == pytest.approx(0.0073, abs=3e-4)
    assert black.sigma < 1e-3


def test_known_black_level_stays() -> None:
    black = BlackLevel.start(True)
    assert black.learn([(3.0, statistics(0.4)), (1.0, statistics(0.2))]) == black


@pytest.mark.parametrize("clouds", [False, True], ids=["clear", "cloudy"])
def test_dusk_to_dawn_without_a_step_of_its_own(clouds: bool) -> None:
    night = make_night(clouds=clouds, cadence_s=60.0)  # the Sun moves most between frames
    result = run_night(night, ExposureSettings())
    assert result.total.max() - result.total.min() > 15
    assert result.unexplained()[result.held].max() <= 0.3
    assert result.oscillations() == 0
    free = ~result.at_limit[result.held]
    error = abs(result.error[result.held])[free]
    if not clouds:
        assert error.max() <= 0.3
        assert abs(result.error[result.held][1:] - result.error[result.held][:-1]).max() <= 0.3
