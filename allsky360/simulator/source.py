"""What any source of simulated frames looks like: the seam between renderer, replay and server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allsky360.model import BayerPattern, Exposure, FrameType

Roi = tuple[int, int, int, int]


@dataclass(frozen=True)
class SensorDescription:
    """A camera sensor in physical units.

    "ADU" is always the 16-bit number a camera delivers: a ``bits``-bit converter fills the top
    bits, so that values step by ``2 ** (16 - bits)`` and a full pixel reads about 65535.

    Attributes
    ----------
    name
        Device name shown to clients.
    width, height
        Unbinned pixels.
    pattern
        Bayer pattern of the top-left 2x2 cell, None for a mono sensor.
    pixel_um
        Pixel pitch, micrometres.
    bits
        Depth of the converter: 8 to 16.
    full_well_e
        Electrons a pixel can hold.
    read_noise_e
        Read noise, electrons RMS at every gain.
    dark_e_per_s
        Mean dark current at 20 degrees C, electrons per pixel and second.
    bias_adu
        Pedestal at offset 0, ADU.
    egain_at_zero
        Electrons per ADU at gain 0.
    gain_unit_db
        Decibels per unit of the gain setting.
    max_gain
        Largest gain setting.
    min_exposure_s, max_exposure_s
        Allowed exposure times, seconds.
    has_cooler
        Whether the sensor temperature can be set.
    offset_step_adu
        ADU added to the pedestal by one unit of the offset setting.
    """

    name: str = "All-sky Simulator"
    width: int = 1608
    height: int = 1104
    pattern: BayerPattern | None = "RGGB"
    pixel_um: float = 9.0
    bits: int = 14
    full_well_e: float = 97_000.0
    read_noise_e: float = 2.6
    dark_e_per_s: float = 0.6
    bias_adu: float = 0.0
    egain_at_zero: float = 1.48
    gain_unit_db: float = 0.1
    max_gain: float = 350.0
    min_exposure_s: float = 0.000032
    max_exposure_s: float = 2000.0
    has_cooler: bool = True
    offset_step_adu: float = 16.0

    def egain(self, gain: float) -> float:
        """Electrons per ADU at a gain setting."""
        return float(self.egain_at_zero * 10.0 ** (-gain * self.gain_unit_db / 20.0))

    def pedestal_adu(self, offset: float) -> float:
        """Level of a pixel that saw nothing, ADU."""
        return self.bias_adu + offset * self.offset_step_adu


@dataclass(frozen=True)
class ExposureRequest:
    """One exposure asked of a source.

    Attributes
    ----------
    start
        Aware UTC instant the shutter opens.
    exposure_s
        Seconds the shutter stays open.
    gain, offset
        In the camera's own units.
    temperature_c
        Sensor temperature.
    frame_type
        What the shutter sees.
    binning
        Like-coloured pixels combined per axis.
    roi
        ``(left, top, width, height)`` in unbinned pixels; None is the whole sensor.
    """

    start: datetime
    exposure_s: float
    gain: float = 0.0
    offset: float = 30.0
    temperature_c: float = 15.0
    frame_type: FrameType = "light"
    binning: int = 1
    roi: Roi | None = None

    @property
    def middle(self) -> datetime:
        """UTC instant half-way through the exposure."""
        return self.start + timedelta(seconds=self.exposure_s / 2)


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """What a source hands out for one request.

    Attributes
    ----------
    pixels
        ``(H, W)`` uint16 ADU, row 0 on top, after ROI and binning.
    pattern
        Bayer pattern of the top-left 2x2 cell of ``pixels``, None for mono.
    truth
        What really was in the sky and the sensor; plain JSON values.
    arrays
        Truth maps by name, same shape as ``pixels``; may be empty.
    """

    pixels: NDArray[np.uint16]
    pattern: BayerPattern | None
    truth: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def as_exposure(frame: SimulatedFrame, request: ExposureRequest, camera: str = "") -> Exposure:
    """Return a rendered frame as a camera that knows its own numbers would hand it over."""
    sensor = frame.truth["sensor"]
    return Exposure(
        frame.pixels,
        frame.pattern,
        request.start,
        request.exposure_s,
        gain=request.gain,
        saturation_adu=sensor["saturation_adu"],
        egain=sensor["egain_e_per_adu"],
        camera=camera,
    )


class FrameSource(Protocol):
    """Anything that can be exposed: the rendered sky, a folder of real frames."""

    @property
    def sensor(self) -> SensorDescription:
        """The sensor the frames come from."""
        ...

    def expose(self, request: ExposureRequest) -> SimulatedFrame:
        """Take one exposure. Deterministic for equal requests; safe to call from a thread."""
        ...
