"""A small frame source and raw clients for the simulator's tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from allsky360.simulator.exposing import Timing
from allsky360.simulator.source import ExposureRequest, SensorDescription, SimulatedFrame

CAMERA = "Test Camera"
FAST = Timing(connect_s=0.005, readout_s=0.005, countdown_s=0.05, temperature_s=0.3)


@dataclass
class GradientSource:
    """A 64 x 48 gradient whose level counts the exposures, so that no two frames are equal."""

    render_s: float = 0.0
    fail: bool = False
    sensor: SensorDescription = field(
        default_factory=lambda: SensorDescription(name=CAMERA, width=64, height=48, pattern="GRBG")
    )
    requests: list[ExposureRequest] = field(default_factory=list)

    def expose(self, request: ExposureRequest) -> SimulatedFrame:
        self.requests.append(request)
        if self.fail:
            raise RuntimeError("shutter stuck")
        time.sleep(self.render_s)
        left, top, width, height = request.roi or (0, 0, self.sensor.width, self.sensor.height)
        b = request.binning
        y, x = np.mgrid[top : top + height : b, left : left + width : b]
        pixels = (1000 * len(self.requests) + 257 * x + y).astype(np.uint16)
        truth = {"count": len(self.requests)}
        return SimulatedFrame(pixels, self.sensor.pattern, truth, {"depth": pixels / 2.0})


class JsonClient:
    """A raw TCP client that keeps every message."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: list[dict[str, Any]] = []
        self.raw = b""
        self._text = ""
        self.closed = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> JsonClient:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.writer.close()

    async def _listen(self) -> None:
        decoder = json.JSONDecoder()
        try:
            while data := await self.reader.read(65536):
                self.raw += data
                self._text += data.decode()
                while self._text:
                    try:
                        document, end = decoder.raw_decode(self._text)
                    except json.JSONDecodeError:
                        break
                    self._text = self._text[end:]
                    self.messages.append(document)
                self._news.set()
        except ConnectionError:
            pass
        self.closed = True
        self._news.set()

    def send(self, message: dict[str, Any], end: str = "\n") -> None:
        self.send_text(json.dumps(message) + end)

    def send_text(self, text: str) -> None:
        self.writer.write(text.encode())

    def get(self, **filters: str) -> None:
        self.send({"getProperties": {"version": 512, **filters}})

    def new(self, kind: str, name: str, device: str = CAMERA, **values: Any) -> None:
        items = [{"name": n, "value": v} for n, v in values.items()]
        self.send({f"new{kind}Vector": {"device": device, "name": name, "items": items}})

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10) -> Any:
        """Wait until a condition holds for what was heard; fail after ``timeout_s``."""
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
        return found

    def vectors(self, name: str, kind: str = "set") -> list[dict[str, Any]]:
        return [
            body
            for message in self.messages
            for key, body in message.items()
            if key.startswith(kind) and isinstance(body, dict) and body.get("name") == name
        ]

    async def heard(self, name: str, state: str, since: int = 0) -> dict[str, Any]:
        """Wait for a set message of a property with a state, after the first ``since`` messages."""

        def find() -> dict[str, Any] | None:
            for message in self.messages[since:]:
                for key, body in message.items():
                    if key.startswith("set") and body["name"] == name and body["state"] == state:
                        return body
            return None

        return await self.until(find)

    async def connect(self) -> None:
        self.get()
        await self.until(lambda: self.vectors("CONNECTION", "def"))
        mark = len(self.vectors("CONNECTION"))
        self.new("Switch", "CONNECTION", CONNECTED=True)
        await self.until(
            lambda: any(
                v["state"] == "Ok" and values(v)["CONNECTED"]
                for v in self.vectors("CONNECTION")[mark:]
            )
        )

    async def expose(self, seconds: float = 0.05, state: str = "Ok") -> dict[str, Any]:
        """Expose and return the CCD_EXPOSURE message that ended it."""
        mark = len(self.messages)
        self.new("Number", "CCD_EXPOSURE", EXPOSURE=seconds)
        return await self.heard("CCD_EXPOSURE", state, mark)

    def image_url(self) -> str:
        return self.vectors("CCD_IMAGE")[-1]["items"][0]["value"]


def values(body: dict[str, Any]) -> dict[str, Any]:
    """Item values of a message, by name."""
    return {item["name"]: item.get("value") for item in body["items"]}
