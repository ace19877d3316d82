"""What is made of several masters, against a sensor whose dark current is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360.arrays.pedestal import above, replace_pixels
from allsky360.imaging.calibrate import calibrate
from allsky360.imaging.defects import find_hot, plan_repair
from allsky360.imaging.flat import divide, flat_for, on_device
from allsky360.imaging.master import Master, MasterMismatch, Masters
from allsky360.imaging.match import Wanted, choose, pedestal_for
from allsky360.imaging.stack import stack
from allsky360.model import Exposure
from allsky360.simulator.sensor import SensorModel
from allsky360.simulator.source import ExposureRequest, SensorDescription

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
H, W = 120, 160
SENSOR = SensorModel(SensorDescription(width=W, height=H), seed=2, hot_pixel_fraction=2e-3)
EGAIN = SENSOR.description.egain(100.0)
PEDESTAL = SENSOR.description.pedestal_adu(30.0)
DEVICE = array_api_strict.Device("device1")


def readout(kind: Any, exposure_s: float, celsius: float, seed: int, light: Any = None) -> Exposure:
    request = ExposureRequest(WHEN, exposure_s, 100.0, temperature_c=celsius, frame_type=kind)
    pixels = SENSOR.read_out(light, request, np.random.default_rng(seed))
    return Exposure(
        pixels, "RGGB", WHEN, exposure_s, gain=100.0, offset=30.0, temperature_c=celsius,
        saturation_adu=SENSOR.saturation_adu(request), egain=EGAIN, camera="Sim", frame_type=kind,
    )  # fmt: skip


def master(kind: Any, exposure_s: float = 0.0, celsius: float = 10.0) -> Master:
    """Twenty frames of the sensor made into one."""
    seeds = range(20)
    base = int(exposure_s * 1000 + celsius * 17)
    made = stack(lambda: (readout(kind, exposure_s, celsius, base + s).pixels for s in seeds))
    return Master(
        made.mean, kind, f"{kind}-{exposure_s:g}s{celsius:+g}C", exposure_s, 100.0, 30.0, celsius,
        camera="Sim", frames=20, noise_adu=made.noise, unstable=made.unstable,
    )  # fmt: skip


BIAS = master("bias")
D60 = master("dark", 60.0)
D240 = master("dark", 240.0)
COLD = master("dark", 120.0, 0.0)
WARM = master("dark", 120.0, 15.0)


def dark_adu(exposure_s: float, celsius: float) -> np.ndarray:
    return SENSOR.dark_map * SENSOR.dark_e_per_s(celsius) * exposure_s / EGAIN


def residual(result: Any, truth: np.ndarray) -> tuple[float, float]:
    """Mean and scatter of a pedestal's error without its hottest pixels."""
    apart = (result - PEDESTAL - truth)[~SENSOR.hot_pixels()]
    return float(apart.mean()), float(apart.std())


@pytest.mark.parametrize(
    ("frames", "exposure_s", "celsius", "used"),
    [
        ((BIAS, D60), 60.0, 10.0, {"dark-60s+10C"}),
        ((BIAS, D60), 60.9, 10.3, {"dark-60s+10C"}),
        ((BIAS, D60, D240), 120.0, 10.0, {"dark-60s+10C x 0.6667", "dark-240s+10C x 0.3333"}),
        ((D60, D240), 150.0, 10.0, {"dark-60s+10C x 0.5", "dark-240s+10C x 0.5"}),
        ((BIAS, D240), 24.0, 10.0, {"bias-0s+10C x 0.9", "dark-240s+10C x 0.1"}),
        ((BIAS, D60), 110.0, 10.0, {"bias-0s+10C x -0.8333", "dark-60s+10C x 1.833"}),
    ],
)
def test_dark_is_linear_in_time(
    frames: tuple[Master, ...], exposure_s: float, celsius: float, used: set[str]
) -> None:
    exposure = readout("light", exposure_s, celsius, 1)
    result = pedestal_for(exposure, Masters(frames))
    assert set(result.used) == used
    truth = dark_adu(exposure_s, celsius)
    mean, scatter = residual(result.pixels, truth)
    # A dark taken as it is may be 2 % off in time and half a degree in temperature.
    assert abs(mean) < 0.3 + (0.06 * truth.mean() if used == {"dark-60s+10C"} else 0.0)
    assert scatter < 5.0
    assert result.notes == ()


