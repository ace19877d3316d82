"""One connected client: its dialect, and its own bounded queue of outgoing bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from allsky360.simulator import websocket, wire_json, wire_xml
from allsky360.simulator.properties import EnableBlob, Event, Update


@dataclass(frozen=True)
class QueueLimits:
    """When a client that does not read is dropped.

    Attributes
    ----------
    max_bytes
        Most bytes waiting for one client.
    send_timeout_s
        Longest wait for the client to take what was sent.
    """

    max_bytes: int = 64 * 1024 * 1024
    send_timeout_s: float = 5.0


class Dialect:
    """How one client is spoken to; JSON over raw TCP."""

    def key(self, event: Event) -> Hashable:
        """Return what distinguishes this client's bytes of an event; equal keys share them."""
        return "json"

    def encode(self, event: Event) -> bytes:
        """Write an event."""
        return wire_json.encode(event)

    def wrap(self, payload: bytes) -> bytes:
        """Frame bytes for this transport."""
        return payload


class WebSocketDialect(Dialect):
    """JSON, one object a text frame."""

    def key(self, event: Event) -> Hashable:
        """See :meth:`Dialect.key`."""
        return "websocket"

    def encode(self, event: Event) -> bytes:
        """Write an event."""
        return websocket.frame(wire_json.encode(event))

    def wrap(self, payload: bytes) -> bytes:
        """Frame bytes as text."""
        return websocket.frame(payload)


class XmlDialect(Dialect):
    """XML 2.0; images only as the client enabled them."""

    def __init__(self, content: wire_xml.BlobContent) -> None:
        self._content = content
        self._modes: dict[tuple[str, str], str] = {}

    def enable(self, request: EnableBlob) -> None:
        """Remember how images of a device (or one property) are wanted."""
        self._modes[request.device, request.name] = request.mode

    def mode(self, device: str, name: str) -> str:
        """Return the most specific mode that was asked for, else ``Never``."""
        for key in ((device, name), (device, ""), ("", "")):
            if key in self._modes:
                return self._modes[key]
        return "Never"

    def _mode_of(self, event: Event) -> str:
        if isinstance(event, Update) and event.vector.kind == "BLOB":
            return self.mode(event.vector.device, event.vector.name)
        return ""

    def key(self, event: Event) -> Hashable:
        """See :meth:`Dialect.key`."""
        return "xml", self._mode_of(event)

    def encode(self, event: Event) -> bytes:
        """Write an event."""
        return wire_xml.encode(event, self._mode_of(event) or "Never", self._content)


class Client:
    """A connection that hears every event.

    Bytes are queued without waiting, so that a client that stops reading holds up nobody else; it
    is dropped when its queue is full or its socket takes nothing for too long.
    """

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        dialect: Dialect,
        limits: QueueLimits,
        gate: Callable[[], asyncio.Event],
    ) -> None:
        self.dialect = dialect
        self._writer = writer
        self._limits = limits
        self._gate = gate
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self.dropped = ""

    def send(self, data: bytes) -> None:
        """Queue bytes."""
        if not data or self.dropped:
            return
        self._queued += len(data)
        if self._queued > self._limits.max_bytes:
            self.drop(f"{self._queued} bytes wait for it")
            return
        self._queue.append(data)
        self._wake.set()

    def drop(self, reason: str) -> None:
        """Close the connection at once."""
        self.dropped = self.dropped or reason
        self._queue.clear()
        self._writer.transport.abort()
        self._wake.set()

    async def pump(self) -> None:
        """Send what is queued until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while not self.dropped:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._gate().wait()
                    if not self._queue:  # dropped while waiting
                        break
                    data = self._queue.popleft()
                    self._writer.write(data)
                    try:
                        async with asyncio.timeout(self._limits.send_timeout_s):
                            await self._writer.drain()
                    except TimeoutError:
                        self.drop(f"it took nothing for {self._limits.send_timeout_s:g} s")
                    self._queued -= len(data)
