"""How bright and which colour the picture is: measured on each frame, smooth in time.

What is smoothed is the sky in units of light per second, not of the exposure: when exposure control
changes the exposure, the picture does not jump.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.scene import Scene, luminance_of
from allsky360.imaging.white_balance import mix_gains, night_gains
from allsky360.model import Exposure

VERSION = 2

FORGET_S = 900.0
"""After a gap as long as this the picture starts afresh."""

NIGHT_RADIANCE, DAY_RADIANCE = -2.5, 0.0
"""log10 of sky level (full wells per second at gain 0) where night ends and day begins.

With a fast lens a moonless sky fills 1e-5 to 1e-4 of a full well a second, a full Moon's 1e-3, the
sky at sunset 1 to 10, at noon 100; so the limits need not be exact.
"""

DAY_BACKGROUND = 0.45
"""Display level of a day sky."""

OVEREXPOSED_BACKGROUND = 0.85
"""Display level of a sky that is saturated: it must look overexposed."""

BLACK_SHARE = 0.5
"""Black point as a share of the darkest sky: the zenith stays visibly above black."""

BLACK_DEPTH = 2.0
"""Where the frame is flat (a pedestal nobody told us, an overcast sky), the black point lies this
many times the sky's own range below its darkest part."""

HEADROOM = 40.0
"""White lies this many times the sky's height above black, unless something larger is brighter.

The picture then looks alike whatever share of full well the sky takes.
"""


@dataclass(frozen=True)
class Tone:
    """The picture's state, carried from frame to frame.

    Attributes
    ----------
    time
        UTC start of the frame it belongs to.
    radiance
        log of the sky's luminance per second at gain 0.
    black
        Black point as a share of the sky's luminance.
    white
        log of white over the sky's luminance.
    gains
        White balance of each channel.
    """

    time: datetime
    radiance: float
    black: float
    white: float
    gains: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"time": self.time.isoformat(), "gains": list(self.gains)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tone:
        """Read what :meth:`to_json` wrote."""
        return cls(
            datetime.fromisoformat(data["time"]),
            float(data["radiance"]),
            float(data["black"]),
            float(data["white"]),
            tuple(float(g) for g in data["gains"]),
        )


@dataclass(frozen=True)
class Display:
    """Everything the stretch needs, in the frame's linear unit."""

    offset: tuple[float, ...]
    gains: tuple[float, ...]
    black: float
    sky: float
    white: float
    target: float
    daylight: float


def light_per_unit(exposure: Exposure, gain_unit_db: float) -> float:
    """Full wells per second at gain 0 that a linear value of 1 stands for."""
    amplification = 10.0 ** ((exposure.gain or 0.0) * gain_unit_db / 20.0)
    return float(1.0 / (max(exposure.exposure_s, 1e-6) * amplification))


