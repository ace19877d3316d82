"""The whole chain off the host: array-api-strict's second device here, CuPy where a GPU is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.imaging import calibrate
from allsky360.imaging.calibrate import Master, Masters
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import Developed, develop
from allsky360.model import Bracket, Exposure

WHEN = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)
H, W = 120, 160
DEVICE = array_api_strict.Device("device1")


def sky(channels: int) -> np.ndarray:
    """Electrons per 10 s: image circle, stars, a Moon; ``(H, W[, 3])``."""
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:H, :W]
    light = 4000.0 * (np.hypot(rows - H / 2, columns - W / 2) < 0.48 * H)
    for _ in range(15):
        y, x = rng.integers(8, H - 8), rng.integers(8, W - 8)
        light += 10.0 ** rng.uniform(3, 5) * np.exp(
            -0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 0.9**2
        )
    light += 3e6 * np.exp(-0.5 * ((rows - 54) ** 2 + (columns - 92) ** 2) / 4.0**2)
    return light if channels == 1 else light[..., None] * np.array([0.7, 1.0, 0.6])


def bracket(kind: str) -> Bracket:
    """Two exposures of ``kind`` "mosaic", "mono" or "colour"."""
    shots = []
    for seed, exposure_s in enumerate((10.0, 2.5)):
        rng = np.random.default_rng(seed)
        light = sky(3 if kind == "colour" else 1) * exposure_s / 10.0
        adu = np.clip(rng.poisson(light) + rng.normal(500, 3, light.shape), 0, 60_000)
        pattern: Any = "GRBG" if kind == "mosaic" else None
        shots.append(
            Exposure(adu.astype(np.uint16), pattern, WHEN, exposure_s, saturation_adu=60_000.0)
        )
    return Bracket(tuple(shots))


def agree(ours: Developed, theirs: Developed) -> None:
    assert isinstance(theirs.linear, np.ndarray)
    assert isinstance(theirs.picture, np.ndarray)
    np.testing.assert_allclose(theirs.linear, ours.linear, rtol=2e-3, atol=2e-5)
    apart = np.abs(theirs.picture.astype(int) - ours.picture.astype(int))
    assert np.quantile(apart, 0.999) <= 2
    assert theirs.statistics == pytest.approx(ours.statistics, rel=2e-3, abs=1e-4, nan_ok=True)
    assert [s.name for s in theirs.steps] == [s.name for s in ours.steps]


CASES = pytest.mark.parametrize(
    ("kind", "parameters", "masters"),
    [
        ("mosaic", ChainParameters(), None),
        ("mosaic", ChainParameters(black_level_adu=500.0, debayer="bilinear"), None),
        (
            "mosaic",
            ChainParameters(),
            Masters((Master(np.full((H, W), 500.0, np.float32), "bias", "bias.fits"),)),
        ),
        ("mono", ChainParameters(black_level_adu=500.0), None),
        ("colour", ChainParameters(black_level_adu=500.0), None),
    ],
    ids=["mosaic", "bilinear", "masters", "mono", "colour"],
)


@CASES
def test_no_step_copies_to_the_host_behind_our_back(
    kind: str,
    parameters: ChainParameters,
    masters: Masters | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def to_second_device(array: np.ndarray, backend: str) -> Any:
        return array_api_strict.asarray(np.ascontiguousarray(array), device=DEVICE)

    ours = develop(bracket(kind), parameters, masters=masters)
    monkeypatch.setattr(calibrate, "to_device", to_second_device)
    agree(ours, develop(bracket(kind), parameters, masters=masters))


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@CASES
def test_cupy_agrees(kind: str, parameters: ChainParameters, masters: Masters | None) -> None:
    ours = develop(bracket(kind), parameters, masters=masters)
    agree(ours, develop(bracket(kind), parameters, masters=masters, backend="cupy"))
