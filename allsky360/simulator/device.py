"""The simulated camera: an INDIGO device that behaves as INDIGO's own CCD drivers do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from allsky360.clock import Clock
from allsky360.simulator.blobs import BlobStore
from allsky360.simulator.camera_properties import after_connect, before_connect
from allsky360.simulator.camera_settings import CameraSettings
from allsky360.simulator.exposing import CameraStatus, Exposer, Timing
from allsky360.simulator.faults import FaultBoard, Parameter
from allsky360.simulator.panel import Handler, Panel, apply
from allsky360.simulator.properties import (
    Define,
    Event,
    NewVector,
    PropertyTable,
    Vector,
    apply_switches,
)
from allsky360.simulator.source import FrameSource
from allsky360.simulator.thermal import Thermostat


class SimulatedCamera:
    """One CCD device: which requests it hears, connection, and being unplugged.

    Parameters
    ----------
    source
        Where frames come from.
    clock
        Exposures run on it, frames are taken for its time.
    publish
        Called with every event all clients are to hear.
    blobs
        Where images go.
    faults
        The knobs.
    crash
        Called with the seconds until the server shall listen again.
    truth_dir
        Folder for one truth file per frame.
    timing
        Latencies.
    """

    def __init__(
        self,
        source: FrameSource,
        clock: Clock,
        *,
        publish: Callable[[Event], None],
        blobs: BlobStore,
        faults: FaultBoard,
        crash: Callable[[float], None],
        timing: Timing,
        truth_dir: Path | None = None,
    ) -> None:
        self.name = source.sensor.name
        self.present = True
        self._sensor = source.sensor
        self._faults = faults
        self._crash = crash
        self._timing = timing
        self._publish = publish
        self._tasks: set[asyncio.Task[None]] = set()
        self._panel = Panel(self.name, publish, faults)
        self._thermostat = Thermostat(self._panel, faults, clock.rate)
        settings = CameraSettings(self._panel, self._sensor)
        self._exposer = Exposer(
            self._panel,
            settings,
            source,
            clock,
            blobs=blobs,
            faults=faults,
            timing=timing,
            truth_dir=truth_dir,
            sensor_c=lambda: self._thermostat.sensor_c,
            spawn=self._spawn,
            strike=self._strike,
        )
        self._handlers: dict[str, Handler] = {
            "CONNECTION": self._on_connection,
            **settings.handlers(),
            **self._exposer.handlers(),
            **self._thermostat.handlers(),
        }
        self._show_defaults()

    def _show_defaults(self) -> None:
        self.present = True
        self._panel.reset(before_connect(self._sensor), after_connect(self._sensor))

    # -- what the server calls --------------------------------------------------------------------

    @property
    def status(self) -> CameraStatus:
        """Counters and the last frame's truth."""
        return self._exposer.status

    @property
    def image_url(self) -> str:
        """URL of the last image, empty when there is none."""
        return self._exposer.image_url

    @property
    def connected(self) -> bool:
        """Whether the camera's properties are defined."""
        return "CCD_EXPOSURE" in self._panel.shown

    def start(self, warm_up: Callable[[], object] | None = None) -> None:
        """Begin what runs in the background; ``warm_up`` is done before the first frame."""
        self._spawn(self._thermostat.watch(self._timing.temperature_s))
        if warm_up is not None:
            self._exposer.warm_up(warm_up)

    async def close(self) -> None:
        """Stop everything this camera started."""
        self._exposer.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def definitions(self, name: str = "") -> Iterator[Define]:
        """Yield the definitions of what the device shows now."""
        if not self.present:
            return
        for vector in self._panel.shown.vectors.values():
            if not name or vector.name == name:
                yield Define(vector)

    def request(self, request: NewVector) -> None:
        """Carry out a client's request; what INDIGO drops silently is dropped silently."""
        wanted = self._faults.value("drop-request")
        if wanted in (request.name, "*") and self._faults.take("drop-request") is not None:
            return
        vector = self._panel.shown.accepts(request) if self.present else None
        if vector is None:
            return
        handler = self._handlers.get(vector.name)
        if handler is not None:
            handler(vector, request)
        else:
            apply(vector, request.values)
            self._panel.update(vector, "Ok")

    def restart(self) -> None:
        """Come up anew after the server died: disconnected, defaults, no images."""
        self._exposer.cancel()
        self._exposer.forget_images()
        self._thermostat.reset()
        self._show_defaults()

    def act(self, fault: str, value: Parameter) -> None:
        """Carry out a fault that happens at once."""
        match fault:
            case "unplug":
                self._unplug(float(value))
            case "replug":
                self._replug()
            case "foreign-client":
                for request in read_foreign(self.name, str(value), self._panel.shown):
                    self.request(request)
            case "foreign-exposure":
                seconds = {"EXPOSURE": float(value)}
                self.request(NewVector("Number", self.name, "CCD_EXPOSURE", seconds))

    def _strike(self, fault: str, value: float) -> None:
        match fault:
            case "unplug-exposing":
                self._unplug(value)
            case "crash-exposing":
                self._crash(value)
            case "disconnect-exposing":
                self.request(self._switch("CONNECTION", "DISCONNECTED"))
            case "foreign-abort":
                self.request(self._switch("CCD_ABORT_EXPOSURE", "ABORT_EXPOSURE"))

    def _switch(self, name: str, item: str) -> NewVector:
        return NewVector("Switch", self.name, name, {item: True})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- connection -------------------------------------------------------------------------------

    def _on_connection(self, vector: Vector, request: NewVector) -> None:
        if vector.state == "Busy":
            return
        was = vector.selected() or "DISCONNECTED"
        apply(vector, request.values)
        wanted = vector.selected()
        if wanted == was or wanted is None:
            apply_switches(vector, {was: True})
            self._panel.update(vector, "Ok")
        elif wanted == "CONNECTED":
            self._panel.update(vector, "Busy")
            self._spawn(self._connect(vector))
        else:
            self._disconnect(vector)

    async def _connect(self, vector: Vector) -> None:
        await asyncio.sleep(self._timing.connect_s)
        stall = self._faults.number("connect-stall")
        if stall is not None:
            await asyncio.sleep(stall)
        if not self.present or not self._panel.is_shown(vector):
            return  # unplugged or restarted meanwhile
        if self._faults.take("connect-alert") is not None:
            apply_switches(vector, {"DISCONNECTED": True})
            self._panel.update(vector, "Alert")
            return
        for prop in self._panel.all.values():
            if prop.name in self._panel.shown:
                continue
            if prop.name == "CCD_IMAGE":
                stale = self._faults.take("stale-def") is not None
                prop.items["IMAGE"].value = self.image_url if stale else ""
                prop.state = "Ok"
            elif prop.state == "Busy":
                prop.state = "Ok"
            self._panel.define(prop)
        self._panel.update(vector, "Ok")

    def _disconnect(self, vector: Vector) -> None:
        self._panel.update(vector, "Busy")
        self._exposer.cancel()  # no Alert: the deletions are all a client hears
        for prop in after_connect(self._sensor):
            self._panel.delete(prop.name)
        self._thermostat.switch_off()
        self._panel["CCD_EXPOSURE"].items["EXPOSURE"].value = 0.0
        self._panel.update(vector, "Ok")

    def _unplug(self, back_after_s: float) -> None:
        if not self.present:
            return
        self._exposer.cancel()
        self.present = False
        self._panel.delete()
        if back_after_s > 0:
            self._spawn(self._replug_later(back_after_s))

    async def _replug_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._replug()

    def _replug(self) -> None:
        if self.present:
            return
        self.restart()
        for definition in self.definitions():
            self._publish(definition)


def read_foreign(device: str, words: str, shown: PropertyTable) -> Iterator[NewVector]:
    """Read ``PROPERTY.ITEM=value;…`` as another client's requests; skip unknown properties."""
    for part in filter(None, (p.strip() for p in words.split(";"))):
        path, _, value = part.partition("=")
        name, _, item = path.partition(".")
        vector = shown.vectors.get(name)
        if vector is None:
            continue
        wanted: object = value
        if vector.kind == "Switch":
            wanted = value.lower() in ("on", "true", "1")
        elif vector.kind == "Number":
            wanted = 0.0
            with contextlib.suppress(ValueError):
                wanted = float(value)
        yield NewVector(vector.kind, device, name, {item: wanted})
