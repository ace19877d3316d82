"""One exposure on the wire: countdown, rendering meanwhile, readout, image, and its failures."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allsky360.clock import Clock
from allsky360.model import FrameType
from allsky360.simulator.blobs import BlobStore
from allsky360.simulator.camera_settings import CameraSettings
from allsky360.simulator.delivery import encode
from allsky360.simulator.faults import FaultBoard
from allsky360.simulator.images import FitsFacts
from allsky360.simulator.panel import Panel, apply
from allsky360.simulator.properties import NewVector, State, Vector
from allsky360.simulator.source import ExposureRequest, FrameSource, SimulatedFrame
from allsky360.simulator.truth import TruthError, truth_record, write_truth

log = logging.getLogger(__name__)

_FRAME_TYPES: dict[str, FrameType] = {
    "LIGHT": "light",
    "BIAS": "bias",
    "DARK": "dark",
    "FLAT": "flat",
    "DARKFLAT": "dark",
}
_HALF_WAY = ("unplug-exposing", "crash-exposing", "disconnect-exposing", "foreign-abort")


@dataclass(frozen=True)
class Timing:
    """How long things take, in wall-clock seconds.

    Attributes
    ----------
    connect_s
        From the request to CONNECTION Ok.
    readout_s
        From the end of the exposure to its image.
    countdown_s
        Between looks at the remaining time.
    temperature_s
        Between looks at the sensor temperature; it is published at least every fifth.
    """

    connect_s: float = 0.02
    readout_s: float = 0.02
    countdown_s: float = 0.25
    temperature_s: float = 1.0


@dataclass
class CameraStatus:
    """Counters and the last frame's truth, for the control endpoint."""

    frames: int = 0
    failures: int = 0
    last_truth: dict[str, Any] | None = None


