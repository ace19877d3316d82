"""The sensor: from expected electrons to the 16-bit numbers a camera delivers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.model import BAYER_PATTERNS, BayerPattern
from allsky360.simulator.photometry import cfa_of
from allsky360.simulator.source import ExposureRequest, Roi, SensorDescription

Array = NDArray[np.float32]

DARK_REFERENCE_C = 20.0
DARK_DOUBLING_C = 6.3
NORMAL_ABOVE_E = 50.0


class SensorModel:
    """Noise, dark current, hot pixels and quantisation of one sensor.

    Parameters
    ----------
    description
        The sensor in physical units.
    seed
        Picks the fixed maps: which pixels are hot, how dark current varies.
    hot_pixel_fraction
        Share of pixels whose dark current is tens to thousands of times the mean.
    """

    def __init__(
        self, description: SensorDescription, seed: int = 1, hot_pixel_fraction: float = 2e-4
    ) -> None:
        self.description = description
        self.seed = seed
        self.hot_pixel_fraction = hot_pixel_fraction

    @cached_property
    def dark_map(self) -> Array:
        """Dark current of each pixel over the mean, ``(H, W)``: near 1, hot pixels far up."""
        d = self.description
        rng = np.random.default_rng([self.seed, 9001])
        spread = rng.standard_normal((d.height, d.width), dtype=np.float32)
        dark = np.exp(np.float32(0.25) * spread)
        count = round(self.hot_pixel_fraction * d.width * d.height)
        where = rng.choice(d.width * d.height, size=count, replace=False)
        dark.reshape(-1)[where] = 10.0 ** rng.uniform(1.0, 3.2, count).astype(np.float32)
        return np.asarray(dark, dtype=np.float32)

    def hot_pixels(self) -> NDArray[np.bool_]:
        """Return the mask of pixels with at least 10 times the mean dark current."""
        return self.dark_map >= 10.0

    def dark_e_per_s(self, temperature_c: float) -> float:
        """Return the mean dark current at a temperature: doubles every 6.3 degrees."""
        warmer = (temperature_c - DARK_REFERENCE_C) / DARK_DOUBLING_C
        return float(self.description.dark_e_per_s * 2.0**warmer)

    def saturation_adu(self, request: ExposureRequest) -> float:
        """Return the level of a full pixel: a full well, or the converter's end."""
        d = self.description
        step = 2 ** (16 - d.bits)
        full = d.pedestal_adu(request.offset) + d.full_well_e / d.egain(request.gain)
        return float(min(full, (2**d.bits - 1) * step))

    def read_out(
        self, light_e: Array | None, request: ExposureRequest, rng: np.random.Generator
    ) -> NDArray[np.uint16]:
        """Return one whole-sensor readout.

        Parameters
        ----------
        light_e
            ``(H, W)`` float32 expected photoelectrons, None when the shutter stayed closed.
        rng
            Source of shot and read noise.

        Returns
        -------
        ``(H, W)`` uint16 ADU.
        """
        d = self.description
        exposure_s = 0.0 if request.frame_type == "bias" else request.exposure_s
        dark_e = self.dark_e_per_s(request.temperature_c) * exposure_s
        if dark_e > 1e-3:
            expected = self.dark_map * np.float32(dark_e)
            if light_e is not None:
                expected += light_e
        elif light_e is not None:
            expected = light_e
        else:
            expected = np.zeros((d.height, d.width), dtype=np.float32)
        electrons = shot_noise(expected, rng)
        np.minimum(electrons, np.float32(d.full_well_e), out=electrons)
        noise = rng.standard_normal(electrons.shape, dtype=np.float32)
        noise *= np.float32(d.read_noise_e)
        electrons += noise
        step = 2 ** (16 - d.bits)
        electrons *= np.float32(1.0 / (d.egain(request.gain) * step))
        electrons += np.float32(d.pedestal_adu(request.offset) / step)
        np.rint(electrons, out=electrons)
        np.clip(electrons, 0, 2**d.bits - 1, out=electrons)
        adu = electrons.astype(np.uint16)
        adu *= np.uint16(step)
        return adu

    def truth(self, request: ExposureRequest) -> dict[str, Any]:
        """Return the noise parameters of one exposure as plain JSON values."""
        d = self.description
        return {
            "egain_e_per_adu": d.egain(request.gain),
            "read_noise_e": d.read_noise_e,
            "pedestal_adu": d.pedestal_adu(request.offset),
            "dark_e": self.dark_e_per_s(request.temperature_c) * request.exposure_s,
            "full_well_e": d.full_well_e,
            "saturation_adu": self.saturation_adu(request),
            "bits": d.bits,
            "seed": self.seed,
        }


def shot_noise(expected: Array, rng: np.random.Generator) -> Array:
    """Return Poisson counts of ``expected``; the normal approximation above 50 electrons."""
    low = expected < NORMAL_ABOVE_E
    share = np.count_nonzero(low) / max(expected.size, 1)
    if share == 1.0:
        return np.asarray(rng.poisson(expected), dtype=np.float32)
    counts = rng.standard_normal(expected.shape, dtype=np.float32)
    counts *= np.sqrt(expected)
    counts += expected
    if share > 0.0:
        counts[low] = rng.poisson(expected[low])
    return counts


def crop_and_bin(
    image: NDArray[Any], pattern: BayerPattern | None, roi: Roi | None, binning: int
) -> tuple[NDArray[Any], BayerPattern | None]:
    """Cut a region out and average like-coloured pixels; return it with its Bayer pattern.

    Averaging (not adding) keeps black level, gain and saturation where they were. Like-coloured
    pixels are combined, so that the result of a colour sensor is again a mosaic of that pattern.
    """
    if roi is not None:
        left, top, width, height = roi
        image = image[top : top + height, left : left + width]
        pattern = shifted_pattern(pattern, left, top)
    if binning > 1:
        cell = 1 if pattern is None else 2
        rows = image.shape[0] // (cell * binning)
        columns = image.shape[1] // (cell * binning)
        cut = image[: rows * cell * binning, : columns * cell * binning]
        blocks = cut.reshape(rows, binning, cell, columns, binning, cell)
        mean = blocks.mean(axis=(1, 4), dtype=np.float32).reshape(rows * cell, columns * cell)
        image = np.rint(mean).astype(image.dtype) if image.dtype.kind == "u" else mean
    return np.ascontiguousarray(image), pattern


def shifted_pattern(pattern: BayerPattern | None, left: int, top: int) -> BayerPattern | None:
    """Return the pattern seen from the pixel (left, top)."""
    if pattern is None:
        return None
    rolled = np.roll(cfa_of(pattern), (-(top % 2), -(left % 2)), axis=(0, 1))
    return next(p for p in BAYER_PATTERNS if np.array_equal(cfa_of(p), rolled))
