"""How bright and which colour the picture is: measured on each frame, smooth in time.

What is smoothed is the sky in units of light per second, not of the exposure: when exposure control
changes the exposure, the picture does not jump.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from allsky360.imaging.calibrate import is_display_referred
from allsky360.imaging.filters.filter import State
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.scene import luminance_of
from allsky360.imaging.white_balance import mix_gains, night_gains
from allsky360.model import Exposure

if TYPE_CHECKING:
    from allsky360.imaging.linear import LinearFrame

TONE_VERSION = 5

MOON_SHARE = 0.7
"""Share of the gains of daylight under a full Moon: the eye, and cities, leave it at that."""

FORGET_S = 900.0
"""After a gap as long as this the picture starts afresh."""

NEAR = 0.5
"""Distance of the sky from the tone, in e-folds, from which the tone hurries after it."""

SLEW = 0.0016
"""Largest change of the tone and of what filters measure from frame to frame at night, as a share.

In the picture it shows as much in what is brighter than the sky, and up to 2.4 times as much in
what is near the black point; with what a change of profile and moving clouds add, that is less than
half a per cent.
"""

FROM_NOTHING = 0.1
"""Share of a new number that counts as the old one's size where that is smaller still."""

LOST = 2.5
"""Distance, in e-folds, that no cloud and no Moon makes: the tone belongs to another sky."""

NIGHT_RADIANCE, DAY_RADIANCE = -2.5, 0.0
"""log10 of sky level (full wells per second at gain 0) where night ends and day begins.

With a fast lens a moonless sky fills 1e-5 to 1e-4 of a full well a second, a full Moon's 1e-3, the
sky at sunset 1 to 10, at noon 100; so the limits need not be exact.
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
    gains
        White balance of each channel.
    states
        What the filters measured, by "profile/number/filter", per unit of light.
    """

    time: datetime
    radiance: float
    gains: tuple[float, ...]
    states: dict[str, State] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"time": self.time.isoformat(), "gains": list(self.gains)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tone:
        """Read what :meth:`to_json` wrote."""
        return cls(
            datetime.fromisoformat(data["time"]),
            float(data["radiance"]),
            tuple(float(g) for g in data["gains"]),
            {
                str(key): {str(k): [float(v) for v in values] for k, values in state.items()}
                for key, state in data.get("states", {}).items()
            },
        )


def light_per_unit(exposure: Exposure, gain_unit_db: float) -> float:
    """Full wells per second at gain 0 that a linear value of 1 stands for."""
    amplification = 10.0 ** ((exposure.gain or 0.0) * gain_unit_db / 20.0)
    return float(1.0 / (max(exposure.exposure_s, 1e-6) * amplification))


def measure_tone(
    frame: LinearFrame,
    parameters: ChainParameters,
    *,
    moonlight: float = 0.0,
    star_gains: tuple[float, float] | None = None,
) -> tuple[Tone, tuple[float, ...]]:
    """Measure a frame's own brightness and colour.

    Parameters
    ----------
    frame, parameters
        Of the chain.
    moonlight
        0 without a Moon, 1 with a full Moon well up. Its light is daylight: with the gains of a
        moonless night the blue sky it makes would come out grey and the clouds brown.
    star_gains
        Gains of red and blue that make a Sun-like star white, for the mode "stars": they are the
        sensor's, so they hold by day as well.

    Returns
    -------
    tone, offset
        The tone, and the pedestal of each channel left in the frame (from its dark border).
    """
    scene, reference = frame.scene, frame.reference
    dark = np.quantile(scene.small[scene.sky], 0.002, axis=0)
    offset = tuple(float(min(b, d)) for b, d in zip(scene.border or dark * 0.0, dark, strict=True))
    unit = light_per_unit(reference, parameters.gain_unit_db)
    level = max(frame.sky_level, 1e-6)
    daylight = daylight_share(math.log10(level * unit)) if knows_exposure(reference) else 0.0
    fixed = (parameters.red, 1.0, parameters.blue)
    if is_display_referred(reference):  # the camera balanced its colours for daylight already
        fixed = (1.0, 1.0, 1.0)
    if len(scene.background) == 1:
        gains: tuple[float, ...] = (1.0,)
    elif parameters.white_balance == "manual":
        gains = fixed
    elif parameters.white_balance == "stars" and star_gains and not is_display_referred(reference):
        gains = (star_gains[0], 1.0, star_gains[1])
    else:
        share = max(daylight, MOON_SHARE * min(max(moonlight, 0.0), 1.0))
        gains = mix_gains(night_gains(scene.background, offset), fixed, share)
    background = (np.asarray(scene.background) - offset) * np.asarray(gains)
    sky = max(float(luminance_of(background[None].astype(np.float32))[0]), 1e-6)
    return Tone(reference.start, math.log(sky * unit), gains), offset


