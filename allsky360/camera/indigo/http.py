"""Fetching one image from an INDIGO server by HTTP, bounded in size and time.

Not a general HTTP client: the length must be announced and must be met exactly, because a short
image must become an error with a name and not a picture.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from allsky360.camera.errors import (
    CameraTimeout,
    NoImage,
    OversizedImage,
    ServerGone,
    TruncatedImage,
    UnsupportedImage,
)

_CHUNK = 1 << 18
_MAX_HEADER_BYTES = 1 << 16
STALL_S = 15.0


@dataclass(frozen=True)
class Address:
    """Where a BLOB URL leads."""

    host: str
    port: int
    path: str


def resolve(url: str, host: str, port: int) -> Address:
    """Resolve a BLOB value, a path or a whole URL, against the server it came from."""
    base = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    try:
        parts = urlsplit(urljoin(base, url))
        found_port = parts.port
    except ValueError as error:
        raise UnsupportedImage(
            f"{host}:{port} names an image address we cannot read: {url!r}."
        ) from (error)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or not parts.hostname or any(c <= " " or c > "~" for c in path):
        raise UnsupportedImage(f"{host}:{port} names an image address we cannot read: {url!r}.")
    return Address(parts.hostname, found_port or 80, path)


async def fetch(address: Address, max_bytes: int, timeout_s: float) -> bytes:
    """GET one image.

    Parameters
    ----------
    max_bytes
        Largest body accepted; what is announced larger is refused before it is read.
    timeout_s
        Bound of the whole transfer, in wall seconds. A transfer without a byte for 15 s ends
        earlier.
    """
    where = f"http://{address.host}:{address.port}{address.path}"
    try:
        async with asyncio.timeout(timeout_s):
            return await _fetch(address, max_bytes, where)
    except TimeoutError as error:
        raise CameraTimeout(
            f"the image {where} did not arrive within {timeout_s:.0f} s, or stalled.",
            mend="Check the network to the INDIGO server.",
        ) from error
    except OSError as error:
        raise ServerGone(f"fetching the image {where} failed: {error}.") from error


async def _fetch(address: Address, max_bytes: int, where: str) -> bytes:
    async with asyncio.timeout(STALL_S):
        reader, writer = await asyncio.open_connection(
            address.host, address.port, limit=_MAX_HEADER_BYTES
        )
    try:
        writer.write(
            f"GET {address.path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
            "Connection: close\r\n\r\n".encode("ascii")
        )
        async with asyncio.timeout(STALL_S):
            status, headers = await _read_head(reader, where)
        if status != 200:
            raise NoImage(f"the server answers {status} for the image {where}.")
        length = _length(headers, where)
        if length > max_bytes:
            raise OversizedImage(
                f"the image {where} is announced with {length} bytes; "
                f"this camera delivers at most {max_bytes}."
            )
        return await _read_body(reader, length, where)
    finally:
        writer.close()


async def _read_head(reader: asyncio.StreamReader, where: str) -> tuple[int, dict[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise TruncatedImage(f"the server gave no proper HTTP reply for {where}.") from error
    first, *lines = head.split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise UnsupportedImage(f"the reply for {where} is not HTTP: {first[:60]!r}.")
    headers = {}
    for line in lines:
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    return int(words[1]), headers


def _length(headers: dict[str, str], where: str) -> int:
    for key in ("content-encoding", "transfer-encoding"):
        if headers.get(key, "identity").lower() != "identity":
            raise UnsupportedImage(f"{where} comes with {key} {headers[key]!r}, never asked for.")
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise TruncatedImage(f"the server does not say how long the image {where} is.")
    return int(text)


async def _read_body(reader: asyncio.StreamReader, length: int, where: str) -> bytes:
    body = bytearray()
    while len(body) < length:
        async with asyncio.timeout(STALL_S):
            chunk = await reader.read(min(_CHUNK, length - len(body)))
        if not chunk:
            raise TruncatedImage(f"the image {where} ended after {len(body)} of {length} bytes.")
        body += chunk
    return bytes(body)


__all__ = ["STALL_S", "Address", "fetch", "resolve"]
