"""Exposure control in log exposure: what to set next, from what the last exposures measured.

The sensor is linear, so ``level = black + sky * exposure * gain``; in EV (log2) control is then one
subtraction: ``total = log2(target) - sky``. What remains is honesty about what a measurement can
tell: a full pixel says "at least", a black one "at most", and the black level may be unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from allsky360.camera.aims import Aims, Period, aims_at
from allsky360.camera.black import BlackLevel
from allsky360.camera.statistics import RawStatistics
from allsky360.camera.twilight import sky_ev, sky_slope
from allsky360.config import ExposureSettings

EV_DB = 20.0 * math.log10(2.0)

#: EV within which the settings are left as they are.
DEAD_BAND_EV = 0.04
#: A surprise up to this many EV is taken for cloud and noise and followed by half.
CALM_EV = 0.25
CALM_GAIN = 0.5
#: Most EV a change of limits or target may move the exposure in one step.
WALK_EV = 0.2
#: Steps down from a full frame: from a settled state, partly full, wholly full.
FULL_STEPS_EV = (4.0, 5.0, 10.0)
#: Slope of the sky against the Sun: prior sigma (EV/deg), noise of one frame (EV), frames kept.
SLOPE_SIGMA, FRAME_SIGMA, SLOPE_FRAMES, SLOPE_SPAN_DEG = 0.3, 0.08, 24, 2.5
#: Beyond this change of the Sun's altitude the model tells more than the learned slope.
SLOPE_REACH_DEG = 1.5


@dataclass(frozen=True)
class Limits:
    """What the camera itself can do; the settings may allow less."""

    min_exposure_s: float = 1e-6
    max_exposure_s: float = 3600.0
    min_gain: float = 0.0
    max_gain: float = math.inf


@dataclass(frozen=True)
class Plan:
    """What to set for the next bracket; ``exposure_s`` is its longest exposure."""

    exposure_s: float
    gain: float
    target: float
    period: Period
    enabled: bool
    count: int
    step_ev: float
    min_exposure_s: float
    max_exposure_s: float
    every_s: float


@dataclass(frozen=True)
class Measurement:
    """Statistics of one exposure with the settings it was taken at."""

    statistics: RawStatistics
    exposure_s: float
    gain: float


@dataclass(frozen=True)
class Memory:
    """Everything the controller carries from bracket to bracket; plain values.

    Attributes
    ----------
    sky
        log2 of level per (second x gain factor): how bright the sky is to this camera; None
        before the first measurement.
    settled
        The last measurement was a real one: neither full nor lost in noise.
    firm
        It was so far above every doubt that small surprises may be taken for cloud and noise.
    floor
        Lower bound of ``sky`` from a full frame; None after a real measurement.
    sun_altitude_deg
        Sun altitude ``sky`` was measured at.
    total
        EV (log2 of seconds x gain factor) of the last plan that was measured.
    black
        Pedestal left in the levels, with its uncertainty.
    track
        Recent (Sun altitude, sky) pairs, from which the slope is learned.
    """

    sky: float | None = None
    settled: bool = False
    firm: bool = False
    floor: float | None = None
    sun_altitude_deg: float = 0.0
    total: float | None = None
    target: float | None = None
    black: BlackLevel = field(default_factory=BlackLevel)
    track: tuple[tuple[float, float], ...] = ()


class ExposureController:
    """Chooses exposure and gain; holds one immutable :class:`Memory`.

    Parameters
    ----------
    settings
        ``[exposure]`` of the settings.
    gain_unit_db
        Decibels per unit of gain.
    limits
        The camera's own limits.
    black_known
        Whether the levels it is given have the true pedestal already subtracted.
    memory
        State of an earlier run.
    """

    def __init__(
        self,
        settings: ExposureSettings,
        *,
        gain_unit_db: float = 0.1,
        limits: Limits | None = None,
        black_known: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self._settings = settings
        self._ev_per_gain = gain_unit_db / EV_DB
        self.limits = limits or Limits()
        self._black_known = black_known
        self.memory = memory or Memory(black=BlackLevel.start(black_known))

    def plan(self, sun_altitude_deg: float) -> Plan:
        """Return what to set for a bracket taken now."""
        aims = self._bounded(aims_at(self._settings, sun_altitude_deg))
        wanted = self._wanted(aims, sun_altitude_deg)
        exposure_s, gain = self._split(wanted, aims)
        return Plan(
            exposure_s,
            gain,
            aims.target,
            aims.period,
            aims.enabled,
            aims.count,
            aims.step_ev,
            aims.min_exposure_s,
            max(aims.max_exposure_s, exposure_s),
            aims.every_s,
        )

    def observe(
        self, measurements: Sequence[Measurement], sun_altitude_deg: float, target: float
    ) -> float:
        """Learn from the exposures of one bracket, longest first.

        Returns the level of the longest exposure above the pedestal, as a fraction of saturation.
        """
        first = measurements[0]
        total = self.total_ev(first.exposure_s, first.gain)
        points = [
            (self.total_ev(m.exposure_s, m.gain), m.statistics)
            for m in measurements
            if m.exposure_s > 0
        ]
        self.memory = after_bracket(self.memory, points, total, sun_altitude_deg, target)
        return first.statistics.level - self.memory.black.value

    def total_ev(self, exposure_s: float, gain: float) -> float:
        """Return log2 of exposure x gain factor."""
        return math.log2(exposure_s) + gain * self._ev_per_gain

    def _bounded(self, aims: Aims) -> Aims:
        own = self.limits
        low = min(max(aims.min_exposure_s, own.min_exposure_s), own.max_exposure_s)
        gain_low = min(max(aims.min_gain, own.min_gain), own.max_gain)
        return replace(
            aims,
            min_exposure_s=low,
            max_exposure_s=max(low, min(aims.max_exposure_s, own.max_exposure_s)),
            min_gain=gain_low,
            max_gain=max(gain_low, min(aims.max_gain, own.max_gain)),
        )

    def _wanted(self, aims: Aims, sun_altitude_deg: float) -> float:
        """Return the EV wanted, within the limits."""
        m = self.memory
        low = self.total_ev(aims.min_exposure_s, aims.min_gain)
        high = self.total_ev(aims.max_exposure_s, aims.max_gain)
        if m.sky is None or m.total is None:
            start = self.total_ev(self._settings.start_exposure_s, self._settings.start_gain)
            return min(max(start, low), high)
        wanted = math.log2(aims.target) - predict_sky(m, sun_altitude_deg)
        if m.settled:
            # Limits are walked into, never jumped to: the sky did not make that step.
            high = max(high, min(m.total, wanted) - WALK_EV)
            low = min(low, max(m.total, wanted) + WALK_EV)
            if abs(wanted - m.total) < DEAD_BAND_EV:
                wanted = m.total
        return min(max(wanted, low), high)

    def _split(self, total: float, aims: Aims) -> tuple[float, float]:
        """Spend EV on exposure first and on gain only where exposure is at its limit."""
        own = self.limits
        rest = total - self.total_ev(aims.max_exposure_s, aims.min_gain)
        # Whole units upward, and exposure makes up the difference: cameras round gain themselves.
        units = max(0, math.ceil(rest / self._ev_per_gain - 1e-6))
        gain = min(aims.min_gain + units, aims.max_gain)
        exposure_s = 2.0 ** (total - gain * self._ev_per_gain)
        return min(max(exposure_s, own.min_exposure_s), own.max_exposure_s), float(gain)


def after_bracket(
    memory: Memory,
    points: Sequence[tuple[float, RawStatistics]],
    total: float,
    sun_altitude_deg: float,
    target: float,
) -> Memory:
    """Return the memory after one bracket: (EV, statistics) of its exposures, longest first."""
    black = memory.black.learn(points)
    usable = [(ev, s) for ev, s in points if not s.saturated]
    base = replace(
        memory, black=black, total=total, target=target, sun_altitude_deg=sun_altitude_deg
    )
    if not usable:
        ev, s = points[-1]
        lower = math.log2(max(s.level - black.value, 0.5)) - ev
        step = FULL_STEPS_EV[0]
        if not memory.settled:
            step = FULL_STEPS_EV[2] if s.saturated_fraction > 0.99 else FULL_STEPS_EV[1]
        return replace(
            base,
            # `sky` is what plan() subtracts: the next total becomes this one's minus the step.
            sky=math.log2(target) - total + step,
            settled=False,
            firm=False,
            floor=lower,
            track=(),
        )
    ev, s = usable[0]
    signal = s.level - black.value
    sigma = math.hypot(s.uncertainty, black.sigma)
    real = signal > 5 * sigma
    # In the noise the signal is "at most": go up no further than that allows.
    doubt = min(1.0, max(0.0, 1 - signal / (6 * sigma)))
    upper = max(signal, 0.0) + 2 * sigma * doubt
    if not black.known:  # a pedestal is never negative
        upper = min(upper, max(s.level + 2 * s.uncertainty, signal))
    sky = math.log2(max(upper, s.uncertainty, 1e-9)) - ev
    floor = None if real else memory.floor
    if floor is not None:
        if signal > 2 * sigma:
            floor = max(floor, math.log2(signal - 2 * sigma) - ev)
        # Between "at least" of a full frame and "at most" of this one: the middle, in EV.
        floor = floor if floor < sky else None
        sky = sky if floor is None else (floor + sky) / 2
    firm = signal > 20 * sigma
    raw_sky = sky
    track = memory.track
    if firm and memory.firm and memory.sky is not None:
        expected = predict_sky(memory, sun_altitude_deg)
        surprise = sky - expected
        if abs(surprise) < CALM_EV:
            sky = expected + CALM_GAIN * surprise
        else:  # a cloud's edge: the Sun's slope goes on from the new level
            track = tuple((a, v + surprise) for a, v in track)
    if real:
        track = (*track, (sun_altitude_deg, raw_sky))[-SLOPE_FRAMES:]
        track = tuple(p for p in track if abs(p[0] - sun_altitude_deg) < SLOPE_SPAN_DEG)
    return replace(base, sky=sky, settled=real, floor=None if real else memory.floor, track=track)


def predict_sky(memory: Memory, sun_altitude_deg: float) -> float:
    """Return the sky's EV expected at a Sun altitude."""
    if memory.sky is None:
        raise ValueError("nothing was measured yet")
    change = sun_altitude_deg - memory.sun_altitude_deg
    if abs(change) > SLOPE_REACH_DEG:
        return memory.sky + sky_ev(sun_altitude_deg) - sky_ev(memory.sun_altitude_deg)
    return memory.sky + change * learned_slope(memory.track, sun_altitude_deg)


def learned_slope(track: Sequence[tuple[float, float]], sun_altitude_deg: float) -> float:
    """Return the sky's slope in EV per degree of Sun altitude.

    Straight-line fit to the recent frames with the twilight model as prior: a Moon or a town makes
    twilight end earlier than the model says, and a few noisy frames say nothing at all.
    """
    prior = sky_slope(sun_altitude_deg)
    if len(track) < 4:
        return prior
    n = len(track)
    mean_a = sum(a for a, _ in track) / n
    mean_s = sum(s for _, s in track) / n
    power = sum((a - mean_a) ** 2 for a, _ in track)
    cross = sum((a - mean_a) * (s - mean_s) for a, s in track)
    trust = (FRAME_SIGMA / SLOPE_SIGMA) ** 2
    slope = (cross + trust * prior) / (power + trust)
    return min(max(slope, -0.3), 2.0)


__all__ = [
    "ExposureController",
    "Limits",
    "Measurement",
    "Memory",
    "Plan",
    "after_bracket",
    "learned_slope",
    "predict_sky",
]
