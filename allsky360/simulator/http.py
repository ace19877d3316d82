"""As much HTTP/1.1 as an INDIGO server speaks: GET with keep-alive, and a few JSON endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024
SERVER_NAME = "INDIGO/2.0-allsky360"


@dataclass(frozen=True)
class HttpRequest:
    """One request; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def closes(self) -> bool:
        """Whether the client wants the connection closed after the reply."""
        return self.headers.get("connection", "").lower() == "close"


async def read_request(first: bytes, reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read one request whose first byte was read already; None when it makes no sense."""
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    try:
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY:
            return None
        body = await reader.readexactly(length)
    except (ValueError, asyncio.IncompleteReadError):
        return None
    return HttpRequest(words[0], words[1], headers, body)


def image_head(length: int, name: str, keep_alive: bool = True) -> bytes:
    """Return the reply head of an image of ``length`` bytes, with INDIGO's header lines."""
    lines = [
        "HTTP/1.1 200 OK",
        f"Server: {SERVER_NAME}",
        "Content-Type: application/octet-stream",
        f'Content-Disposition: attachment; filename="{name}"',
    ]
    if keep_alive:
        lines.append("Connection: keep-alive")
    lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def not_found() -> bytes:
    """Return INDIGO's 404: no Content-Length, the end of the connection ends the body."""
    return (
        f"HTTP/1.1 404 Not found\r\nServer: {SERVER_NAME}\r\n"
        "Content-Type: text/plain\r\n\r\nNot found!\r\n"
    ).encode()


def redirect(where: str) -> bytes:
    """Return a 301."""
    return (
        f"HTTP/1.1 301 Moved Permanently\r\nServer: {SERVER_NAME}\r\n"
        f"Location: {where}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def json_reply(document: Any, status: str = "200 OK") -> bytes:
    """Return a JSON reply that keeps the connection."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    return (
        f"HTTP/1.1 {status}\r\nServer: {SERVER_NAME}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
