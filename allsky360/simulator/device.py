"""The simulated camera: an INDIGO device that behaves as INDIGO's own CCD drivers do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import struct
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allsky360.clock import Clock
from allsky360.model import FrameType
from allsky360.simulator.blobs import Blob, BlobStore
from allsky360.simulator.camera_properties import (
    AMBIENT_C,
    BINS,
    after_connect,
    before_connect,
    mode_name,
    read_mode,
)
from allsky360.simulator.cooler import Cooler
from allsky360.simulator.faults import FaultBoard, Parameter
from allsky360.simulator.images import FitsFacts, encode_fits, encode_raw, to_depth
from allsky360.simulator.properties import (
    Define,
    Delete,
    Event,
    Message,
    NewVector,
    PropertyTable,
    State,
    Update,
    Value,
    Vector,
    apply_numbers,
    apply_switches,
    apply_texts,
    text,
)
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


class SimulatedCamera:
    """One CCD device.

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
        truth_dir: Path | None = None,
        timing: Timing = Timing(),
    ) -> None:
        self.name = source.sensor.name
        self.status = CameraStatus()
        self._source = source
        self._clock = clock
        self._publish_to_all = publish
        self._blobs = blobs
        self._faults = faults
        self._crash = crash
        self._truth_dir = truth_dir
        self._timing = timing
        self._renderer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._tasks: set[asyncio.Task[None]] = set()
        self._exposing: asyncio.Task[None] | None = None
        self._sent: dict[str, tuple[State, dict[str, tuple[Value, float]]]] = {}
        self._handlers: dict[str, Callable[[Vector, NewVector], None]] = {
            "CONNECTION": self._on_connection,
            "CONFIG": self._on_config,
            "CCD_EXPOSURE": self._on_exposure,
            "CCD_ABORT_EXPOSURE": self._on_abort,
            "CCD_FRAME": self._on_frame,
            "CCD_BIN": self._on_bin,
            "CCD_MODE": self._on_mode,
            "CCD_GAIN": self._on_gain,
            "CCD_LENS": self._on_lens,
            "CCD_COOLER": self._on_cooler,
            "CCD_TEMPERATURE": self._on_temperature,
            "CCD_SET_FITS_HEADER": self._on_set_header,
            "CCD_REMOVE_FITS_HEADER": self._on_remove_header,
        }
        self._reset()

    def _reset(self) -> None:
        """Forget everything, as a driver does that is loaded anew; images get a new address."""
        sensor = self._source.sensor
        self.present = True
        self._table = PropertyTable()
        for vector in before_connect(sensor):
            self._table.add(vector)
        self._camera = {vector.name: vector for vector in after_connect(sensor)}
        self._cooler = Cooler(AMBIENT_C)
        self._address = self._blobs.new_address()
        self._sent.clear()

    # -- what the server calls --------------------------------------------------------------------

    def start(self) -> None:
        """Begin what runs in the background."""
        self._spawn(self._watch_temperature())

    async def close(self) -> None:
        """Stop everything this camera started."""
        self._cancel_exposure()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._renderer.shutdown(wait=False, cancel_futures=True)

    def definitions(self, name: str = "") -> Iterator[Define]:
        """Yield the definitions of what the device shows now."""
        if not self.present:
            return
        for vector in self._table.vectors.values():
            if not name or vector.name == name:
                yield Define(vector)

    def request(self, request: NewVector) -> None:
        """Carry out a client's request; what INDIGO drops silently is dropped silently."""
        wanted = self._faults.value("drop-request")
        if wanted in (request.name, "*") and self._faults.take("drop-request") is not None:
            return
        vector = self._table.accepts(request) if self.present else None
        if vector is None:
            return
        handler = self._handlers.get(vector.name)
        if handler is not None:
            handler(vector, request)
            return
        apply(vector, request.values)
        self._update(vector, "Ok")

    def restart(self) -> None:
        """Come up anew after the server died: disconnected, defaults, no images."""
        self._cancel_exposure()
        self._blobs.forget(self._address)
        self._reset()

    def act(self, fault: str, value: Parameter) -> None:
        """Carry out a fault that happens at once."""
        match fault:
            case "unplug":
                self._unplug(float(value))
            case "replug":
                self._replug()
            case "foreign-client":
                for request in read_foreign(self.name, str(value), self._table):
                    self.request(request)
            case "foreign-exposure":
                seconds = {"EXPOSURE": float(value)}
                self.request(NewVector("Number", self.name, "CCD_EXPOSURE", seconds))

    # -- telling clients --------------------------------------------------------------------------

    def _update(self, vector: Vector, state: State | None = None, message: str = "") -> None:
        if state is not None:
            vector.state = state
        old_state, old = self._sent.get(vector.name, ("Idle", {}))
        now = self._remember(vector)
        changed = frozenset(name for name in now if now[name] != old.get(name))
        if self._table.vectors.get(vector.name) is not vector:
            return  # not connected: nobody knows this property
        quiet = vector.state == old_state == "Ok" and not changed and not message
        if quiet and self._faults.is_on("suppress-ok"):
            self._faults.take("suppress-ok")
            return
        partial = self._faults.is_on("partial-items") and vector.kind != "BLOB"
        self._publish_to_all(Update(vector, message, changed if partial else None))

    def _remember(self, vector: Vector) -> dict[str, tuple[Value, float]]:
        """Note what clients now know of a property, and return it."""
        known = {item.name: (item.value, item.target) for item in vector.items.values()}
        self._sent[vector.name] = (vector.state, known)
        return known

    def _delete(self, name: str = "") -> None:
        self._publish_to_all(Delete(self.name, name))
        if self._faults.is_on("duplicate-delete"):
            self._publish_to_all(Delete(self.name, name))

    def _define(self, vector: Vector) -> None:
        self._table.add(vector)
        self._remember(vector)
        self._publish_to_all(Define(vector))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- connection -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the camera's properties are defined."""
        return "CCD_EXPOSURE" in self._table

    def _on_connection(self, vector: Vector, request: NewVector) -> None:
        if vector.state == "Busy":
            return
        was = vector.selected()
        apply(vector, request.values)
        wanted = vector.selected()
        if wanted == was or wanted is None:
            apply_switches(vector, {was or "DISCONNECTED": True})
            self._update(vector, "Ok")
        elif wanted == "CONNECTED":
            self._update(vector, "Busy")
            self._spawn(self._connect(vector))
        else:
            self._disconnect(vector)

    async def _connect(self, vector: Vector) -> None:
        await asyncio.sleep(self._timing.connect_s)
        stall = self._faults.number("connect-stall")
        if stall is not None:
            await asyncio.sleep(stall)
        if not self.present or self._table.vectors.get("CONNECTION") is not vector:
            return  # unplugged or restarted meanwhile
        if self._faults.take("connect-alert") is not None:
            apply_switches(vector, {"DISCONNECTED": True})
            self._update(vector, "Alert")
            return
        for prop in self._camera.values():
            if prop.name == "CCD_IMAGE":
                stale = self._faults.take("stale-def") is not None
                prop.items["IMAGE"].value = self._blobs.url(self._address) if stale else ""
                prop.state = "Ok"
            elif prop.state == "Busy":
                prop.state = "Ok"
            self._define(prop)
        self._update(vector, "Ok")

    def _disconnect(self, vector: Vector) -> None:
        self._update(vector, "Busy")
        self._cancel_exposure()  # no Alert: the deletions are all a client hears
        for name in self._camera:
            self._table.vectors.pop(name, None)
            self._delete(name)
        self._cooler = Cooler(AMBIENT_C, self._cooler.sensor_c)
        if "CCD_COOLER" in self._camera:
            apply_switches(self._camera["CCD_COOLER"], {"OFF": True})
        self._camera["CCD_EXPOSURE"].items["EXPOSURE"].value = 0.0
        self._update(vector, "Ok")

    def _unplug(self, back_after_s: float) -> None:
        if not self.present:
            return
        self._cancel_exposure()
        self.present = False
        self._delete()
        if back_after_s > 0:
            self._spawn(self._replug_later(back_after_s))

    async def _replug_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._replug()

    def _replug(self) -> None:
        if self.present:
            return
        self._blobs.forget(self._address)
        self._reset()
        for definition in self.definitions():
            self._publish_to_all(definition)

    # -- exposure ---------------------------------------------------------------------------------

    def _on_exposure(self, vector: Vector, request: NewVector) -> None:
        if vector.state == "Busy":
            return
        apply(vector, request.values)
        item = vector.items["EXPOSURE"]
        frame_type = self._camera["CCD_FRAME_TYPE"].selected() or "LIGHT"
        if frame_type == "BIAS":
            item.value = item.target = self._source.sensor.min_exposure_s
        self._update(vector, "Busy")
        image = self._camera["CCD_IMAGE"]
        if self._uploads:
            image.items["IMAGE"].value = ""
            self._update(image, "Busy")
        self._exposing = self._spawn(self._expose(float(item.target), _FRAME_TYPES[frame_type]))

    @property
    def _uploads(self) -> bool:
        return self._camera["CCD_UPLOAD_MODE"].selected() == "CLIENT"

    async def _expose(self, exposure_s: float, frame_type: FrameType) -> None:
        vector, image = self._camera["CCD_EXPOSURE"], self._camera["CCD_IMAGE"]
        loop = asyncio.get_running_loop()
        end = loop.time() + self._clock.wall_s(exposure_s)
        bits = self._bits
        request = self._exposure_request(exposure_s, frame_type)
        rendering = loop.run_in_executor(self._renderer, self._render, request, bits)
        half_way = self._arm_half_way(end)
        try:
            if self._faults.take("stall") is not None:
                await self._count_down(end, until=(loop.time() + end) / 2)
                await asyncio.Event().wait()  # until aborted, disconnected or unplugged
            await self._count_down(end, until=end)
            try:
                frame, record = await rendering
            except Exception as error:  # foreign code; clients see an Alert
                log.exception("the frame source failed")
                self._fail(f"Exposure failed: {error}")
                return
            await asyncio.sleep(self._timing.readout_s + (self._faults.number("late-image") or 0.0))
            alert = self._faults.take("alert")
            if alert is not None:
                self._fail(str(alert))
                return
            self._deliver(image, frame, request, bits)
            self.status.frames += 1
            self.status.last_truth = record
            vector.items["EXPOSURE"].value = 0.0
            self._exposing = None
            self._update(vector, "Ok")
        finally:
            rendering.cancel()
            for handle in half_way:
                handle.cancel()

    def _exposure_request(self, exposure_s: float, frame_type: FrameType) -> ExposureRequest:
        frame = self._camera["CCD_FRAME"]
        left, top, width, height = (
            int(frame.number(name)) for name in ("LEFT", "TOP", "WIDTH", "HEIGHT")
        )
        sensor = self._source.sensor
        whole = (left, top, width, height) == (0, 0, sensor.width, sensor.height)
        return ExposureRequest(
            start=self._clock.now(),
            exposure_s=exposure_s,
            gain=self._camera["CCD_GAIN"].number("GAIN"),
            offset=self._camera["CCD_OFFSET"].number("OFFSET"),
            temperature_c=self._cooler.sensor_c,
            frame_type=frame_type,
            binning=int(self._camera["CCD_BIN"].number("HORIZONTAL")),
            roi=None if whole else (left, top, width, height),
        )

    @property
    def _bits(self) -> int:
        return 8 if self._camera["CCD_FRAME"].number("BITS_PER_PIXEL") <= 8 else 16

    def _render(self, request: ExposureRequest, bits: int) -> tuple[SimulatedFrame, dict[str, Any]]:
        """Take the frame and write its truth; runs in the render thread."""
        frame = self._source.expose(request)
        record = truth_record(self.name, request, frame, bits)
        if self._truth_dir is not None:
            try:
                write_truth(self._truth_dir, request, record, frame)
            except TruthError as error:
                log.error("%s", error)  # the frame itself is good
        return frame, record

    async def _count_down(self, end: float, until: float) -> None:
        """Publish whole seconds of the remaining time as they change, and 0 just before the end."""
        vector = self._camera["CCD_EXPOSURE"]
        item = vector.items["EXPOSURE"]
        loop = asyncio.get_running_loop()
        counts = float(item.target) >= 1.0
        pause = self._timing.countdown_s * 0.3
        while (wall := until - loop.time()) > 0:
            await asyncio.sleep(min(pause, wall))
            pause = self._timing.countdown_s
            remaining = end - loop.time()
            left = 0 if remaining <= pause else math.ceil(remaining * self._clock.rate)
            if counts and left != item.value:
                item.value = float(left)
                self._update(vector)

    def _deliver(
        self, image: Vector, frame: SimulatedFrame, request: ExposureRequest, bits: int
    ) -> None:
        """Swap the image behind the URL, then announce it."""
        if not self._uploads:
            return
        wanted = self._camera["CCD_IMAGE_FORMAT"].selected()
        stale = self._blobs.get(self._address) and self._faults.take("stale-image") is not None
        if wanted is not None and not stale:
            blob = self._encode(frame, request, bits, wanted)
            self._blobs.put(self._address, blob)
        bare = wanted is None or self._faults.take("no-image-value") is not None
        image.items["IMAGE"].value = "" if bare else self._blobs.url(self._address)
        self._update(image, "Ok")

    def _encode(
        self, frame: SimulatedFrame, request: ExposureRequest, bits: int, wanted: str
    ) -> Blob:
        suffix = f".{wanted.lower()}"
        pixels = to_depth(frame.pixels, bits)
        swapped = self._faults.take("mislabelled-format") is not None
        if (wanted == "RAW") != swapped:
            data = encode_raw(pixels, frame.pattern)
        else:
            data = encode_fits(pixels, frame.pattern, self._fits_facts(request))
        wider = self._faults.number("mislabelled-header")
        if wider is not None:
            data = _claim_width(data, pixels.shape[1], pixels.shape[1] + int(wider))
        keep = self._faults.number("truncated-image")
        if keep is not None:
            data = data[: int(len(data) * keep)]
        junk = self._faults.number("oversized-image")
        if junk is not None:
            data += b"\xa5" * int(junk)
        if self._faults.take("garbage-image") is not None:
            data = random.Random(self.status.frames).randbytes(len(data))
        return Blob(data, suffix)

    def _fits_facts(self, request: ExposureRequest) -> FitsFacts:
        headers = self._camera["CCD_FITS_HEADERS"].items.values()
        return FitsFacts(
            camera=self.name,
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

    def _fail(self, message: str) -> None:
        """End the exposure as a driver does whose readout failed."""
        self.status.failures += 1
        vector, image = self._camera["CCD_EXPOSURE"], self._camera["CCD_IMAGE"]
        self._exposing = None
        if self._uploads:
            self._update(image, "Alert")
        vector.items["EXPOSURE"].value = 0.0
        self._update(vector, "Alert", message)
        self._publish_to_all(Message(message, self.name))

    def _on_abort(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        self._update(vector, "Busy")
        item = vector.items["ABORT_EXPOSURE"]
        running = self._exposing is not None
        if running:
            self._cancel_exposure()
            if self._uploads:
                self._update(self._camera["CCD_IMAGE"], "Alert")
            exposure = self._camera["CCD_EXPOSURE"]
            exposure.items["EXPOSURE"].value = 0.0
            self._update(exposure, "Alert")
        item.value = False
        self._update(vector, "Ok" if running else "Alert")

    def _cancel_exposure(self) -> None:
        if self._exposing is not None:
            self._exposing.cancel()
            self._exposing = None

    def _arm_half_way(self, end: float) -> list[asyncio.TimerHandle]:
        loop = asyncio.get_running_loop()
        when = (loop.time() + end) / 2
        handles = []
        for fault in _HALF_WAY:
            value = self._faults.take(fault)
            if value is not None:
                handles.append(loop.call_at(when, self._strike, fault, float(value)))
        return handles

    def _strike(self, fault: str, value: float) -> None:
        match fault:
            case "unplug-exposing":
                self._unplug(value)
            case "crash-exposing":
                self._crash(value)
            case "disconnect-exposing":
                self._on_connection(self._table["CONNECTION"], _switch_on(self.name, "CONNECTION"))
            case "foreign-abort":
                self.request(_switch_on(self.name, "CCD_ABORT_EXPOSURE"))

    # -- settings ---------------------------------------------------------------------------------

    def _on_config(self, vector: Vector, request: NewVector) -> None:
        """Keep no configuration: LOAD and REMOVE find none, SAVE has nowhere to save."""
        for item in vector.items.values():
            item.value = False
        self._update(vector, "Alert")

    def _on_frame(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        items, sensor = vector.items, self._source.sensor
        binning = int(self._camera["CCD_BIN"].number("HORIZONTAL"))
        state: State = "Ok"
        for start, size, limit in (
            ("LEFT", "WIDTH", sensor.width),
            ("TOP", "HEIGHT", sensor.height),
        ):
            first = min(int(float(items[start].value)), limit - 2 * binning)
            length = int(float(items[size].value))
            if first + length > limit or first != int(float(items[start].value)):
                length, state = min(length, limit - first), "Alert"
            items[start].value = float(first)
            items[size].value = float(max(length - length % binning, binning))
        depth = items["BITS_PER_PIXEL"]
        depth.value = 8.0 if float(depth.value) <= 8 else 16.0
        self._select_mode()
        self._update(vector, state)

    def _on_bin(self, vector: Vector, request: NewVector) -> None:
        old = {name: item.value for name, item in vector.items.items()}
        apply(vector, request.values)
        wanted = {int(float(item.value)) for item in vector.items.values()}
        if len(wanted) != 1 or not wanted <= set(BINS):
            for name, item in vector.items.items():
                item.value = old[name]  # the target keeps the wrong request
            self._update(vector, "Alert")
            return
        self._select_mode()
        self._update(vector, "Ok")

    def _select_mode(self) -> None:
        """Let CCD_MODE follow depth and binning."""
        mode = self._camera["CCD_MODE"]
        binning = int(self._camera["CCD_BIN"].number("HORIZONTAL"))
        name = mode_name(self._bits, binning)
        if mode.selected() != name:
            apply_switches(mode, {name: True})
            self._update(mode, "Ok")

    def _on_mode(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        selected = vector.selected()
        if selected is not None:
            bits, binning = read_mode(selected)
            sensor = self._source.sensor
            frame, bins = self._camera["CCD_FRAME"], self._camera["CCD_BIN"]
            apply_numbers(bins, {"HORIZONTAL": binning, "VERTICAL": binning})
            whole = {"LEFT": 0, "TOP": 0, "WIDTH": sensor.width, "HEIGHT": sensor.height}
            apply_numbers(frame, {**whole, "BITS_PER_PIXEL": bits})
            self._update(frame, "Ok")
            self._update(bins, "Ok")
        self._update(vector, "Ok")

    def _on_gain(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        egain = self._camera["CCD_EGAIN"]
        egain.items["EGAIN"].value = self._source.sensor.egain(vector.number("GAIN"))
        self._update(vector, "Ok")
        self._update(egain, "Ok")

    def _on_lens(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        known = any(float(item.value) > 0 for item in vector.items.values())
        self._update(vector, "Ok" if known else "Idle")

    # -- temperature ------------------------------------------------------------------------------

    def _on_cooler(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        self._cooler.on = vector.selected() == "ON"
        self._update(vector, "Alert" if self._faults.is_on("cooler-failure") else "Ok")

    def _on_temperature(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        item = vector.items["TEMPERATURE"]
        self._cooler.target_c = float(item.target)
        item.value = round(self._cooler.sensor_c, 2)
        words = "" if self._cooler.on else "The cooler is off"
        self._update(vector, "Busy", words)

    async def _watch_temperature(self) -> None:
        """Let the sensor follow the cooler and tell about it."""
        loop = asyncio.get_running_loop()
        last, ticks = loop.time(), 0
        while True:
            await asyncio.sleep(self._timing.temperature_s)
            now = loop.time()
            failed = self._faults.is_on("cooler-failure")
            self._cooler.advance((now - last) * self._clock.rate, failed=failed)
            last, ticks = now, ticks + 1
            if self.present and self.connected:
                self._tell_temperature(failed, due=ticks % 5 == 0)

    def _tell_temperature(self, failed: bool, due: bool) -> None:
        vector = self._camera["CCD_TEMPERATURE"]
        item = vector.items["TEMPERATURE"]
        before = (vector.state, item.value)
        item.value = round(self._cooler.sensor_c, 2)
        state: State = "Ok" if self._cooler.settled else "Busy"
        if failed and self._cooler.on:
            state = "Alert"
        if due or before != (state, item.value):
            self._update(vector, state)
        if "CCD_COOLER_POWER" not in self._camera:
            return
        power, cooler = self._camera["CCD_COOLER_POWER"], self._camera["CCD_COOLER"]
        percent = round(self._cooler.power_percent, 1)
        if power.number("POWER") != percent:
            power.items["POWER"].value = percent
            self._update(power, "Ok")
        wanted: State = "Alert" if failed and self._cooler.on else "Ok"
        if cooler.state != wanted:
            self._update(cooler, wanted, "The cooler failed" if wanted == "Alert" else "")

    # -- FITS headers -----------------------------------------------------------------------------

    def _on_set_header(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        keyword, value = vector.text("KEYWORD").strip().upper(), vector.text("VALUE")
        if not 0 < len(keyword) <= 8 or len(value) > 68:
            self._update(vector, "Alert", "Keyword or value is too long or missing")
            return
        self._camera["CCD_FITS_HEADERS"].items[keyword] = text(keyword, value)
        self._redefine_headers()
        self._update(vector, "Ok")

    def _on_remove_header(self, vector: Vector, request: NewVector) -> None:
        apply(vector, request.values)
        headers = self._camera["CCD_FITS_HEADERS"].items
        if headers.pop(vector.text("KEYWORD").strip().upper(), None) is None:
            self._update(vector, "Alert", "There is no such keyword")
            return
        self._redefine_headers()
        self._update(vector, "Ok")

    def _redefine_headers(self) -> None:
        self._delete("CCD_FITS_HEADERS")
        self._define(self._camera["CCD_FITS_HEADERS"])


def apply(vector: Vector, values: Mapping[str, object]) -> None:
    """Store requested values in a vector of any kind."""
    match vector.kind:
        case "Number":
            apply_numbers(vector, values)
        case "Switch":
            apply_switches(vector, values)
        case _:
            apply_texts(vector, values)


def read_foreign(device: str, words: str, table: PropertyTable) -> Iterator[NewVector]:
    """Read ``PROPERTY.ITEM=value;…`` as another client's requests; skip unknown properties."""
    for part in filter(None, (p.strip() for p in words.split(";"))):
        path, _, value = part.partition("=")
        name, _, item = path.partition(".")
        vector = table.vectors.get(name)
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


def _switch_on(device: str, name: str) -> NewVector:
    item = {"CONNECTION": "DISCONNECTED", "CCD_ABORT_EXPOSURE": "ABORT_EXPOSURE"}[name]
    return NewVector("Switch", device, name, {item: True})


def _claim_width(data: bytes, width: int, claimed: int) -> bytes:
    """Change the width an image header gives, leaving the pixels."""
    if data.startswith(b"RAW"):
        return data[:4] + struct.pack("<I", claimed) + data[8:]
    old, new = (f"NAXIS1  = {w:>20}".encode() for w in (width, claimed))
    return data.replace(old, new, 1)
