"""From a linear frame to the picture: balance, then the steps of a profile, then 8 bits.

Which profile is used follows from the sky: day, moonlit, cloudy or clear. Between two of them both
pictures are made and mixed, so that no picture of a time-lapse jumps where one profile hands over
to the next; nearly always one of them has all the weight, and only that one is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, maximum3, to_host
from allsky360.arrays.tone_curve import balance, quantise
from allsky360.imaging.filters.filter import Conditions, State
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.linear import LinearFrame
from allsky360.imaging.noise import NoiseModel
from allsky360.imaging.parameters import ChainParameters, ProfileStep
from allsky360.imaging.scene import full_mask, luminance_of
from allsky360.imaging.steps import StepLog
from allsky360.imaging.tone import (
    SLEW,
    TONE_VERSION,
    Tone,
    daylight_of,
    light_per_unit,
    measure_tone,
    share_of_new,
    smooth_state,
    smooth_tone,
)

VERSION = 1

LEAST_WEIGHT = 0.02
"""A profile with less weight than this is not made."""

HINTS = "sky/hints"
"""Key of the smoothed hints among the tone's states."""

Watcher = Callable[[str, Array], None]
"""Called with the name and the image of each step, for people who want to see them all."""


@dataclass(frozen=True)
class SkyHints:
    """What the caller knows about the sky; shares from 0 to 1.

    Attributes
    ----------
    moonlight
        0 without a Moon, 1 with a full Moon well up.
    cloudiness
        Covered share of the sky.
    sun_altitude_deg
        Altitude of the Sun, None where it is not known.
    star_gains
        Gains of red and blue that make a Sun-like star white, None where they are not known.
    """

    moonlight: float = 0.0
    cloudiness: float = 0.0
    sun_altitude_deg: float | None = None
    star_gains: tuple[float, float] | None = None

    @property
    def dark(self) -> bool:
        """Whether the Sun has no part in the sky's brightness."""
        return self.sun_altitude_deg is not None and self.sun_altitude_deg < -15.0


@dataclass(frozen=True, eq=False)
class Picture:
    """The display branch's result: ``(H, W, 3)`` uint8 sRGB, its state, and numbers about it."""

    pixels: Array
    tone: Tone
    numbers: dict[str, float]


def render_picture(
    frame: LinearFrame,
    parameters: ChainParameters,
    log: StepLog,
    *,
    tone: Tone | None = None,
    hints: SkyHints | None = None,
    mask: Array | None = None,
    watch: Watcher | None = None,
) -> Picture:
    """Make the picture of a linear frame.

    Parameters
    ----------
    frame
        The frame.
    parameters
        Of the chain.
    log
        Gets every step.
    tone
        ``Picture.tone`` of the frame before.
    hints
        What is known about the sky.
    mask
        ``(H, W)`` bool on the frame's device, True = sky; None: the whole frame.
    watch
        Sees the image after every step.
    """
    with log.step("tone", TONE_VERSION, time_s=parameters.tone_time_s) as note:
        hints = hints or SkyHints()
        # Under clouds the clouds are the background, and grey is right for them.
        moonlight = hints.moonlight * (1.0 - hints.cloudiness)
        measured, offset = measure_tone(
            frame, parameters, moonlight=moonlight, star_gains=hints.star_gains
        )
        new = share_of_new(measured, tone, parameters.tone_time_s, steady=hints.dark)
        smooth = smooth_tone(measured, tone, new)
        daylight = daylight_of(smooth, frame.reference)
        unit = light_per_unit(frame.reference, parameters.gain_unit_db)
        sky = math.exp(smooth.radiance) / unit
        slew = SLEW if hints.dark and new < 1.0 else math.inf
        told = {"share_moonlight": [hints.moonlight], "share_cloudiness": [hints.cloudiness]}
        before = tone.states.get(HINTS) if tone is not None else None
        kept = smooth_state(told, before, new, 1.0, slew=slew)
        weights = profile_weights(
            parameters.profile,
            daylight,
            SkyHints(kept["share_moonlight"][0], kept["share_cloudiness"][0]),
        )
        note |= {"daylight": daylight, "sky": sky, "gains": list(smooth.gains), "profiles": weights}
    with log.step("balance", VERSION):
        base = balance(
            frame.image,
            maximum3(maximum3(frame.clipped)),
            offset=offset,
            gain=[g / sky for g in smooth.gains],
        )
    full = float(luminance_of(np.asarray([smooth.gains], np.float32))[0]) / sky
    conditions = Conditions(daylight, frame.sky_noise / sky, full, max(frame.full_scale, 1.0))
    scale = 1.0 / (frame.full_well_adu * sky)
    noise = NoiseModel(frame.noise.read_var * scale**2, frame.noise.shot * scale)
    sky_mask = full_mask(frame.scene, frame.image.shape[:2]) if mask is None else to_host(mask)
    states: dict[str, State] = {HINTS: kept}
    image = None
    for name, weight in weights.items():
        light = math.exp(smooth.radiance)
        run = _Run(name, conditions, noise, mask, sky_mask, tone, new, slew, light, log, watch)
        picture = run.steps(base, parameters.profiles[name])
        states |= run.states
        if image is None:
            image, total = picture, weight
        else:
            total += weight
            image = image + (weight / total) * (picture - image)
    assert image is not None
    with log.step("quantise", VERSION):
        pixels = quantise(image)
    numbers = {
        "white_balance_red": smooth.gains[0],
        "white_balance_blue": smooth.gains[-1],
        "daylight": daylight,
    }
    return Picture(pixels, replace(smooth, states=states), numbers)


