"""A sensor cooler: temperature follows the set point as fast as its power allows."""

from __future__ import annotations

import math

MAX_DELTA_C = 40.0
SLOPE_C_PER_S = 0.25
DRIFT_S = 120.0
SETTLED_C = 0.1


class Cooler:
    """A thermoelectric cooler on a sensor in constant surroundings.

    Cooling and warming under control go linearly at 0.25 degrees C a second; left alone, the
    sensor drifts back to the surroundings exponentially with 120 s.
    """

    def __init__(self, ambient_c: float, sensor_c: float | None = None) -> None:
        self.ambient_c = ambient_c
        self.sensor_c = ambient_c if sensor_c is None else sensor_c
        self.target_c = ambient_c
        self.on = False
        self._failed = False

    def advance(self, seconds: float, failed: bool = False) -> None:
        """Let ``seconds`` pass; a failed cooler does not cool."""
        self._failed = failed
        if self.on and not failed:
            goal = max(self.target_c, self.ambient_c - MAX_DELTA_C)
            step = min(SLOPE_C_PER_S * seconds, abs(goal - self.sensor_c))
            self.sensor_c += math.copysign(step, goal - self.sensor_c)
        else:
            self.sensor_c += (self.ambient_c - self.sensor_c) * -math.expm1(-seconds / DRIFT_S)

    @property
    def settled(self) -> bool:
        """Whether the set point is reached, or nothing is being regulated."""
        return not self.on or abs(self.sensor_c - self.target_c) < SETTLED_C

    @property
    def power_percent(self) -> float:
        """Power drawn, 0 to 100."""
        if not self.on or self._failed:
            return 0.0
        holding = 100.0 * (self.ambient_c - self.sensor_c) / MAX_DELTA_C
        return min(max(holding + (0.0 if self.settled else 20.0), 0.0), 100.0)
