"""Meteors, satellites and aircraft, each a function of the seed and of time.

Every minute of history has its own random draw, so that any exposure finds the same events,
whatever was exposed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.model import as_utc

Float = NDArray[np.float64]
Kind = Literal["meteor", "satellite", "aircraft"]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_STEP_RAD = np.radians(0.06)  # well below a pixel of any all-sky camera
_MINUTE = 60.0
_LONGEST_MINUTES = 6


@dataclass(frozen=True)
class TransientRates:
    """Events an hour above the horizon, in the dark; satellites only while they are sunlit."""

    meteors: float = 6.0
    satellites: float = 10.0
    aircraft: float = 1.5


@dataclass(frozen=True, eq=False)
class Streak:
    """The part of one event that falls into an exposure, as points along its path.

    Attributes
    ----------
    vectors
        ``(N, 3)`` (north, east, up) unit vectors.
    seconds
        ``(N,)`` how long the event dwells at each point.
    v_mag
        ``(N,)`` its V magnitude there, above the atmosphere.
    """

    kind: Kind
    vectors: Float
    seconds: Float
    v_mag: Float
    bv: float


@dataclass(frozen=True, eq=False)
class _Event:
    kind: Kind
    begin_s: float
    duration_s: float
    start: Float
    end: Float
    v_mag: float
    bv: float


def transients_during(
    seed: int,
    start: datetime,
    exposure_s: float,
    rates: TransientRates,
    sun_altitude_deg: float,
) -> list[Streak]:
    """Return what crosses the sky while the shutter is open."""
    if sun_altitude_deg > -4.0:
        return []
    opens = (as_utc(start) - _EPOCH).total_seconds()
    closes = opens + exposure_s
    first, last = int(opens // _MINUTE) - _LONGEST_MINUTES, int(closes // _MINUTE)
    streaks = []
    for minute in range(first, last + 1):
        for event in _events(seed, minute, rates, sun_altitude_deg):
            if event.begin_s < closes and event.begin_s + event.duration_s > opens:
                streaks.append(_streak(event, opens, closes))
    return [s for s in streaks if s.seconds.size]


def _events(seed: int, minute: int, rates: TransientRates, sun_altitude_deg: float) -> list[_Event]:
    rng = np.random.default_rng([seed, 31, minute + 2**31])
    counts = rng.poisson([rates.meteors / 60, rates.satellites / 60, rates.aircraft / 60])
    events = [_meteor(rng, minute) for _ in range(counts[0])]
    satellites = [_satellite(rng, minute) for _ in range(counts[1])]
    if sun_altitude_deg > -32.0:
        events += satellites
    return events + [_aircraft(rng, minute) for _ in range(counts[2])]


def _meteor(rng: np.random.Generator, minute: int) -> _Event:
    """A path of 4 to 20 degrees in a third of a second; brighter ones are rarer."""
    start = _direction(rng, 15.0)
    v = float(max(4.5 - rng.exponential(1.1), -6.0))
    away = _direction(rng, -90.0)
    end = _turned(start, away, np.radians(rng.uniform(4, 20)))
    begin = (minute + rng.uniform()) * _MINUTE
    return _Event("meteor", begin, float(rng.uniform(0.15, 0.7)), start, end, v, 0.1)


def _satellite(rng: np.random.Generator, minute: int) -> _Event:
    """A pass from horizon to horizon in 3 to 6 minutes."""
    start, end = _crossing(rng)
    begin = (minute + rng.uniform()) * _MINUTE
    v = float(np.clip(rng.normal(3.8, 1.2), -1.5, 6.5))
    return _Event("satellite", begin, float(rng.uniform(180, 350)), start, end, v, 0.65)


def _aircraft(rng: np.random.Generator, minute: int) -> _Event:
    """A steady light with a strobe once a second, 2 to 5 minutes over the sky."""
    start, end = _crossing(rng)
    begin = (minute + rng.uniform()) * _MINUTE
    v = float(rng.uniform(-1.0, 1.5))
    return _Event("aircraft", begin, float(rng.uniform(120, 300)), start, end, v, 0.9)


def _streak(event: _Event, opens: float, closes: float) -> Streak:
    """Cut the event to the exposure and sample its great circle."""
    t0, t1 = max(opens, event.begin_s), min(closes, event.begin_s + event.duration_s)
    arc = float(np.arccos(np.clip(event.start @ event.end, -1.0, 1.0)))
    a0, a1 = ((t - event.begin_s) / event.duration_s for t in (t0, t1))
    n = max(2, int(np.ceil((a1 - a0) * arc / _STEP_RAD)))
    along = a0 + (np.arange(n) + 0.5) / n * (a1 - a0)
    vectors = _along(event.start, event.end, along)
    v_mag = np.full(n, event.v_mag)
    if event.kind == "meteor":  # a light curve that peaks two thirds along its path
        shape = np.maximum(np.where(along < 0.67, along / 0.67, (1 - along) / 0.33), 0.02)
        v_mag = v_mag - 2.5 * np.log10(shape)
    elif event.kind == "aircraft":
        seconds = event.begin_s + along * event.duration_s
        v_mag = v_mag - 3.0 * ((seconds % 1.0) < 0.05)
    up = vectors[:, 2] > 0
    return Streak(event.kind, vectors[up], np.full(n, (t1 - t0) / n)[up], v_mag[up], event.bv)


def _direction(rng: np.random.Generator, lowest_deg: float) -> Float:
    """Return a random unit vector above an altitude, even over the sphere."""
    z = rng.uniform(np.sin(np.radians(lowest_deg)), 1.0)
    az = rng.uniform(0, 2 * np.pi)
    flat = np.sqrt(1 - z * z)
    return np.array([flat * np.cos(az), flat * np.sin(az), z])


def _crossing(rng: np.random.Generator) -> tuple[Float, Float]:
    """Return start and end on the horizon of a path that climbs to 15 to 90 degrees."""
    az = rng.uniform(0, 2 * np.pi)
    half = np.radians(rng.uniform(55, 89)) * rng.choice([-1, 1])
    return (
        np.array([np.cos(az - half), np.sin(az - half), 0.03]) / np.hypot(1, 0.03),
        np.array([np.cos(az + half), np.sin(az + half), 0.45]) / np.hypot(1, 0.45),
    )


def _turned(start: Float, toward: Float, angle: float) -> Float:
    side = toward - start * float(start @ toward)
    side /= max(float(np.linalg.norm(side)), 1e-12)
    return np.asarray(np.cos(angle) * start + np.sin(angle) * side)


def _along(start: Float, end: Float, share: Float) -> Float:
    """Return points on the great circle from ``start`` (0) to ``end`` (1), ``(N, 3)``."""
    arc = float(np.arccos(np.clip(start @ end, -1.0, 1.0)))
    a, b = np.sin((1 - share) * arc), np.sin(share * arc)
    return np.asarray((a[:, None] * start + b[:, None] * end) / np.sin(arc))