def measure_tone(
    scene: Scene,
    reference: Exposure,
    parameters: ChainParameters,
    *,
    noise: float,
    full_scale: float,
    display_referred: bool,
) -> tuple[Tone, tuple[float, ...]]:
    """Measure a frame's own tone.

    Parameters
    ----------
    scene
        The surveyed frame.
    reference
        Its longest exposure.
    parameters
        Of the chain.
    noise
        Standard deviation of one pixel of the sky, linear unit.
    full_scale
        Largest linear value the bracket can hold.
    display_referred
        The camera balanced the colours for daylight already.

    Returns
    -------
    tone, offset
        The tone, and the pedestal of each channel left in the frame (from its dark border).
    """
    dark = np.quantile(scene.small[scene.sky], 0.002, axis=0)
    offset = tuple(float(min(b, d)) for b, d in zip(scene.border or dark * 0.0, dark, strict=True))
    unit = light_per_unit(reference, parameters.gain_unit_db)
    level = max(sum(scene.background) / len(scene.background), 1e-6)
    daylight = daylight_share(math.log10(level * unit)) if knows_exposure(reference) else 0.0
    fixed = (1.0, 1.0, 1.0) if display_referred else (parameters.red, 1.0, parameters.blue)
    if len(scene.background) == 1:
        gains: tuple[float, ...] = (1.0,)
    elif parameters.white_balance == "manual":
        gains = fixed
    else:
        gains = mix_gains(night_gains(scene.background, offset), fixed, daylight)
    balanced = (scene.small - np.asarray(offset, np.float32)) * np.asarray(gains, np.float32)
    luminance = luminance_of(balanced)[scene.sky]
    background = (np.asarray(scene.background) - offset) * np.asarray(gains)
    sky = max(float(luminance_of(background[None].astype(np.float32))[0]), 1e-6)
    low = float(np.quantile(luminance, 0.005))
    low = min(low, sky)
    black = max(BLACK_SHARE * low, low - BLACK_DEPTH * (sky - low))
    # By day nothing but the sky's own colour lies below it: a black point there would only
    # exaggerate that colour, on a flat sky without bound.
    # A saturated sky says nothing about what lies below it either.
    full = float(luminance_of(np.asarray([gains], dtype=np.float32))[0])
    natural = (1.0 - daylight) * (1.0 - overexposure(sky / full))
    black = natural * max(min(black, sky - 6.0 * noise), 0.0)
    # Saturated pixels must come out white whatever the gains.
    ceiling = 0.95 * full
    bright = 1.5 * float(np.quantile(luminance, 0.9995))
    white = max(bright, min(ceiling, black + HEADROOM * (sky - black)))
    white = min(white, ceiling * max(full_scale, 1.0))
    tone = Tone(
        reference.start,
        math.log(sky * unit),
        black / sky,
        math.log(max(white, 1.01 * sky) / sky),
        gains,
    )
    return tone, offset


def knows_exposure(exposure: Exposure) -> bool:
    """Whether the exposure time was measured; without it, day and night cannot be told."""
    return exposure.exposure_s > 0 and exposure.metadata.get("exposure_source") != "unknown"


def daylight_share(log_radiance: float) -> float:
    """0 at night, 1 by day, smooth in between."""
    t = (log_radiance - NIGHT_RADIANCE) / (DAY_RADIANCE - NIGHT_RADIANCE)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def overexposure(level: float) -> float:
    """0 up to two thirds of full well, 1 where the sky itself is saturated, smooth in between."""
    t = min(max((level - 0.67) / 0.30, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def smooth_tone(measured: Tone, previous: Tone | None, time_s: float) -> Tone:
    """Move from the previous frame's tone towards the measured one."""
    if previous is None or len(previous.gains) != len(measured.gains):
        return measured
    gap = (measured.time - previous.time).total_seconds()
    if not 0.0 < gap < FORGET_S or time_s <= 0:
        return measured
    a = 1.0 - math.exp(-gap / time_s)

    def mix(old: float, new: float) -> float:
        return old + a * (new - old)

    return Tone(
        measured.time,
        mix(previous.radiance, measured.radiance),
        mix(previous.black, measured.black),
        mix(previous.white, measured.white),
        tuple(
            math.exp(mix(math.log(old), math.log(new)))
            for old, new in zip(previous.gains, measured.gains, strict=True)
        ),
    )


def display_of(
    tone: Tone, reference: Exposure, offset: tuple[float, ...], parameters: ChainParameters
) -> Display:
    """Bring a tone into the linear unit of one frame."""
    unit = light_per_unit(reference, parameters.gain_unit_db)
    sky = math.exp(tone.radiance) / unit
    daylight = daylight_share(tone.radiance / math.log(10.0)) if knows_exposure(reference) else 0.0
    target = parameters.target_background
    target += daylight * max(DAY_BACKGROUND - target, 0.0)
    full = float(luminance_of(np.asarray([tone.gains], dtype=np.float32))[0])
    target += overexposure(sky / full) * max(OVEREXPOSED_BACKGROUND - target, 0.0)
    return Display(
        offset, tone.gains, tone.black * sky, sky, math.exp(tone.white) * sky, target, daylight
    )
