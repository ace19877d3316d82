"""The server side of WebSocket (RFC 6455), enough for text messages."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator

from allsky360.simulator.wire_json import MAX_MESSAGE, WireError

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_reply(key: str, server_name: str) -> bytes:
    """Return the 101 reply to an upgrade request with this key."""
    digest = hashlib.sha1((key + _MAGIC).encode(), usedforsecurity=False).digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        f"Server: {server_name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one unfragmented, unmasked frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, size)
    elif size < 65536:
        head = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return head + payload


class FrameReader:
    """Cut a byte stream into WebSocket messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield ``(opcode, payload)`` of every message completed by ``data``.

        Fragments are joined; control frames come as they are.

        Raises
        ------
        WireError
            On an unmasked frame or a message over 256 KiB.
        """
        self._buffer += data
        while (found := self._next_frame()) is not None:
            final, opcode, payload = found
            if opcode in (CLOSE, PING, PONG):
                yield opcode, payload
                continue
            self._message += payload
            if len(self._message) > MAX_MESSAGE:
                raise WireError("message longer than 256 KiB")
            if final:
                whole, self._message = bytes(self._message), bytearray()
                yield TEXT, whole

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        final, opcode = bool(buffer[0] & 0x80), buffer[0] & 0x0F
        if not buffer[1] & 0x80:
            raise WireError("a client's frame must be masked")
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < 2 + width:
                return None
            size, start = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        if size > MAX_MESSAGE:
            raise WireError("message longer than 256 KiB")
        if len(buffer) < start + 4 + size:
            return None
        mask = bytes(buffer[start : start + 4])
        masked = bytes(buffer[start + 4 : start + 4 + size])
        del buffer[: start + 4 + size]
        whole = (mask * (size // 4 + 1))[:size]
        plain = int.from_bytes(masked, "big") ^ int.from_bytes(whole, "big")
        return final, opcode, plain.to_bytes(size, "big")
