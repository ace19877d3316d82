"""The simulator's one listener: INDIGO JSON, WebSocket, XML 2.0 and HTTP on the same port.

The first byte a client sends decides: ``{`` JSON, ``<`` XML, ``G`` or ``P`` HTTP (which may
upgrade to WebSocket at ``/``); anything else closes the connection. Besides the images it serves

* ``GET /simulator/faults`` and ``POST /simulator/faults``: the fault knobs,
* ``GET /simulator/truth/latest``: the truth of the last delivered frame,
* ``GET /simulator/status``: what the camera does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

from allsky360.clock import REAL_CLOCK, Clock
from allsky360.net import cannot_listen
from allsky360.simulator import http, websocket
from allsky360.simulator.blobs import BlobStore
from allsky360.simulator.clients import (
    Client,
    Dialect,
    QueueLimits,
    WebSocketDialect,
    XmlDialect,
)
from allsky360.simulator.device import SimulatedCamera
from allsky360.simulator.exposing import Timing
from allsky360.simulator.faults import FaultBoard, FaultError, Parameter
from allsky360.simulator.properties import (
    Define,
    EnableBlob,
    Event,
    GetProperties,
    NewVector,
    Request,
    Vector,
    by_name,
    text,
)
from allsky360.simulator.source import FrameSource
from allsky360.simulator.wire_json import JsonReader, WireError
from allsky360.simulator.wire_xml import SWITCH_PROTOCOL, XmlReader

log = logging.getLogger(__name__)

SERVER_DEVICE = "Server"
_GARBAGE_OBJECT = (
    b'{ "setNumberVector": { "device": "All-sky Simulator", "name": "CCD_TEMPERATURE", '
    b'"state": "Ok", "items": [ { "name": "TEMPERATURE", "target": 0, "value": nan } ] } }'
)
_PIECE = 64 * 1024
_CLOSING = "the server closes"


class IndigoServer:
    """An INDIGO server with one simulated camera.

    Parameters
    ----------
    source
        Where frames come from.
    clock
        Real or rehearsal clock.
    host, port
        Address to listen on; port 0 takes a free one (see :attr:`port`).
    truth_dir
        Folder for one truth file per frame.
    timing
        The camera's latencies.
    limits
        When a client that does not read is dropped.
    warm_up
        Done in the render thread right after the start, before the first frame is asked for.
    """

    def __init__(
        self,
        source: FrameSource,
        clock: Clock = REAL_CLOCK,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        truth_dir: Path | None = None,
        timing: Timing | None = None,
        limits: QueueLimits | None = None,
        warm_up: Callable[[], object] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.faults = FaultBoard()
        self.blobs = BlobStore()
        self.camera = SimulatedCamera(
            source,
            clock,
            publish=self.publish,
            blobs=self.blobs,
            faults=self.faults,
            crash=self.crash,
            truth_dir=truth_dir,
            timing=timing or Timing(),
        )
        self._clock = clock
        self._warm_up = warm_up
        self._limits = limits or QueueLimits()
        self._listener: asyncio.Server | None = None
        self._clients: set[Client] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gate = asyncio.Event()
        self._gate.set()
        info = [text("VERSION", "2.0-allsky360"), text("SERVICE", "allsky360")]
        self._info = Vector(
            SERVER_DEVICE, "INFO", "Text", by_name(info), "Main", "Server info", "ro"
        )

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        CannotListen
            When the address is taken or is not ours.
        """
        await self._listen()
        self.camera.start(self._warm_up)

    async def _listen(self) -> None:
        try:
            self._listener = await asyncio.start_server(
                self._accept, self.host, self.port, limit=http.MAX_HEAD
            )
        except OSError as error:
            raise cannot_listen(error, self.host, self.port, "simulator") from error
        self.port = int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close every connection and stop the camera."""
        self._hang_up()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.camera.close()

    async def __aenter__(self) -> IndigoServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _hang_up(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for client in list(self._clients):
            client.drop(_CLOSING)
        for writer in list(self._writers):
            writer.transport.abort()
        self._gate.set()

    def crash(self, back_after_s: float) -> None:
        """Close all sockets without a word; listen again later, with the camera as after a start.

        Parameters
        ----------
        back_after_s
            Wall-clock seconds; 0 means never.
        """
        log.warning("fault: the server crashes")
        self._hang_up()
        self.camera.restart()
        if back_after_s > 0:
            self._spawn(self._listen_again(back_after_s))

    async def _listen_again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("simulator: %s", task.exception(), exc_info=task.exception())

    # -- events -----------------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Tell every client; each dialect writes the event once."""
        written: dict[Hashable, bytes] = {}
        for client in list(self._clients):
            key = client.dialect.key(event)
            if key not in written:
                written[key] = client.dialect.encode(event)
            client.send(written[key])

    def _definitions(self, request: GetProperties) -> Iterator[Define]:
        if request.device in ("", SERVER_DEVICE):
            yield Define(self._info)
        if request.device in ("", self.camera.name):
            yield from self.camera.definitions(request.name)

    def _handle(self, client: Client, request: Request) -> None:
        match request:
            case GetProperties():
                if isinstance(client.dialect, XmlDialect) and request.switch_version:
                    client.send(SWITCH_PROTOCOL)
                for definition in self._definitions(request):
                    self.publish(definition)
            case NewVector():
                if request.device == self.camera.name:
                    self.camera.request(request)
            case EnableBlob():
                if isinstance(client.dialect, XmlDialect):
                    client.dialect.enable(request)

    def arm(self, wanted: dict[str, object]) -> None:
        """Turn fault knobs and carry out those that happen at once.

        Raises
        ------
        FaultError
            Naming the fault or value that is wrong; nothing is turned then.
        """
        for name, value in self._turn(wanted):
            self._act(name, value)

    def _turn(self, wanted: dict[str, object]) -> list[tuple[str, Parameter]]:
        actions = self.faults.arm(wanted)
        if wanted.get("clear") or not wanted.get("hung", True):
            self._gate.set()
        return actions

    def _act(self, name: str, value: Parameter) -> None:
        match name:
            case "crash":
                self.crash(float(value))
            case "hung":
                self._gate.clear()
                if float(value) > 0:
                    asyncio.get_running_loop().call_later(float(value), self._gate.set)
            case "garbage":
                self._send_raw(str(value).encode())
            case "bad-object":
                self._send_raw(_GARBAGE_OBJECT)
            case _:
                self.camera.act(name, value)

    def _send_raw(self, junk: bytes) -> None:
        for client in list(self._clients):
            client.send(client.dialect.wrap(junk))

    # -- connections ------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._spawn(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            first = await reader.read(1)
            if first == b"{":
                await self._serve_client(first, reader, writer, Dialect(), JsonReader().feed)
            elif first == b"<":
                dialect = XmlDialect(self._blob_bytes)
                await self._serve_client(first, reader, writer, dialect, XmlReader().feed)
            elif first in (b"G", b"P"):
                await self._serve_http(first, reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone; nothing of ours depends on it
        finally:
            self._writers.discard(writer)
            writer.close()

    def _blob_bytes(self, url: str) -> bytes | None:
        blob = self.blobs.get(url)
        return blob.data if blob else None

    async def _serve_client(
        self,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dialect: Dialect,
        feed: Callable[[bytes], Iterable[Request]],
    ) -> None:
        client = Client(writer, dialect, self._limits, lambda: self._gate)
        self._clients.add(client)
        pump = asyncio.get_running_loop().create_task(client.pump())
        data = first
        try:
            while not client.dropped:
                await self._gate.wait()
                for request in feed(data):
                    self._handle(client, request)
                data = await reader.read(_PIECE)
                if not data:
                    break
        except WireError as error:
            log.info("client closed: %s", error)
        finally:
            self._clients.discard(client)
            if client.dropped not in ("", _CLOSING):
                log.warning("client dropped: %s", client.dropped)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _serve_websocket(
        self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(websocket.accept_reply(key, http.SERVER_NAME))
        frames, objects = websocket.FrameReader(), JsonReader()

        def feed(data: bytes) -> Iterator[Request]:
            for opcode, payload in frames.feed(data):
                if opcode == websocket.TEXT:
                    yield from objects.feed(payload)
                elif opcode == websocket.PING:
                    writer.write(websocket.frame(payload, websocket.PONG))
                elif opcode == websocket.CLOSE:
                    writer.write(websocket.frame(payload, websocket.CLOSE))
                    raise WireError("closed by the client")

        await self._serve_client(b"", reader, writer, WebSocketDialect(), feed)

    # -- HTTP -------------------------------------------------------------------------------------

    async def _serve_http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while first:
            request = await http.read_request(first, reader)
            if request is None:
                return
            if request.path.startswith("/simulator/"):
                writer.write(self._control(request))
                await writer.drain()
            else:
                await self._gate.wait()
                key = request.headers.get("sec-websocket-key")
                if request.method == "GET" and request.path == "/" and key:
                    await self._serve_websocket(key, reader, writer)
                    return
                if not await self._reply(request, writer):
                    return
            if request.closes:
                return
            first = await reader.read(1)

    async def _reply(self, request: http.HttpRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer one GET; return whether the connection goes on."""
        if request.method != "GET":
            return False
        if request.path == "/":
            writer.write(http.redirect("/mng.html"))
            await writer.drain()
            return True
        is_image = request.path.startswith("/blob/")
        blob = self.blobs.get(request.path) if is_image else None
        if blob is None or self.faults.take("http-404") is not None:
            writer.write(http.not_found())
            await writer.drain()
            return False
        if self.faults.take("hung-http") is not None:
            await asyncio.Event().wait()  # until the client gives up or the server closes
        name = request.path.rpartition("/")[2]
        return await self._send_image(writer, blob.data, name, not request.closes)

    async def _send_image(
        self, writer: asyncio.StreamWriter, data: bytes, name: str, keep_alive: bool
    ) -> bool:
        announced, body = len(data), data
        extra = self.faults.number("wrong-length")
        if extra is not None:
            announced = max(0, announced + int(extra))
        kept = self.faults.number("truncated-body")
        if kept is not None:
            body = data[: int(len(data) * kept)]
        writer.write(http.image_head(announced, name, keep_alive))
        rate = self.faults.number("slow-body")
        if rate is None:
            writer.write(body)
            await writer.drain()
        else:
            piece = max(1, int(rate / 20))
            for start in range(0, len(body), piece):
                writer.write(body[start : start + piece])
                await writer.drain()
                await asyncio.sleep(0.05)
        return kept is None

    def _control(self, request: http.HttpRequest) -> bytes:
        match request.method, request.path:
            case "GET", "/simulator/faults":
                return http.json_reply(self.faults.listing())
            case "POST", "/simulator/faults":
                return self._arm_by_http(request.body)
            case "GET", "/simulator/truth/latest":
                truth = self.camera.status.last_truth
                if truth is not None:
                    return http.json_reply(truth)
                return http.json_reply({"error": "no frame was delivered yet"}, "404 Not found")
            case "GET", "/simulator/status":
                return http.json_reply(
                    {
                        "camera": self.camera.name,
                        "present": self.camera.present,
                        "connected": self.camera.connected,
                        "frames": self.camera.status.frames,
                        "failures": self.camera.status.failures,
                        "clients": len(self._clients),
                        "time": self._clock.now().isoformat(),
                        "rate": self._clock.rate,
                    }
                )
            case _:
                return http.json_reply({"error": f"no {request.path} here"}, "404 Not found")

    def _arm_by_http(self, body: bytes) -> bytes:
        try:
            wanted = json.loads(body)
            if not isinstance(wanted, dict):
                raise FaultError("the body is no JSON object of fault names and settings.")
            for name, value in self._turn(wanted):
                # after the reply has gone out: a crash closes this connection too
                asyncio.get_running_loop().call_later(0.02, self._act, name, value)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return http.json_reply({"error": f"the body is not JSON: {error}"}, "400 Bad request")
        except FaultError as error:
            return http.json_reply({"error": str(error)}, "400 Bad request")
        return http.json_reply([row for row in self.faults.listing() if row["count"]])