def profile_weights(profile: str, daylight: float, hints: SkyHints) -> dict[str, float]:
    """Return the profiles to be mixed, with weights that sum to 1, heaviest first.

    "auto" goes from night to day with the light, at night from clear to cloudy with the covered
    share, and to moonlit with the Moon.
    """
    if profile != "auto":
        return {profile: 1.0}
    day = _ramp(daylight, 0.3, 0.7)
    cloudy = _ramp(hints.cloudiness, 0.5, 0.8)
    moonlit = _ramp(hints.moonlight, 0.1, 0.3)
    night = 1.0 - day
    weights = {
        "day": day,
        "cloudy": night * cloudy,
        "moonlit": night * (1.0 - cloudy) * moonlit,
        "clear": night * (1.0 - cloudy) * (1.0 - moonlit),
    }
    # Less what is left out, so that a profile begins with nothing and not with a jump.
    kept = {name: w - LEAST_WEIGHT for name, w in weights.items() if w > LEAST_WEIGHT}
    total = sum(kept.values())
    return {name: kept[name] / total for name in sorted(kept, key=lambda n: -kept[n])}


def _ramp(value: float, low: float, high: float) -> float:
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass
class _Run:
    """One profile's way through the filters."""

    profile: str
    conditions: Conditions
    noise: NoiseModel
    mask: Array | None
    sky: NDArray[np.bool_] | None
    tone: Tone | None
    new: float
    slew: float
    light: float
    log: StepLog
    watch: Watcher | None

    def __post_init__(self) -> None:
        self.states: dict[str, State] = {}

    def steps(self, image: Array, steps: tuple[ProfileStep, ...]) -> Array:
        if self.watch:
            self.watch("balance", image)
        for number, (name, keywords) in enumerate(steps):
            chosen = FILTERS[name]
            given = {
                "mask": self.mask,
                "noise": self.noise,
                "conditions": self.conditions,
            }
            needs = {k: given[k] for k in chosen.needs}
            record = {"profile": self.profile, **keywords}
            with self.log.step(name, chosen.version, record):
                if chosen.measure is not None:
                    own = {k: keywords[k] for k in chosen.settings_of_measure if k in keywords}
                    measured = chosen.measure(image, **own, **(needs | {"mask": self.sky}))
                    key = f"{self.profile}/{number}/{name}"
                    needs["state"] = self._smooth(key, measured)
                image = chosen.run(image, **keywords, **needs)
            if self.watch:
                self.watch(name, image)
        return image

    def _smooth(self, key: str, measured: State) -> State:
        """Smooth a filter's state in time; it is kept per unit of light, not of this exposure."""
        states = self.tone.states if self.tone is not None else {}
        # A profile that begins takes over from the one before.
        same = (v for k, v in states.items() if k.rsplit("/", 1)[1] == key.rsplit("/", 1)[1])
        old = states.get(key) or next(same, None)
        kept = smooth_state(measured, old, self.new, self.light, slew=self.slew)
        self.states[key] = kept
        return {
            k: v if k.startswith("share_") else [x / self.light for x in v] for k, v in kept.items()
        }