def test_dark_is_log_linear_in_temperature() -> None:
    exposure = readout("light", 120.0, 8.0, 1)
    result = pedestal_for(exposure, Masters((BIAS, COLD, WARM)))
    assert len(result.used) == 3
    truth = dark_adu(120.0, 8.0)
    mean, scatter = residual(result.pixels, truth)
    assert abs(mean) < 0.02 * truth.mean()
    assert scatter < 3.0
    # A mean of the two, linear in temperature, would be off by much more than that.
    line = (7 * dark_adu(120, 0) + 8 * dark_adu(120, 15)) / 15
    assert abs((line - truth).mean()) > 0.15 * truth.mean()


def test_time_and_temperature_at_once() -> None:
    exposure = readout("light", 30.0, 5.0, 1)
    result = pedestal_for(exposure, Masters((BIAS, COLD, WARM)))
    mean, _ = residual(result.pixels, dark_adu(30.0, 5.0))
    assert abs(mean) < 0.3


def at_gain(kind: Any, exposure_s: float, gain: float, *, egain: bool = True) -> Master:
    def pixels(seed: int) -> np.ndarray:
        request = ExposureRequest(WHEN, exposure_s, gain, temperature_c=10.0, frame_type=kind)
        return SENSOR.read_out(None, request, np.random.default_rng(seed + int(gain)))

    made = stack(lambda: (pixels(s) for s in range(20)))
    return Master(
        made.mean, kind, f"{kind}-g{gain:g}", exposure_s, gain, 30.0, 10.0, camera="Sim",
        noise_adu=made.noise, egain=SENSOR.description.egain(gain) if egain else None,
    )  # fmt: skip


def test_dark_current_is_scaled_between_gains() -> None:
    """Automatic exposure sets gains that no master has."""
    egain = SENSOR.description.egain(150.0)
    exposure = replace(readout("light", 60.0, 10.0, 1), gain=150.0, egain=egain)
    dark, low, high = (
        at_gain("dark", 240.0, 200.0),
        at_gain("bias", 0, 0.0),
        at_gain("bias", 0, 200),
    )
    result = pedestal_for(exposure, Masters((dark, low, high)))
    truth = SENSOR.dark_map * SENSOR.dark_e_per_s(10.0) * 60.0 / egain
    mean, scatter = residual(result.pixels, truth)
    assert abs(mean) < 0.03 * truth.mean()
    assert scatter < 5.0
    factors = {u.split(" x ")[0]: float(u.split(" x ")[1]) for u in result.used}
    assert sum(factors.values()) == pytest.approx(1.0, abs=1e-3)
    bias_alone = pedestal_for(exposure, Masters((low, high)))
    assert bias_alone.used == ("bias-g0 x 0.25", "bias-g200 x 0.75")
    assert abs(np.median(bias_alone.pixels) - PEDESTAL) < 1.5
    for frames, reason in (
        ((replace(dark, egain=None), low, high), "electrons per ADU are not known of both"),
        ((dark, high), "no bias on either side"),
        ((dark, low), "no bias of gain 200"),
        ((at_gain("dark", 60.0, 0.0), low, high), "has gain 0, the exposure 150: too far"),
    ):
        try:
            said = pedestal_for(exposure, Masters(frames)).notes[0]  # the biases still serve
        except MasterMismatch as error:
            said = error.message
        assert reason in said