class Exposer:
    """Carries out CCD_EXPOSURE and CCD_ABORT_EXPOSURE.

    Parameters
    ----------
    panel, settings
        The camera's properties.
    source
        Where frames come from; asked in a thread of its own, while the exposure runs.
    clock
        Exposures last as long as they do on it, frames are taken for its time.
    blobs, faults, timing, truth_dir
        See :class:`allsky360.simulator.device.SimulatedCamera`.
    sensor_c
        Tells the sensor temperature.
    spawn
        Starts a task that ends with the camera.
    strike
        Called with name and parameter of a fault that is due half-way through an exposure.
    """

    def __init__(
        self,
        panel: Panel,
        settings: CameraSettings,
        source: FrameSource,
        clock: Clock,
        *,
        blobs: BlobStore,
        faults: FaultBoard,
        timing: Timing,
        truth_dir: Path | None,
        sensor_c: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        strike: Callable[[str, float], None],
    ) -> None:
        self.status = CameraStatus()
        self._panel = panel
        self._settings = settings
        self._source = source
        self._clock = clock
        self._blobs = blobs
        self._faults = faults
        self._timing = timing
        self._truth_dir = truth_dir
        self._sensor_c = sensor_c
        self._spawn = spawn
        self._strike = strike
        self._renderer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._running: asyncio.Task[None] | None = None
        self._address = blobs.new_address()

    def handlers(self) -> dict[str, Callable[[Vector, NewVector], None]]:
        """Return the handler of each property this class knows."""
        return {"CCD_EXPOSURE": self._on_exposure, "CCD_ABORT_EXPOSURE": self._on_abort}

    def warm_up(self, work: Callable[[], object]) -> None:
        """Do something in the render thread before the first exposure needs it."""

        def told() -> None:
            try:
                work()
            except Exception:  # nothing waits for it; the first exposure will show the fault too
                log.exception("the frame source could not be warmed up")

        self._renderer.submit(told)

    def close(self) -> None:
        """Take no more frames; one being rendered is dropped when it is done."""
        self.cancel()
        self._renderer.shutdown(wait=False, cancel_futures=True)

    def cancel(self) -> None:
        """Stop the running exposure without telling anyone."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def forget_images(self) -> None:
        """Take a new address for images, as a driver does that is loaded anew."""
        self._blobs.forget(self._address)
        self._address = self._blobs.new_address()

    @property
    def image_url(self) -> str:
        """URL of the last image, empty when there is none."""
        return self._blobs.url(self._address)

    @property
    def _uploads(self) -> bool:
        return self._panel["CCD_UPLOAD_MODE"].selected() == "CLIENT"

    def _on_exposure(self, vector: Vector, request: NewVector) -> None:
        if vector.state == "Busy":
            return
        apply(vector, request.values)
        item = vector.items["EXPOSURE"]
        frame_type = self._panel["CCD_FRAME_TYPE"].selected() or "LIGHT"
        if frame_type == "BIAS":
            item.value = item.target = self._source.sensor.min_exposure_s
        self._panel.update(vector, "Busy")
        image = self._panel["CCD_IMAGE"]
        if self._uploads:
            image.items["IMAGE"].value = ""
            self._panel.update(image, "Busy")
        wanted = self._request(item.target, _FRAME_TYPES[frame_type])
        self._running = self._spawn(self._expose(wanted, self._settings.bits))

    def _request(self, exposure_s: float, frame_type: FrameType) -> ExposureRequest:
        panel, sensor = self._panel, self._source.sensor
        left, top, width, height = (
            int(panel["CCD_FRAME"].number(name)) for name in ("LEFT", "TOP", "WIDTH", "HEIGHT")
        )
        whole = (left, top, width, height) == (0, 0, sensor.width, sensor.height)
        return ExposureRequest(
            start=self._clock.now(),
            exposure_s=exposure_s,
            gain=panel["CCD_GAIN"].number("GAIN"),
            offset=panel["CCD_OFFSET"].number("OFFSET"),
            temperature_c=self._sensor_c(),
            frame_type=frame_type,
            binning=self._settings.binning,
            roi=None if whole else (left, top, width, height),
        )

    async def _expose(self, request: ExposureRequest, bits: int) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._clock.wall_s(request.exposure_s)
        rendering = loop.run_in_executor(self._renderer, self._render, request, bits)
        half_way = self._arm_half_way(end)
        try:
            if self._faults.take("stall") is not None:
                await self._count_down(end, until=(loop.time() + end) / 2)
                await asyncio.Event().wait()  # until aborted, disconnected or unplugged
            await self._count_down(end, until=end)
            try:
                frame, record = await rendering
            except Exception as error:  # a source is foreign code; clients see an Alert
                log.exception("the frame source failed")
                self._fail(f"Exposure failed: {error}")
                return
            await asyncio.sleep(self._timing.readout_s + (self._faults.number("late-image") or 0.0))
            alert = self._faults.take("alert")
            if alert is not None:
                self._fail(str(alert))
                return
            self._deliver(frame, request, bits)
            self.status.frames += 1
            self.status.last_truth = record
            self._end("Ok")
        finally:
            rendering.cancel()
            for handle in half_way:
                handle.cancel()

    def _render(self, request: ExposureRequest, bits: int) -> tuple[SimulatedFrame, dict[str, Any]]:
        """Take the frame and write its truth; runs in the render thread."""
        frame = self._source.expose(request)
        record = truth_record(self._panel.device, request, frame, bits)
        if self._truth_dir is not None:
            try:
                write_truth(self._truth_dir, request, record, frame)
            except TruthError as error:
                log.error("%s", error)  # the frame itself is good
        return frame, record

    async def _count_down(self, end: float, until: float) -> None:
        """Publish whole seconds of the remaining time as they change, and 0 just before the end."""
        vector = self._panel["CCD_EXPOSURE"]
        item = vector.items["EXPOSURE"]
        loop = asyncio.get_running_loop()
        counts = item.target >= 1.0
        pause = self._timing.countdown_s * 0.3
        while (wall := until - loop.time()) > 0:
            await asyncio.sleep(min(pause, wall))
            pause = self._timing.countdown_s
            remaining = end - loop.time()
            left = 0 if remaining <= pause else math.ceil(remaining * self._clock.rate)
            if counts and left != item.value:
                item.value = float(left)
                self._panel.update(vector)

    def _deliver(self, frame: SimulatedFrame, request: ExposureRequest, bits: int) -> None:
        """Swap the image behind the URL, then announce it."""
        if not self._uploads:
            return
        wanted = self._panel["CCD_IMAGE_FORMAT"].selected()
        stale = self.image_url and self._faults.take("stale-image") is not None
        if wanted is not None and not stale:
            blob = encode(frame, wanted, bits, self._fits_facts(request), self._faults)
            self._blobs.put(self._address, blob)
        bare = wanted is None or self._faults.take("no-image-value") is not None
        image = self._panel["CCD_IMAGE"]
        image.items["IMAGE"].value = "" if bare else self.image_url
        self._panel.update(image, "Ok")

    def _fits_facts(self, request: ExposureRequest) -> FitsFacts:
        headers = self._panel["CCD_FITS_HEADERS"].items.values()
        return FitsFacts(
            camera=self._panel.device,
            exposure_s=request.exposure_s,
            created=self._clock.now(),
            binning=request.binning,
            pixel_um=self._source.sensor.pixel_um,
            temperature_c=request.temperature_c,
            frame_type=request.frame_type,
            gain=request.gain,
            offset=request.offset,
            egain=self._source.sensor.egain(request.gain),
            extra=tuple((item.name, str(item.value)) for item in headers),
        )

    def _end(self, state: State, message: str = "") -> None:
        self._running = None
        vector = self._panel["CCD_EXPOSURE"]
        vector.items["EXPOSURE"].value = 0.0
        self._panel.update(vector, state, message)

    def _fail(self, message: str) -> None:
        """End the exposure as a driver does whose readout failed."""
        self.status.failures += 1
        if self._uploads:
            self._panel.update(self._panel["CCD_IMAGE"], "Alert")
        self._end("Alert", message)
        self._panel.say(message)

    def _on_abort(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        self._panel.update(vector, "Busy")
        running = self._running is not None
        if running:
            self.cancel()
            if self._uploads:
                self._panel.update(self._panel["CCD_IMAGE"], "Alert")
            self._end("Alert")
        vector.items["ABORT_EXPOSURE"].value = False
        self._panel.update(vector, "Ok" if running else "Alert")

    def _arm_half_way(self, end: float) -> list[asyncio.TimerHandle]:
        loop = asyncio.get_running_loop()
        when = (loop.time() + end) / 2
        handles = []
        for fault in _HALF_WAY:
            value = self._faults.number(fault)
            if value is not None:
                handles.append(loop.call_at(when, self._strike, fault, value))
        return handles
