"""The words of the system as small frozen dataclasses: Site, Exposure, Bracket."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

BayerPattern = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
BAYER_PATTERNS: tuple[BayerPattern, ...] = ("RGGB", "BGGR", "GRBG", "GBRG")
FrameType = Literal["light", "bias", "dark", "flat"]

MAX_EXPOSURES_PER_BRACKET = 5


@dataclass(frozen=True)
class Site:
    """Where the camera stands.

    Longitude is east-positive, -180 to 180 degrees.
    """

    name: str
    latitude_deg: float
    longitude_deg: float
    elevation_m: float = 0.0

    def night_of(self, when: datetime) -> date:
        """Name of the night an instant belongs to: local date of its preceding noon.

        Local time is mean solar time (UTC + longitude / 15 h): it knows no daylight saving and
        no political zone, so every night lasts exactly 24 h.
        """
        local = as_utc(when) + timedelta(hours=self.longitude_deg / 15.0)
        return (local - timedelta(hours=12)).date()

    def noon_utc(self, night: date) -> datetime:
        """UTC instant of the local mean noon at which ``night`` begins."""
        noon = datetime.combine(night, time(12), tzinfo=UTC)
        return noon - timedelta(hours=self.longitude_deg / 15.0)


@dataclass(frozen=True, eq=False)
class Exposure:
    """One raw image from the camera.

    Attributes
    ----------
    pixels
        Raw ADU as delivered, uint8 or uint16: ``(H, W)`` for a mosaic or mono sensor, ``(H, W, 3)``
        (R, G, B) for cameras that deliver colour. Row 0 is the top row.
    pattern
        Bayer pattern of the top-left 2x2 cell *of this array*, None for mono and RGB.
    start
        UTC start of the exposure.
    exposure_s
        Exposure time in seconds.
    gain, offset
        Camera settings in the camera's own units, None when unknown.
    temperature_c
        Sensor temperature, None when unknown.
    binning
        Pixels combined per axis.
    saturation_adu
        Level at which a pixel counts as saturated.
    egain
        Electrons per ADU at this gain, None when unknown.
    camera
        Device name.
    frame_type
        What the shutter saw.
    metadata
        Everything else worth keeping (FITS cards, source file); plain JSON values.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    pattern: BayerPattern | None
    start: datetime
    exposure_s: float
    gain: float | None = None
    offset: float | None = None
    temperature_c: float | None = None
    binning: int = 1
    saturation_adu: float = 65535.0
    egain: float | None = None
    camera: str = ""
    frame_type: FrameType = "light"
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        """UTC end of the exposure."""
        return self.start + timedelta(seconds=self.exposure_s)


@dataclass(frozen=True, eq=False)
class Bracket:
    """1 to 5 exposures of one camera taken back to back, longest first.

    All exposures share shape, pattern, gain and binning.
    """

    exposures: tuple[Exposure, ...]

    def __post_init__(self) -> None:
        """Refuse what could not be merged."""
        n = len(self.exposures)
        if not 1 <= n <= MAX_EXPOSURES_PER_BRACKET:
            raise ValueError(f"a bracket holds 1 to {MAX_EXPOSURES_PER_BRACKET} exposures, got {n}")
        first = self.exposures[0]
        for other in self.exposures[1:]:
            if other.pixels.shape != first.pixels.shape or other.pattern != first.pattern:
                raise ValueError("the exposures of a bracket must share shape and Bayer pattern")

    @property
    def start(self) -> datetime:
        """UTC start of the earliest exposure: the bracket's time stamp."""
        return min(e.start for e in self.exposures)


def as_utc(when: datetime) -> datetime:
    """Return ``when`` in UTC; a naive datetime is refused, since its zone cannot be known."""
    if when.tzinfo is None:
        raise ValueError(f"{when.isoformat()} has no time zone; use an aware UTC datetime")
    return when.astimezone(UTC)
