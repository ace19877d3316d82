"""From raw exposures to the linear frame: what is refused, what is repaired, what stays whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from allsky360.errors import AllskyError
from allsky360.imaging.calibrate import Master, Masters
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.steps import StepLog
from allsky360.model import Bracket, Exposure

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
H, W = 120, 160
LEVEL = 500.0


def bracket(
    *times: float, shape: tuple[int, ...] = (H, W), pattern: Any = "RGGB", per_s: float = 300.0
) -> Bracket:
    rng = np.random.default_rng(5)
    return Bracket(
        tuple(
            Exposure((rng.poisson(per_s * t, shape) + LEVEL).astype(np.uint16), pattern, WHEN, t)
            for t in times
        )
    )


def linear(shots: Bracket, *frames: Master, **keywords: Any) -> tuple[LinearFrame, StepLog]:
    log = StepLog()
    parameters = ChainParameters(**keywords)
    return linearise(shots, parameters, log, masters=Masters(frames)), log


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("pattern", ["GRBG", None])
def test_holes_in_a_master_dark_are_repaired(bad: float, pattern: Any) -> None:
    dark = np.full((H, W), LEVEL, np.float32)
    dark[40:42, 50] = dark[0, 0] = dark[-1, -1] = bad
    frame, log = linear(bracket(10.0, pattern=pattern), Master(dark, "dark", "d", 10.0))
    whole, _ = linear(
        bracket(10.0, pattern=pattern), Master(np.full_like(dark, LEVEL), "dark", "d", 10.0)
    )
    assert frame.numbers["repaired_pixels"] == 4 + whole.numbers["repaired_pixels"]
    assert not log.warnings
    np.testing.assert_allclose(frame.image, whole.image, atol=6 * 60 / 65535)
    assert np.array_equal(frame.image[60:, :140], whole.image[60:, :140])


def test_a_master_without_numbers_is_refused_and_said() -> None:
    _, log = linear(bracket(10.0), Master(np.full((H, W), np.nan, np.float32), "bias", "b"))
    assert "hold no numbers" in log.warnings[0]


def test_holes_in_a_flat_divide_nothing() -> None:
    flat = np.full((H, W), 800.0, np.float32)
    flat[60, 80], flat[62, 82] = np.nan, np.inf
    frame, log = linear(bracket(10.0), Master(flat, "flat", "f"))
    assert not log.warnings
    plain, _ = linear(bracket(10.0))
    np.testing.assert_allclose(frame.image, plain.image, rtol=1e-6)


def test_where_no_master_fits_the_pedestal_is_read_off_the_bracket() -> None:
    wrong = Master(np.full((H, W), LEVEL, np.float32), "bias", "b", binning=2)
    frame, log = linear(bracket(10.0, 1.0), wrong)
    assert "is binned 2" in log.warnings[0]
    assert "black-level" in [s.name for s in log.steps]
    assert np.median(frame.image) == pytest.approx(3000 / (65535 - LEVEL), rel=0.01)


@pytest.mark.parametrize("known", [0.0, LEVEL])
def test_a_master_that_fits_one_exposure_only_leaves_no_pedestal_in_the_others(
    known: float,
) -> None:
    # Ten seconds have their dark; one second has none, and no bias to scale it with.
    fitting = Master(np.full((H, W), LEVEL, np.float32), "dark", "d", 10.0)
    frame, log = linear(bracket(10.0, 1.0), fitting, black_level_adu=known)
    assert any("no bias" in w for w in log.warnings)
    assert np.median(frame.image) == pytest.approx(3000 / (65535 - LEVEL), rel=0.01)
    assert frame.numbers["ratio_error"] < 0.05


@pytest.mark.parametrize("level", [0.0, 600.0])
def test_overexposed_exposures_tell_no_pedestal(level: float) -> None:
    """The longest is saturated everywhere; its line would begin far above the truth."""
    rng = np.random.default_rng(2)
    light = rng.uniform(8000, 9000, (H, W))
    shots = [
        Exposure(np.minimum(rng.poisson(light * t) + level, 65535).astype(np.uint16), None, WHEN, t)
        for t in (10.0, 2.5, 0.6)
    ]
    frame, log = linear(Bracket(tuple(shots)))
    (found,) = [s.parameters["level_adu"] for s in log.steps if s.name == "black-level"]
    assert found == pytest.approx(level, abs=30)
    assert frame.numbers["ratio_error"] < 0.02
    # Nothing but saturation: nothing is told.
    _, log = linear(Bracket(tuple(shots[:1])))
    assert [s.parameters["source"] for s in log.steps if s.name == "black-level"] == ["unknown"]


def test_foreign_byte_order_is_read() -> None:
    ours = bracket(10.0)
    shot = ours.exposures[0]
    swapped = replace(shot, pixels=shot.pixels.astype(">u2"))
    theirs, _ = linear(Bracket((swapped,)))
    assert np.array_equal(linear(ours)[0].image, theirs.image)


@pytest.mark.parametrize("times", [(0.0, 0.0), (10.0, 0.0)])
def test_a_bracket_without_times_is_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(AllskyError, match="exposure time"):
        linear(bracket(*times))


def test_a_single_exposure_without_time_is_a_frame() -> None:
    assert linear(bracket(0.0))[0].image.shape == (H, W, 3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 2)])
def test_a_mosaic_too_small_to_debayer_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(AllskyError, match="too small"):
        linear(bracket(10.0, shape=shape))
    assert linear(bracket(10.0, shape=shape, pattern=None))[0].image.shape == (*shape, 1)
