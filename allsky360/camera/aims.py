"""What exposure control aims at, as a continuous function of the Sun's altitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from allsky360.config import ExposureSettings, PeriodSettings

Period = Literal["day", "twilight", "night"]
#: The number stored with each frame.
PERIOD_CODES: dict[Period, int] = {"day": 0, "twilight": 1, "night": 2}
#: Degrees of Sun altitude a passage between two periods takes at least.
MIN_PASSAGE_DEG = 3.0


@dataclass(frozen=True)
class Aims:
    """Target and limits at one Sun altitude."""

    period: Period
    enabled: bool
    target: float
    min_exposure_s: float
    max_exposure_s: float
    min_gain: float
    max_gain: float
    count: int
    step_ev: float
    every_s: float


def period_at(settings: ExposureSettings, sun_altitude_deg: float) -> Period:
    """Return the period a Sun altitude belongs to."""
    if sun_altitude_deg >= settings.day_above_deg:
        return "day"
    return "night" if sun_altitude_deg <= settings.night_below_deg else "twilight"


def aims_at(settings: ExposureSettings, sun_altitude_deg: float) -> Aims:
    """Return target and limits at a Sun altitude.

    Day's values hold from ``day_above_deg`` up, night's from ``night_below_deg`` down and
    twilight's half-way; in between target and exposure limits are interpolated in log, gain limits
    in dB, so that no period boundary makes a step. Whether to capture and how often, how many
    exposures and their spacing change at the boundaries themselves.
    """
    period = period_at(settings, sun_altitude_deg)
    own: PeriodSettings = getattr(settings, period)
    lower, upper, share = _between(settings, sun_altitude_deg)

    def log_mix(name: str) -> float:
        a, b = getattr(lower, name), getattr(upper, name)
        return math.exp((1 - share) * math.log(a) + share * math.log(b))

    def mix(name: str) -> float:
        return float((1 - share) * getattr(lower, name) + share * getattr(upper, name))

    return Aims(
        period,
        own.enabled,
        log_mix("target"),
        log_mix("min_exposure_s"),
        log_mix("max_exposure_s"),
        mix("min_gain"),
        mix("max_gain"),
        own.exposures,
        own.step_ev,
        own.every_s,
    )


def _between(
    settings: ExposureSettings, altitude: float
) -> tuple[PeriodSettings, PeriodSettings, float]:
    """Return the darker and the brighter period and how far (0..1) we are towards the brighter."""
    day, night = settings.day_above_deg, settings.night_below_deg
    middle = (day + night) / 2
    half = max((day - night) / 2, MIN_PASSAGE_DEG)
    if altitude >= middle:
        return settings.twilight, settings.day, min(1.0, (altitude - middle) / half)
    return settings.twilight, settings.night, min(1.0, (middle - altitude) / half)
