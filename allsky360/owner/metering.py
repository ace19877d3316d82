"""From the exposures of a bracket to the settings of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from allsky360.archive.layout import camera_slug
from allsky360.camera.aims import PERIOD_CODES
from allsky360.camera.bracket import plan_bracket
from allsky360.camera.circle import Circle
from allsky360.camera.control import ExposureController, Limits, Measurement, Plan
from allsky360.camera.statistics import find_circle, measure
from allsky360.clock import Clock
from allsky360.config import Settings
from allsky360.model import Exposure, Site
from allsky360.owner.parts import CameraAbilities
from allsky360.owner.remember import Remembered, load, save
from allsky360.sky.ephemeris import sun_altitude_deg

#: A new circle replaces the known one only after this many exposures that agree on it.
AGREEING = 5
#: Looked for this often once it is known: a lens does not move.
SEEK_EVERY = 30
#: Binning changes a frame's proportions by no more than this: it drops odd rows and columns.
SAME_ASPECT = 0.02


class Metering:
    """Exposure control of one camera: measures, plans, remembers."""

    def __init__(self, settings: Settings, site: Site, clock: Clock) -> None:
        self._settings = settings
        self._site = site
        self._clock = clock
        self._file: Path | None = None
        self._black_adu = settings.camera.black_level_adu
        self._camera = ""
        self._circle: Circle | None = None
        self._rivals: list[Circle] = []
        self._aspect = 0.0
        self._unsought = 0
        self.controller = self._new_controller()

    def _new_controller(self) -> ExposureController:
        return ExposureController(
            self._settings.exposure,
            gain_unit_db=self._settings.camera.gain_unit_db,
            black_known=self._black_adu > 0,
        )

    def meet(self, camera: str, abilities: CameraAbilities) -> None:
        """Take note of the camera's limits; recall what was remembered of it."""
        low, high = abilities.exposure_s or (1e-6, 3600.0)
        gain_low, gain_high = abilities.gain or (0.0, 0.0)
        if camera != self._camera:
            self._camera = camera
            self.controller = self._new_controller()
            folder = Path(self._settings.storage.root) / camera_slug(camera)
            self._file = folder / "exposure-control.json"
            known = load(self._file, camera, self._clock.now(), self._black_adu > 0)
            if known is not None:
                self.controller.memory = known.memory
                self._circle = known.circle
                self._unsought = SEEK_EVERY  # sensor or lens may be others by now: look at once
        # Some cameras say 0 is their shortest exposure; log exposure needs more than nothing.
        low = max(low, 1e-6)
        self.controller.limits = Limits(low, max(low, high), gain_low, max(gain_low, gain_high))

    def plan(self) -> tuple[Plan, tuple[float, ...]]:
        """Return what to set now, and the exposure times, longest first."""
        plan = self.controller.plan(sun_altitude_deg(self._site, self._clock.now()))
        times = plan_bracket(
            plan.exposure_s,
            plan.count,
            plan.step_ev,
            min(plan.min_exposure_s, plan.exposure_s),
            plan.max_exposure_s,
        )
        return plan, times

    @property
    def settled(self) -> bool:
        """True once the brightness of the sky is known, so that the next bracket will be right."""
        return self.controller.memory.settled

    def learn(self, shots: Sequence[Exposure], plan: Plan) -> dict[str, float]:
        """Measure a bracket, learn from it, and return the scalars to store with it."""
        self._look_for_circle(shots[0])
        gain = plan.gain
        measured = [
            Measurement(
                measure(shot, black_adu=self._black_adu, circle=self._circle),
                shot.exposure_s,
                gain if shot.gain is None else shot.gain,
            )
            for shot in shots
        ]
        middle = shots[0].start + (shots[0].end - shots[0].start) / 2
        altitude = sun_altitude_deg(self._site, middle)
        level = self.controller.observe(measured, altitude, plan.target)
        return {
            "level": float(level),
            "target": plan.target,
            "saturated_fraction": measured[0].statistics.saturated_fraction,
            "period": float(PERIOD_CODES[plan.period]),
            "sun_altitude_deg": altitude,
        }

    def remember(self) -> None:
        """Write the memory to disk. Called from the writer's thread."""
        memory = self.controller.memory
        if self._file is not None and memory.sky is not None and memory.total is not None:
            save(self._file, Remembered(self._clock.now(), self._camera, memory, self._circle))

    def _look_for_circle(self, shot: Exposure) -> None:
        """Adopt the first circle seen; afterwards only one that several exposures agree on.

        A frame of other proportions comes from another sensor or region of it: the circle, which
        is in fractions of the frame, no longer holds.
        """
        height, width = shot.pixels.shape[:2]
        aspect = width / height
        if self._aspect and abs(aspect / self._aspect - 1) > SAME_ASPECT:
            self._circle, self._rivals = None, []
        self._aspect = aspect
        self._unsought += 1
        if self._circle is not None and not self._rivals and self._unsought < SEEK_EVERY:
            return
        self._unsought = 0
        found = find_circle(shot)
        if found is None or self._circle is None:
            self._circle = self._circle or found
            return
        if not found.differs(self._circle):
            self._rivals = []
            return
        if self._rivals and found.differs(self._rivals[-1]):
            self._rivals = []
        self._rivals.append(found)
        if len(self._rivals) >= AGREEING:
            self._circle, self._rivals = found, []