@pytest.mark.parametrize(
    ("frames", "exposure_s", "celsius", "reason"),
    [
        ((D240,), 60.0, 10.0, "is 240 s and there is no bias to scale it with"),
        ((D60,), 240.0, 10.0, "is 60 s and there is no bias to scale it with"),
        ((COLD, WARM), 120.0, 8.0, "cannot be interpolated without a bias"),
        ((COLD,), 120.0, 8.0, "was taken at 0 C, the exposure at 8 C"),
        ((COLD, replace(WARM, temperature_c=30.0)), 120.0, 8.0, "was taken at 30 C"),
        ((replace(D60, camera="Other"),), 60.0, 10.0, "is of 'Other', the exposure of 'Sim'"),
    ],
)
def test_what_is_not_sound_is_refused(
    frames: tuple[Master, ...], exposure_s: float, celsius: float, reason: str
) -> None:
    exposure = readout("light", exposure_s, celsius, 1)
    with pytest.raises(MasterMismatch, match=reason):
        pedestal_for(exposure, Masters(frames))


def test_too_far_a_stretch_leaves_the_bias_and_says_so() -> None:
    exposure = readout("light", 200.0, 10.0, 1)
    result = calibrate(exposure, black_level_adu=0, masters=Masters((BIAS, D60)))
    assert result.used == ("bias-0s+10C",)
    (note,) = result.notes
    assert "No dark current was subtracted" in note
    assert "dark-60s+10C is 60 s, too short to be scaled to 200 s" in note


def test_bias_alone_is_enough_where_there_is_no_dark() -> None:
    result = calibrate(readout("light", 1.0, 10.0, 1), black_level_adu=0, masters=Masters((BIAS,)))
    assert result.notes == ()
    assert abs(float(np.median(result.light))) < 5


def test_unknown_temperature_takes_what_there_is() -> None:
    exposure = replace(readout("light", 120.0, 0.0, 1), temperature_c=None)
    assert pedestal_for(exposure, Masters((COLD,))).used == ("dark-120s+0C",)
    vague = replace(COLD, temperature_c=None)
    exposure = readout("light", 120.0, 33.0, 1)
    assert pedestal_for(exposure, Masters((vague,))).used == ("dark-120s+0C",)


def test_the_pedestal_is_made_once_for_a_night() -> None:
    masters = Masters((BIAS, D60))
    first = pedestal_for(readout("light", 30.0, 10.02, 1), masters)
    assert pedestal_for(readout("light", 30.0, 9.98, 2), masters) is first


def test_factors_sum_to_one_pedestal() -> None:
    """The pedestal itself must never be scaled, whatever is combined."""
    for t, c in ((30.0, 5.0), (120.0, 8.0), (180.0, 12.0), (7.0, 1.0)):
        exposure = readout("light", t, c, 1)
        library = Masters((BIAS, D60, D240, COLD, WARM))
        wanted = Wanted(exposure.pixels.shape, t, 100.0, 30.0, c, 1, "Sim", True)
        terms, _ = choose(library, wanted)
        assert sum(f for f, _ in terms) == pytest.approx(1.0)


# -- hot pixels -------------------------------------------------------------------------------


def test_hot_pixels_are_found_in_the_dark() -> None:
    found = np.zeros(H * W, bool)
    found[find_hot(D240.array(), mosaic=True, noise_adu=D240.noise_adu or 0.0)] = True
    hot = SENSOR.hot_pixels().reshape(-1)
    assert (found & hot).sum() >= 0.97 * hot.sum()
    assert (found & ~hot).sum() <= 0.002 * H * W


