"""HDR merge against the truth: radiance error, exposure ratios, noise against the optimum.

Run: python -m benchmarks.hdr_truth
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import maximum3
from allsky360.imaging.hdr import merge
from allsky360.imaging.noise import estimate_noise

EGAIN, READ_E, BIAS, SATURATION = 0.9, 3.0, 400.0, 60_000
FULL = SATURATION - BIAS


@dataclass(frozen=True)
class Truth:
    """What the merge is judged by.

    Attributes
    ----------
    median_error
        Largest absolute median of ``merged / truth - 1`` in any brightness bin where SNR > 50.
    pixel_error
        Median of ``|merged / truth - 1|`` of single pixels where SNR > 50: noise included, so the
        sensor alone makes 0.67 / SNR.
    ratio_error
        Largest relative error of any exposure's radiance scale against the truth.
    noise_over_optimum
        Scatter over the inverse-variance optimum of the exposures that are unsaturated there.
    worst_bin
        The same in the worst of 24 brightness bins (where an exposure fades out).
    """

    median_error: float
    pixel_error: float
    ratio_error: float
    noise_over_optimum: float
    worst_bin: float


def sky_electrons(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Electrons per second of a mosaic: gradient, stars and a Moon with its halo."""
    rng = np.random.default_rng(seed)
    h, w = shape
    rows, columns = np.mgrid[:h, :w]
    radius = np.hypot(rows - h / 2, columns - w / 2) / (h / 2)
    light = 60.0 * (1.0 + 1.5 * radius**2)
    moon = np.hypot(rows - 0.3 * h, columns - 0.6 * w)
    light += 2e6 * np.exp(-0.5 * (moon / 8.0) ** 2) + 6e4 / (1.0 + (moon / 12.0) ** 2)
    for _ in range(h * w // 2000):
        y, x = rng.integers(8, h - 8), rng.integers(8, w - 8)
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        yy, xx = np.mgrid[-7:8, -7:8]
        flux = 10.0 ** rng.uniform(1.5, 5.5)
        light[y - 7 : y + 8, x - 7 : x + 8] += flux * np.exp(
            -0.5 * ((yy - dy) ** 2 + (xx - dx) ** 2) / 0.9**2
        )
    response = np.ones(shape)
    response[0::2, 0::2], response[1::2, 1::2] = 0.6, 0.7
    return np.asarray(light * response * np.clip(1.02 - 0.3 * radius, 0.05, None))


def expose(
    electrons_per_s: NDArray[np.float64], exposure_s: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """One raw exposure: shot noise, read noise, gain, bias, saturation."""
    electrons = rng.poisson(np.minimum(electrons_per_s * exposure_s, 5e5))
    adu = (electrons + rng.normal(0.0, READ_E, electrons.shape)) / EGAIN + BIAS
    return np.clip(np.round(adu), 0, SATURATION).astype(np.uint16)


def measure(
    electrons_per_s: NDArray[np.float64],
    exposure_s: tuple[float, ...] = (10.0, 2.5, 0.625, 0.15625, 0.0390625),
    rounds: int = 12,
    seed: int = 5,
    motion: bool = True,
) -> Truth:
    """Merge ``rounds`` noisy brackets of one scene and compare with the scene."""
    rng = np.random.default_rng(seed)
    reference = max(exposure_s)
    truth = electrons_per_s * reference / EGAIN / FULL
    fulls = [FULL] * len(exposure_s)
    total, squares, error_sum = (np.zeros_like(truth) for _ in range(3))
    scales: list[list[float]] = [[] for _ in exposure_s]
    for _ in range(rounds):
        light = [expose(electrons_per_s, t, rng).astype(np.float32) - BIAS for t in exposure_s]
        light = [np.asarray(v, dtype=np.float32) for v in light]
        model = estimate_noise(light, fulls, egain=None, mosaic=True)
        merged = np.asarray(
            merge(light, exposure_s, fulls, model, motion=motion).radiance, dtype=np.float64
        )
        total += merged
        squares += merged**2
        error_sum += np.abs(merged / np.maximum(truth, 1e-12) - 1.0)
        for k, t in enumerate(exposure_s):
            scaled = light[k] * (reference / t) / FULL
            good = (light[k] > 0.05 * FULL) & (electrons_per_s * t / EGAIN < 0.7 * FULL)
            if good.sum() > 100:
                agrees = np.sum(scaled[good], dtype=float) / np.sum(merged[good], dtype=float)
                scales[k].append(float(agrees))
    mean = total / rounds
    variance = (squares / rounds - mean**2) * rounds / (rounds - 1)
    optimum = optimal_variance(electrons_per_s, exposure_s)
    inside = truth < 0.9 * reference / min(exposure_s)
    strong = inside & (truth / np.sqrt(optimum) > 50)
    edges = np.quantile(truth[inside], np.linspace(0, 1, 25))
    noise, bias = [], []
    for low, high in pairwise(edges):
        chosen = inside & (truth >= low) & (truth < high)
        if chosen.sum() > 500:
            noise.append(np.sqrt(np.mean(variance[chosen] / optimum[chosen])))
        chosen &= strong
        if chosen.sum() > 500:
            bias.append(abs(np.median(mean[chosen] / truth[chosen]) - 1.0))
    return Truth(
        float(max(bias)),
        float(np.median(error_sum[strong] / rounds)),
        float(max(abs(np.median(s) - 1.0) for s in scales if s)),
        float(np.sqrt(np.mean(variance[inside] / optimum[inside]))),
        float(max(noise)),
    )


def optimal_variance(
    electrons_per_s: NDArray[np.float64], exposure_s: tuple[float, ...]
) -> NDArray[np.float64]:
    """Variance of the inverse-variance mean of all exposures that are not saturated."""
    reference = max(exposure_s)
    information = np.zeros_like(electrons_per_s)
    for t in exposure_s:
        adu = electrons_per_s * t / EGAIN
        variance = ((READ_E / EGAIN) ** 2 + adu / EGAIN + 1.0 / 12.0) * (reference / t / FULL) ** 2
        # Saturation anywhere in the 3x3 neighbourhood spoils the colours of the Bayer cell.
        open_ = maximum3(adu.astype(np.float32)) < FULL
        information += np.where(open_, 1.0 / variance, 0.0)
    return np.asarray(1.0 / np.maximum(information, 1e-30))


def ghost(shift_px: float, motion: bool, size: int = 384) -> tuple[float, float]:
    """Largest error that a cloud drifting ``shift_px`` between exposures leaves, and its share.

    Against the sky of the longest exposure, in means over 4x4 pixels; the share of the frame where
    the error is over 3 %.
    """
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[:size, :size]
    times = (10.0, 2.5, 0.625, 0.15625)
    scenes = []
    for k in range(len(times)):
        r2 = (rows - size / 2) ** 2 + (columns - size / 4 - shift_px * k) ** 2
        scenes.append(250.0 + 150.0 * np.exp(-0.5 * r2 / (size / 16) ** 2))
    light = [
        expose(s, t, rng).astype(np.float32) - np.float32(BIAS)
        for s, t in zip(scenes, times, strict=True)
    ]
    fulls = [FULL] * len(times)
    model = estimate_noise(light, fulls, egain=None, mosaic=True)
    merged = merge(light, times, fulls, model, motion=motion).radiance
    truth = scenes[0] * times[0] / EGAIN / FULL
    blocks = (size // 4, 4, size // 4, 4)
    ratio = merged.reshape(blocks).mean(axis=(1, 3)) / truth.reshape(blocks).mean(axis=(1, 3))
    error = np.abs(ratio - 1.0)
    return float(error.max()), float(np.mean(error > 0.03))


def simulator_electrons() -> NDArray[np.float64]:
    """Electrons per second of the built-in simulator's sky: full Moon, stars, clouds."""
    from datetime import UTC, datetime

    from allsky360.model import Site
    from allsky360.simulator.sky import SkySource
    from allsky360.simulator.source import ExposureRequest

    source = SkySource(Site("La Palma", 28.7606, -17.8816, 2326.0))
    request = ExposureRequest(datetime(2026, 11, 24, 1, tzinfo=UTC), 10.0)
    return np.asarray(source.expected_electrons(request), dtype=np.float64) / 10.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--simulator", action="store_true", help="the simulator's sky")
    options = parser.parse_args()
    electrons = (
        simulator_electrons()
        if options.simulator
        else sky_electrons((options.size, options.size), seed=3)
    )
    for times in ((10.0, 2.5, 0.625, 0.15625, 0.0390625), (8.0, 2.0, 0.5), (10.0, 0.5), (10.0,)):
        truth = measure(electrons, times, options.rounds)
        blind = measure(electrons, times, options.rounds, motion=False)
        print(
            f"exposures {times}: where SNR > 50 median error {100 * truth.median_error:.3f} % "
            f"(one pixel, with its noise, {100 * truth.pixel_error:.3f} %); exposure ratio error "
            f"{100 * truth.ratio_error:.3f} %; noise {truth.noise_over_optimum:.3f} x optimum "
            f"(worst brightness bin {truth.worst_bin:.3f}); without the test for motion "
            f"{blind.noise_over_optimum:.3f} ({blind.worst_bin:.3f})"
        )
    for shift in (0.0, 2.0, 5.0, 20.0, 60.0):
        (seen, much), (blind, more) = ghost(shift, True), ghost(shift, False)
        print(
            f"cloud of +60 % drifting {shift:g} px an exposure: ghost up to {100 * seen:.1f} % "
            f"({100 * much:.2f} % of the frame over 3 %); without the test for motion "
            f"{100 * blind:.1f} % ({100 * more:.2f} %)"
        )


if __name__ == "__main__":
    main()
