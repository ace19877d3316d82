"""A small scripted INDIGO server, for behaviour a well-mannered simulator would not show.

Written from the protocol reference, not from our client: back-to-back JSON without delimiters,
HTTP on the same port, one constant image URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

CAM = "Fake Camera"
URL = "/blob/0xabc.raw"
Script = Callable[["FakeIndigo", float], Awaitable[None]]


def number(name: str, value: float, low: float = 0, high: float = 0) -> dict[str, Any]:
    return {"name": name, "label": name, "min": low, "max": high, "step": 1, "format": "%g",
            "target": value, "value": value}  # fmt: skip


def switch(name: str, on: bool = False) -> dict[str, Any]:
    return {"name": name, "label": f"{name} label", "value": on}


def text(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "label": name, "value": value}


class FakeIndigo:
    """Serve one camera. Change attributes or give an ``on_expose`` script to misbehave."""

    def __init__(self, *, width: int = 16, height: int = 12) -> None:
        self.width, self.height = width, height
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.greetings: list[dict[str, Any]] = []
        self.connections = 0
        self.http_gets: list[str] = []
        self.image: bytes | None = None
        self.content_length: int | None = None
        self.cut_body = 0
        self.url = URL
        self.on_expose: Script = expose_normally
        self.ignore: set[str] = set()
        self.alert: dict[str, str] = {}
        self.swallow: set[str] = set()
        self.extra_devices: dict[str, str] = {}
        self.connect_state = "Ok"
        self.device = CAM
        self.close_first = 0
        self.props = self._properties()
        self.before_connect = ("INFO", "CONNECTION")
        self.tasks: set[asyncio.Task[None]] = set()
        self.exposing: asyncio.Task[None] | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._rng = np.random.default_rng(1)

    def _properties(self) -> dict[str, dict[str, Any]]:
        w, h = self.width, self.height

        def prop(kind: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
            return {"kind": kind, "perm": "rw", "state": "Ok", "items": list(items)} | more

        one = {"rule": "OneOfMany"}
        return {
            "INFO": prop("Text", text("DEVICE_DRIVER", "fake"), text("DEVICE_INTERFACE", "2"),
                         perm="ro"),
            "CONNECTION": prop("Switch", switch("CONNECTED"), switch("DISCONNECTED", True), **one),
            "CCD_INFO": prop("Number", number("WIDTH", w), number("HEIGHT", h),
                             number("PIXEL_SIZE", 2.9), number("BITS_PER_PIXEL", 16),
                             number("MAX_HORIZONTAL_BIN", 2), number("MAX_VERTICAL_BIN", 4),
                             perm="ro"),
            "CCD_UPLOAD_MODE": prop("Switch", switch("CLIENT"), switch("LOCAL", True), **one),
            "CCD_MODE": prop("Switch", switch("RAW8"), switch("RAW16", True), **one),
            "CCD_EXPOSURE": prop("Number", number("EXPOSURE", 0, 0.001, 100)),
            "CCD_ABORT_EXPOSURE": prop("Switch", switch("ABORT_EXPOSURE"), rule="AtMostOne"),
            "CCD_FRAME": prop("Number", number("LEFT", 0, 0, w), number("TOP", 0, 0, h),
                              number("WIDTH", w, 0, w), number("HEIGHT", h, 0, h),
                              number("BITS_PER_PIXEL", 16, 8, 16)),
            "CCD_BIN": prop("Number", number("HORIZONTAL", 1, 1, 4), number("VERTICAL", 1, 1, 4)),
            "CCD_GAIN": prop("Number", number("GAIN", 0, 0, 500)),
            "CCD_OFFSET": prop("Number", number("OFFSET", 0, 0, 1000)),
            "CCD_EGAIN": prop("Number", number("EGAIN", 0.8), perm="ro"),
            "CCD_FRAME_TYPE": prop("Switch", switch("LIGHT", True), switch("BIAS"), switch("DARK"),
                                   switch("FLAT"), **one),
            "CCD_IMAGE_FORMAT": prop("Switch", switch("FITS", True), switch("RAW"), **one),
            "CCD_IMAGE": prop("BLOB", {"name": "IMAGE", "label": "IMAGE"}),
            "CCD_COOLER": prop("Switch", switch("ON"), switch("OFF", True), **one),
            "CCD_TEMPERATURE": prop("Number", number("TEMPERATURE", 21.5, -50, 50)),
        }  # fmt: skip

    async def __aenter__(self) -> FakeIndigo:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop_clients()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # --- what scripts use ---

    def drop_clients(self) -> None:
        """Crash: cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def send(self, *messages: dict[str, Any] | str) -> None:
        """Broadcast messages in one piece, without newline."""
        data = "".join(m if isinstance(m, str) else json.dumps(m) for m in messages).encode()
        for writer in self._writers:
            writer.write(data)

    def item(self, prop: str, name: str) -> dict[str, Any]:
        return next(i for i in self.props[prop]["items"] if i["name"] == name)

    def value(self, prop: str, name: str) -> Any:
        return self.item(prop, name).get("value")

    def message(self, prop: str, state: str | None = None, **items: Any) -> dict[str, Any]:
        """A set message carrying ``items`` (all when none are named) and remembering them."""
        about = self.props[prop]
        if state is not None:
            about["state"] = state
        for name, value in items.items():
            self.item(prop, name)["value"] = value
        carried = [i for i in about["items"] if not items or i["name"] in items]
        keys = ("name", "value", "target")
        return {
            f"set{about['kind']}Vector": {
                "device": self.device, "name": prop, "state": about["state"],
                "items": [{k: i[k] for k in keys if k in i} for i in carried],
            }
        }  # fmt: skip

    def image_message(self, state: str) -> dict[str, Any]:
        item: dict[str, Any] = {"name": "IMAGE"}
        if state == "Ok":
            item["value"] = self.url
        self.props["CCD_IMAGE"]["state"] = state
        self.props["CCD_IMAGE"]["items"] = [{"label": "IMAGE", **item}]
        body = {"device": self.device, "name": "CCD_IMAGE", "state": state, "items": [item]}
        return {"setBLOBVector": body}

    def busy(self, target: float) -> None:
        self.item("CCD_EXPOSURE", "EXPOSURE")["target"] = target
        self.send(self.message("CCD_EXPOSURE", "Busy", EXPOSURE=target), self.image_message("Busy"))

    def done(self) -> None:
        self.send(self.image_message("Ok"), self.message("CCD_EXPOSURE", "Ok", EXPOSURE=0))

    def new_raw(self) -> bytes:
        """A noise image of the size the camera is set to."""
        across, down = self.value("CCD_BIN", "HORIZONTAL"), self.value("CCD_BIN", "VERTICAL")
        w = int(self.value("CCD_FRAME", "WIDTH") // across)
        h = int(self.value("CCD_FRAME", "HEIGHT") // down)
        deep = self.value("CCD_FRAME", "BITS_PER_PIXEL") > 8
        pixels = self._rng.integers(0, 200, (h, w)).astype("<u2" if deep else "u1")
        return (b"RAW2" if deep else b"RAW1") + struct.pack("<II", w, h) + pixels.tobytes()

    def define(self, names: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
        out = []
        for name, about in self.props.items():
            if names is not None and name not in names:
                continue
            body = {k: v for k, v in about.items() if k != "kind"}
            out.append({f"def{about['kind']}Vector": {
                "version": 512, "device": self.device, "name": name, "group": "Main",
                "label": name, **body}})  # fmt: skip
        return out

    # --- the wire ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            first = await reader.readline()
            if first.startswith(b"GET"):
                await self._http(first, reader, writer)
            elif first.startswith(b"{"):
                self.connections += 1
                if self.close_first:
                    self.close_first -= 1
                    return
                self._writers.append(writer)
                self._take(json.loads(first))
                while line := await reader.readline():
                    self._take(json.loads(line))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http_gets.append(first.decode().split()[1])
        while (await reader.readline()).strip():
            pass
        if self.image is None:
            writer.write(b"HTTP/1.1 404 Not found\r\nContent-Type: text/plain\r\n\r\nNot found")
            return
        length = len(self.image) if self.content_length is None else self.content_length
        head = f"HTTP/1.1 200 OK\r\nServer: INDIGO/2.0-344\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode() + self.image[: len(self.image) - self.cut_body])
        await writer.drain()

    def _take(self, message: dict[str, Any]) -> None:
        kind, body = next(iter(message.items()))
        if kind == "getProperties":
            self.greetings.append(body)
            if body.get("name"):
                self.send(*self.define((body["name"],)))
                return
            connected = self.value("CONNECTION", "CONNECTED")
            self.send(*self.define(None if connected else self.before_connect))
            for device, interface in self.extra_devices.items():
                self.send({"defTextVector": {"device": device, "name": "INFO", "perm": "ro",
                    "state": "Ok", "items": [text("DEVICE_INTERFACE", interface)]}})  # fmt: skip
            return
        name = body["name"]
        values = {i["name"]: i["value"] for i in body["items"]}
        self.requests.append((kind, name, values))
        if name in self.ignore:
            return
        if name in self.alert:
            about = self.message(name, "Alert")
            next(iter(about.values()))["message"] = self.alert[name]
            self.send(about)
        elif name == "CONNECTION":
            self._connect(values)
        elif name == "CCD_EXPOSURE":
            if self.exposing is None or self.exposing.done():
                self.exposing = asyncio.create_task(self.on_expose(self, values["EXPOSURE"]))
                self.tasks.add(self.exposing)
        elif name == "CCD_ABORT_EXPOSURE":
            self._abort()
        else:
            self._set(kind, name, values)

    def _connect(self, values: dict[str, Any]) -> None:
        if values.get("CONNECTED"):
            self.send(self.message("CONNECTION", "Busy"))
            if self.connect_state == "Alert":
                self.send(self.message("CONNECTION", "Alert"))
                return
            later = tuple(n for n in self.props if n not in self.before_connect)
            self.send(*self.define(later))
            self.send(self.message("CONNECTION", "Ok", CONNECTED=True, DISCONNECTED=False))
        else:
            self.disconnect()

    def disconnect(self) -> None:
        """As the real server: every deletion twice, and no Alert for the exposure."""
        gone = [n for n in self.props if n not in self.before_connect]
        self.send(self.message("CONNECTION", "Busy"))
        for name in gone:
            deletion = {"deleteProperty": {"device": self.device, "name": name}}
            self.send(deletion, deletion)
        self.send(self.message("CONNECTION", "Ok", CONNECTED=False, DISCONNECTED=True))

    def _abort(self) -> None:
        if self.exposing is not None and not self.exposing.done():
            self.exposing.cancel()
        self.send(
            self.message("CCD_ABORT_EXPOSURE", "Busy", ABORT_EXPOSURE=True),
            self.image_message("Alert"),
            self.message("CCD_EXPOSURE", "Alert", EXPOSURE=0),
            self.message("CCD_ABORT_EXPOSURE", "Ok", ABORT_EXPOSURE=False),
        )

    def _set(self, kind: str, name: str, values: dict[str, Any]) -> None:
        if kind == "newSwitchVector" and self.props[name].get("rule") == "OneOfMany":
            for item in self.props[name]["items"]:
                item["value"] = False
        for item in self.props[name]["items"]:
            if item["name"] in values:
                item["value"] = values[item["name"]]
                if "target" in item:
                    item["target"] = values[item["name"]]
        if name not in self.swallow:
            self.props[name]["state"] = "Ok"
            self.send(self.message(name))


async def expose_normally(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    await asyncio.sleep(min(target, 0.05))
    server.image = server.new_raw()
    server.done()


async def expose_forever(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