def test_hot_pixels_are_repaired_from_their_own_colour() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:H, :W]
    light = np.where(y % 2, np.where(x % 2, 900.0, 2400.0), np.where(x % 2, 2400.0, 1500.0))
    exposure = readout("light", 240.0, 10.0, int(rng.integers(99)), light.astype(np.float32))
    result = calibrate(exposure, black_level_adu=0, masters=Masters((BIAS, D240)))
    hot = SENSOR.hot_pixels()
    assert result.repaired >= 0.97 * hot.sum()
    apart = np.abs(result.light * EGAIN - light)[hot]
    raw = calibrate(exposure, black_level_adu=0.0).light - np.float32(PEDESTAL)
    noise = np.sqrt(light)[hot]
    assert np.quantile(apart / noise, 0.95) < 4
    assert np.abs(raw * EGAIN - light)[hot].max() > 50 * noise.max()
    plan = pedestal_for(exposure, Masters((BIAS, D240)))
    assert plan.defects is not None
    assert plan.defects.index.size == result.repaired
    # Good pixels are what dark subtraction made of them.
    good = np.ones(H * W, bool)
    good[plan.defects.index] = False
    untouched = exposure.pixels.astype(np.float32) - D240.array()
    assert np.array_equal(result.light.reshape(-1)[good], untouched.reshape(-1)[good])
    assert plan.level == pytest.approx(np.median(D240.array()), abs=4)


def test_unstable_pixels_are_repaired_too() -> None:
    quiet = Master(
        np.full((20, 20), 500, np.float32), "dark", "d", 10.0, unstable=np.array([205], np.int64)
    )
    pixels = np.full((20, 20), 600, np.uint16)
    pixels.reshape(-1)[205] = 3000
    shot = Exposure(pixels, "RGGB", WHEN, 10.0)
    result = calibrate(shot, black_level_adu=0, masters=Masters((quiet,)))
    assert result.repaired == 1
    assert np.array_equal(result.light, np.full((20, 20), 100, np.float32))


def test_a_dark_full_of_light_repairs_nothing() -> None:
    spotted = np.full((60, 60), 500, np.float32)
    spotted[::5, ::5] = 5000
    masters = Masters((Master(spotted, "dark", "leak", 10.0),))
    shot = Exposure(np.full((60, 60), 600, np.uint16), None, WHEN, 10.0)
    result = calibrate(shot, black_level_adu=0, masters=masters)
    assert result.repaired == 0
    assert "4 % of the master's pixels stand out" in result.notes[0]


@pytest.mark.parametrize("mosaic", [True, False])
def test_neighbours_are_near_good_and_of_one_colour(mosaic: bool) -> None:
    rng = np.random.default_rng(3)
    bad = np.sort(rng.choice(30 * 40, 200, replace=False))
    plan = plan_repair(bad, (30, 40), mosaic=mosaic)
    y, x = np.divmod(bad, 40)
    for slot in range(4):
        ny, nx = np.divmod(plan.neighbours[:, slot], 40)
        itself = plan.neighbours[:, slot] == bad
        assert itself.mean() < 0.01
        assert not np.isin(plan.neighbours[~itself, slot], bad).any()
        if mosaic:
            assert ((ny - y) % 2 == 0).all()
            assert ((nx - x) % 2 == 0).all()
        assert np.hypot(ny - y, nx - x).max() <= 6


def test_a_lone_good_neighbour_serves_alone() -> None:
    bad = np.array([k for k in range(25) if k != 12], np.int64)
    plan = plan_repair(bad, (5, 5), mosaic=False)
    assert (plan.neighbours[bad == 11] == 12).all()
    assert find_hot(np.zeros((4, 4), np.float32), mosaic=True).size == 0


def test_pixels_are_the_same_on_a_device() -> None:
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 65535, (50, 60), dtype=np.uint16)
    pedestal = rng.normal(500, 3, raw.shape).astype(np.float32)
    plan = plan_repair(np.sort(rng.choice(3000, 60, replace=False)), (50, 60), mosaic=True)
    ours = above(raw, pedestal)
    assert np.array_equal(ours, raw.astype(np.float32) - pedestal)
    assert np.array_equal(above(raw, 3.5), raw.astype(np.float32) - np.float32(3.5))
    there = above(
        array_api_strict.asarray(raw, device=DEVICE),
        array_api_strict.asarray(pedestal, device=DEVICE),
    )
    there = replace_pixels(there, plan.index, plan.neighbours)
    assert there.device == DEVICE
    back = np.asarray(there.to_device(array_api_strict.Device("CPU_DEVICE")))
    repaired = replace_pixels(ours.copy(), plan.index, plan.neighbours)
    np.testing.assert_allclose(back, repaired, rtol=1e-6)
    four = np.sort(ours.reshape(-1)[plan.neighbours], axis=1)
    np.testing.assert_allclose(repaired.reshape(-1)[plan.index], four[:, 1:3].mean(1), rtol=1e-5)


