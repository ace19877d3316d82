"""The camera's cooler on the wire: set point, power, and the temperature that follows."""

from __future__ import annotations

import asyncio

from allsky360.simulator.camera_properties import AMBIENT_C
from allsky360.simulator.cooler import Cooler
from allsky360.simulator.faults import FaultBoard
from allsky360.simulator.panel import Handler, Panel, apply
from allsky360.simulator.properties import NewVector, State, Vector, apply_switches

_TELL_EVERY = 5  # looks, even when nothing changed


class Thermostat:
    """Keeps CCD_TEMPERATURE, CCD_COOLER and CCD_COOLER_POWER true.

    Parameters
    ----------
    panel
        The camera's properties.
    faults
        The knobs: the cooler can fail.
    rate
        Simulated seconds per wall-clock second.
    """

    def __init__(self, panel: Panel, faults: FaultBoard, rate: float) -> None:
        self._panel = panel
        self._faults = faults
        self._rate = rate
        self._cooler = Cooler(AMBIENT_C)

    @property
    def sensor_c(self) -> float:
        """Sensor temperature, degrees C."""
        return self._cooler.sensor_c

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each property this class knows."""
        return {"CCD_COOLER": self._on_cooler, "CCD_TEMPERATURE": self._on_temperature}

    def reset(self) -> None:
        """Come up at the temperature of the surroundings."""
        self._cooler = Cooler(AMBIENT_C)

    def switch_off(self) -> None:
        """Stop cooling, as a camera does that is disconnected; it warms up from where it is."""
        self._cooler = Cooler(AMBIENT_C, self._cooler.sensor_c)
        if "CCD_COOLER" in self._panel:
            apply_switches(self._panel["CCD_COOLER"], {"OFF": True})

    def _on_cooler(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        self._cooler.on = vector.selected() == "ON"
        self._panel.update(vector, "Alert" if self._failing else "Ok")

    def _on_temperature(self, vector: Vector, request: NewVector) -> None:
        """Take the set point; with the cooler off it goes Busy and then Ok without any change."""
        apply(vector, request.values)
        item = vector.items["TEMPERATURE"]
        self._cooler.target_c = float(item.target)
        item.value = round(self._cooler.sensor_c, 2)
        self._panel.update(vector, "Busy", "" if self._cooler.on else "The cooler is off")

    @property
    def _failing(self) -> bool:
        return self._cooler.on and self._faults.is_on("cooler-failure")

    async def watch(self, every_s: float) -> None:
        """Let the sensor follow the cooler and tell about it, for ever."""
        loop = asyncio.get_running_loop()
        last, looks = loop.time(), 0
        while True:
            await asyncio.sleep(every_s)
            now = loop.time()
            self._cooler.advance((now - last) * self._rate, failed=self._failing)
            last, looks = now, looks + 1
            self._tell(due=looks % _TELL_EVERY == 0)

    def _tell(self, due: bool) -> None:
        failing = self._failing
        vector = self._panel["CCD_TEMPERATURE"]
        item = vector.items["TEMPERATURE"]
        before = (vector.state, item.value)
        item.value = round(self._cooler.sensor_c, 2)
        state: State = "Ok" if self._cooler.settled else "Busy"
        if failing:
            state = "Alert"
        if due or before != (state, item.value):
            self._panel.update(vector, state)
        if "CCD_COOLER_POWER" not in self._panel:
            return
        power, cooler = self._panel["CCD_COOLER_POWER"], self._panel["CCD_COOLER"]
        percent = round(self._cooler.power_percent, 1)
        if power.number("POWER") != percent:
            power.items["POWER"].value = percent
            self._panel.update(power, "Ok")
        wanted: State = "Alert" if failing else "Ok"
        if cooler.state != wanted:
            self._panel.update(cooler, wanted, "The cooler failed" if failing else "")
