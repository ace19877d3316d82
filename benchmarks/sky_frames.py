"""Simulated frames through the real chain, with what the measurements of them should give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import develop
from allsky360.model import Bracket, Exposure, Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest
from allsky360.sky.plane import measurement_plane
from allsky360.sky.vignetting import Vignetting

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
TRUE_VIGNETTING = Vignetting(0.4226, 0.1320)
"""The simulator's 1 - 0.4 (theta / 90)^2 as two terms in magnitudes, to 0.002."""


@dataclass(frozen=True, eq=False)
class SkyFrame:
    """A developed frame: what a measurement is given, and the truth it is judged by."""

    plane: NDArray[np.float32]
    linear: NDArray[np.float32]
    clipped: NDArray[np.uint8]
    middle: datetime
    exposure_s: float
    electrons_per_unit: float
    zero_point_mag: float
    truth: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def take(
    source: SkySource, start: datetime, exposure_s: float = 10.0, gain: float = 0.0
) -> SkyFrame:
    """Expose and develop one frame.

    The true zero point is that of the plane (R + 2G + B) / 4: electrons a second of a V = 0,
    B-V = 0 star over the electrons of one unit.
    """
    request = ExposureRequest(start=start, exposure_s=exposure_s, gain=gain)
    frame = source.expose(request)
    sensor = frame.truth["sensor"]
    exposure = Exposure(
        frame.pixels,
        frame.pattern,
        start,
        exposure_s,
        gain=gain,
        offset=request.offset,
        saturation_adu=sensor["saturation_adu"],
        egain=sensor["egain_e_per_adu"],
    )
    developed = develop(Bracket((exposure,)), ChainParameters())
    steps = {s.name: s.parameters for s in developed.steps}
    full = sensor["saturation_adu"] - steps["black-level"]["level_adu"]
    units = full * sensor["egain_e_per_adu"]
    linear = developed.linear
    response = {b.name: b.response for b in source.bands}
    if "L" in response:
        plane = np.ascontiguousarray(linear[..., 0])
        light = response["L"]
    else:
        plane = measurement_plane(linear)
        light = (response["R"] + 2 * response["G"] + response["B"]) / 4
    raw = frame.pixels >= 0.97 * sensor["saturation_adu"]
    clipped = np.zeros(plane.shape, np.uint8)
    for j, i in zip(*np.nonzero(raw), strict=True):  # a debayered pixel knows its neighbours
        clipped[max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2] = 255
    return SkyFrame(
        plane=plane,
        linear=linear,
        clipped=clipped,
        middle=start + timedelta(seconds=exposure_s / 2),
        exposure_s=exposure_s,
        electrons_per_unit=units,
        zero_point_mag=float(2.5 * np.log10(source.zero_point_e_per_s * light / units)),
        truth=frame.truth,
        arrays=frame.arrays,
    )