@pytest.mark.gpu
def test_pixels_are_the_same_on_the_gpu() -> None:
    pytest.importorskip("cupy")
    exposure = readout("light", 240.0, 10.0, 1)
    masters = Masters((BIAS, D240))
    host = calibrate(exposure, black_level_adu=0, masters=masters)
    there = calibrate(exposure, black_level_adu=0, masters=masters, backend="cupy")
    np.testing.assert_allclose(there.light.get(), host.light, atol=1e-3)


# -- flat -------------------------------------------------------------------------------------


def vignette() -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    r = np.hypot(y - H / 2, x - W / 2) / (W / 2)
    return np.where(r < 0.95, np.cos(0.8 * r) ** 4, 0.001).astype(np.float32)


def test_a_flat_gives_even_light_back() -> None:
    colours = np.where(np.add.outer(np.arange(H), np.arange(W)) % 2, 2.0, 0.7)
    lit = vignette() > 0.01
    master_flat = Master((12_000 * colours * vignette()).astype(np.float32), "flat", "flat.fits")
    exposure = replace(readout("light", 1.0, 10.0, 1), camera="")
    flat = flat_for(exposure, Masters((BIAS, master_flat)))
    assert flat is not None
    scene = (1000.0 * colours).astype(np.float32)
    out = divide((scene * vignette()).astype(np.float32), flat.factor)
    ratio = (out / scene)[lit]
    assert ratio.std() / ratio.mean() < 1e-3
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)
    # White balance stays: both colours keep their ratio. Outside the circle nothing happens.
    assert out[60, 80] / out[60, 81] == pytest.approx(scene[60, 80] / scene[60, 81], rel=1e-3)
    assert (flat.factor[~lit] == 1).all()
    there = array_api_strict.asarray(scene, device=DEVICE)
    assert divide(there, on_device(flat, there)).device == DEVICE


@pytest.mark.parametrize("shape", [(H, W, 3), (H, W)])
def test_mono_and_colour_flats(shape: tuple[int, ...]) -> None:
    values = np.full(shape, 800.0, np.float32)
    values[: H // 4] = 400.0
    exposure = Exposure(np.zeros(shape, np.uint16), None, WHEN, 1.0)
    flat = flat_for(exposure, Masters((Master(values, "flat", "f"),)))
    assert flat is not None
    assert np.allclose(flat.factor[: H // 4], 2.0)
    assert np.allclose(flat.factor[H // 4 :], 1.0)


def test_flats_are_refused_with_reasons() -> None:
    exposure = readout("light", 1.0, 10.0, 1)
    assert flat_for(exposure, None) is None
    assert flat_for(exposure, Masters((BIAS,))) is None
    good = Master(np.full((H, W), 9.0, np.float32), "flat", "f.fits", camera="Sim")
    assert flat_for(exposure, Masters((good,))) is not None
    for change, reason in (
        ({"binning": 2}, "is binned 2, the exposure 1"),
        ({"camera": "B"}, "is of 'B', the exposure of 'Sim'"),
        ({"pixels": np.ones((3, 4), np.float32)}, "is 4x3, the exposure 160x120"),
        ({"pixels": np.zeros((H, W), np.float32)}, "is dark in its middle"),
    ):
        with pytest.raises(MasterMismatch, match=reason):
            flat_for(exposure, Masters((replace(good, **change),)))  # type: ignore[arg-type]
