"""A night from dusk to dawn under exposure control, and what control did that the sky did not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.bracket import plan_bracket
from allsky360.camera.circle import Circle
from allsky360.camera.control import ExposureController, Measurement
from allsky360.camera.statistics import find_circle, measure
from allsky360.config import ExposureSettings
from allsky360.model import Exposure, Site
from allsky360.sky.ephemeris import sun_altitudes_deg
from tests.camera.model_camera import ModelCamera

Float = NDArray[np.float64]
SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)

# V-band zenith sky of a moonless dark site, mag/arcsec2 against Sun altitude: twilight after
# Patat et al. 2006 (A&A 455, 385), daylight from common photometry. Deliberately not the table
# the controller predicts with.
_ALTITUDE = (-90, -18, -15, -12, -10, -8, -6, -4, -2, 0, 3, 8, 20, 60)
_MAG = (21.6, 21.5, 20.9, 18.9, 16.8, 14.2, 11.6, 9.4, 7.9, 6.9, 5.7, 4.8, 4.0, 3.5)


@dataclass(frozen=True)
class Night:
    """Sampled per frame: UTC, Sun altitude, and log2 of fullness per second at gain 0."""

    when: tuple[datetime, ...]
    altitude: Float
    sky: Float


@dataclass(frozen=True)
class Result:
    """Per frame: EV of the level above its target, EV set, target (log2), sky (log2)."""

    error: Float
    total: Float
    target: Float
    sky: Float
    at_limit: NDArray[np.bool_]

    @property
    def held(self) -> slice:
        """Frames after the four in which control may look for the exposure."""
        return slice(4, None)

    def unexplained(self) -> Float:
        """EV by which each step of control lies outside what the sky gave reason for.

        Between two frames control moves by ``d``. Reason for any move from 0 to what undoes the
        error it could see, or that error and what the sky then did: the hull of 0, -e and
        -(e + ds). The rest is control's own.
        """
        d = np.diff(self.total) - np.diff(self.target)
        e, ds = self.error[:-1], np.diff(self.sky)
        ends = np.stack([np.zeros_like(e), -e, -(e + ds)])
        return np.maximum(0, np.maximum(d - ends.max(axis=0), ends.min(axis=0) - d))

    def oscillations(self, at_least_ev: float = 0.05) -> int:
        """Count pairs of opposite steps that control made without reason."""
        u = (self.unexplained() * np.sign(np.diff(self.total) - np.diff(self.target)))[self.held]
        return int(
            np.count_nonzero(
                (u[:-1] * u[1:] < 0) & (np.minimum(abs(u[:-1]), abs(u[1:])) > at_least_ev)
            )
        )


def make_night(*, clouds: bool, cadence_s: float = 12.0, seed: int = 1) -> Night:
    """Return a winter night from Sun +6 degrees to +6 degrees, with or without clouds."""
    start = datetime(2026, 1, 12, 17, 20, tzinfo=UTC)
    count = int(14.2 * 3600 / cadence_s)
    when = tuple(start + timedelta(seconds=i * cadence_s) for i in range(count))
    altitude = sun_altitudes_deg(SITE, when)
    # 10 s at gain 0 bring 21.5 mag/arcsec2 to 4 % of full well: an f/2 lens with 9 um pixels
    mag = np.interp(altitude, _ALTITUDE, _MAG)
    sky = math.log2(0.004) + (21.5 - mag) * 0.4 * math.log2(10)
    if clouds:
        rng = np.random.default_rng(seed)
        drift = np.zeros(count)
        for i in range(1, count):  # slow thickening and thinning
            drift[i] = 0.995 * drift[i - 1] + rng.normal(0, 0.05)
        edges = np.zeros(count)
        for at in rng.integers(0, count - 60, 25):  # cloud edges: up to 1.5 EV in one frame
            edges[at : at + rng.integers(5, 60)] += rng.uniform(-1.5, 1.5)
        sky = sky + drift + edges
    return Night(when, altitude, sky)


def run_night(
    night: Night,
    settings: ExposureSettings,
    *,
    black_known: bool = False,
    expose: Callable[[int, float, float], Exposure] | None = None,
    black_adu: float = 480.0,
) -> Result:
    """Run control over a night; ``expose(index, exposure_s, gain)`` replaces the model camera."""
    camera = ModelCamera(size=64)
    controller = ExposureController(settings, black_known=black_known)
    circle: Circle | None = None
    rows = []
    for i, altitude in enumerate(night.altitude):
        plan = controller.plan(float(altitude))
        times = plan_bracket(
            plan.exposure_s,
            plan.count,
            plan.step_ev,
            min(plan.min_exposure_s, plan.exposure_s),
            plan.max_exposure_s,
        )
        measured = []
        for seconds in times:
            if expose is None:
                shot = camera.expose(2.0 ** float(night.sky[i]), seconds, plan.gain)
            else:
                shot = expose(i, seconds, plan.gain)
            circle = circle or find_circle(shot)
            statistics = measure(shot, black_adu=black_adu if black_known else 0.0, circle=circle)
            measured.append(Measurement(statistics, seconds, plan.gain))
        level = controller.observe(measured, float(altitude), plan.target)
        total = controller.total_ev(plan.exposure_s, plan.gain)
        sky = float(night.sky[i])
        if expose is not None:  # no closed form: what the shots say
            sky = math.log2(max(level, 1e-6)) - total
        wanted = math.log2(plan.target)
        longest = plan.gain >= 200.0 and plan.exposure_s >= 0.99 * plan.max_exposure_s
        limit = longest or plan.exposure_s <= 1.01 * plan.min_exposure_s
        rows.append((sky + total - wanted, total, wanted, sky, limit))
    error, total_ev, target, sky_ev, limits = map(np.array, zip(*rows, strict=True))
    return Result(error, total_ev, target, sky_ev, limits.astype(bool))