def knows_exposure(exposure: Exposure) -> bool:
    """Whether the exposure time was measured; without it, day and night cannot be told."""
    return exposure.exposure_s > 0 and exposure.metadata.get("exposure_source") != "unknown"


def daylight_share(log_radiance: float) -> float:
    """0 at night, 1 by day, smooth in between."""
    t = (log_radiance - NIGHT_RADIANCE) / (DAY_RADIANCE - NIGHT_RADIANCE)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def daylight_of(tone: Tone, reference: Exposure) -> float:
    """Return how much of day a smoothed tone is, 0 to 1; 0 where the exposure is not known."""
    return daylight_share(tone.radiance / math.log(10.0)) if knows_exposure(reference) else 0.0


def share_of_new(
    measured: Tone, previous: Tone | None, time_s: float, *, steady: bool = False
) -> float:
    """Return the weight of a new measurement against the previous frame's: 1 to start afresh.

    An exponential follower whose time constant is ``time_s`` while the sky is near the tone, and
    shrinks with the fourth power of the distance beyond half an e-fold, so that twilight is
    followed with about one EV of delay. At night ("steady") it never moves faster than ``SLEW`` a
    frame: clouds and the rising Moon brighten the sky in the picture, as they do for the eye,
    instead of darkening everything else.
    """
    if previous is None or time_s <= 0 or len(previous.gains) != len(measured.gains):
        return 1.0
    gap = (measured.time - previous.time).total_seconds()
    if not 0.0 < gap < FORGET_S:
        return 1.0
    away = abs(measured.radiance - previous.radiance)
    share = 1.0 - math.exp(-gap / time_s * (1.0 + (away / NEAR) ** 4))
    return min(share, SLEW / max(away, 1e-9)) if steady and away < LOST else share


def smooth_tone(measured: Tone, previous: Tone | None, share: float) -> Tone:
    """Move from the previous frame's tone towards the measured one by a share of the way."""
    if previous is None or share == 1.0:
        return measured
    return Tone(
        measured.time,
        previous.radiance + share * (measured.radiance - previous.radiance),
        tuple(
            math.exp((1.0 - share) * math.log(old) + share * math.log(new))
            for old, new in zip(previous.gains, measured.gains, strict=True)
        ),
    )


def smooth_state(
    measured: State,
    previous: State | None,
    share: float,
    light: float,
    *,
    slew: float = math.inf,
) -> State:
    """Bring a filter's numbers to a unit of light and move towards them.

    Parameters
    ----------
    measured
        In the unit of the image.
    previous
        The kept state of the frame before, or None.
    share
        Weight of the new numbers.
    light
        Light that an image value of 1 stands for.
    slew
        Largest change of a number, as a share of the largest of its list as it was.

    Returns
    -------
    State
        Per unit of light. Numbers that were not there before are taken as they are.
    """
    kept: State = {}
    for key, values in measured.items():
        new = values if key.startswith("share_") else [v * light for v in values]
        old = (previous or {}).get(key, new)
        if len(old) != len(new):
            old = new
        largest = max(abs(v) for v in [*old, 1e-30])
        # From nothing, numbers grow at a tenth of the pace of what they grow towards; a sky that
        # is ten times brighter must not hurry them, or the picture would show it.
        largest = max(largest, FROM_NOTHING * max(abs(v) for v in [*new, 0.0]))
        most = slew * (1.0 if key.startswith("share_") else largest)
        kept[key] = [
            o + min(max(share * (n - o), -most), most) for o, n in zip(old, new, strict=True)
        ]
    return kept
