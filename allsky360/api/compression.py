"""gzip and zstd for text answers, whichever the client takes."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Literal

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 800
INLINE_BYTES = 64 * 1024
"""Larger answers are compressed in a thread, so that nobody waits for them."""
GZIP_LEVEL, ZSTD_LEVEL = 5, 3
_TEXT = ("text/", "application/json", "application/problem+json", "image/svg+xml",
         "application/javascript", "application/vnd.apache.arrow")  # fmt: skip
Coding = Literal["zstd", "gzip"]


def coding_for(accept: str) -> Coding | None:
    """Return the coding an Accept-Encoding header takes best; zstd where it is all the same."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(",")[:20]:
        name, _, rest = part.partition(";")
        weight = 1.0
        if "q=" in rest:
            try:
                weight = float(rest.partition("q=")[2])
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    either = weights.get("*", 0.0)
    zstd, gz = weights.get("zstd", 0.0), weights.get("gzip", either)
    if max(zstd, gz) <= 0:
        return None
    return "zstd" if zstd >= gz else "gzip"


def compress(data: bytes, coding: Coding) -> bytes:
    """Compress a whole answer."""
    if coding == "gzip":
        return gzip.compress(data, GZIP_LEVEL, mtime=0)
    from numcodecs import Zstd  # type: ignore[import-untyped]  # comes with Zarr

    return bytes(Zstd(level=ZSTD_LEVEL).encode(data))


@dataclass(frozen=True)
class Compression:
    """Compresses answers that come whole; streams and files pass as they are."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        coding = coding_for(Headers(scope=scope).get("accept-encoding", ""))
        held: list[Message] = []

        async def send_compressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kind = headers.get("content-type", "")
                if kind.startswith(_TEXT) and not kind.startswith("text/event-stream"):
                    headers.add_vary_header("Accept-Encoding")
                    if coding is not None and "content-encoding" not in headers:
                        held.append(message)
                        return
                await send(message)
                return
            if not held:
                await send(message)
                return
            start = held.pop()
            body: bytes = message.get("body", b"")
            if not message.get("more_body") and len(body) >= LEAST_BYTES:
                assert coding is not None
                if len(body) > INLINE_BYTES:
                    body = await anyio.to_thread.run_sync(compress, body, coding)
                else:
                    body = compress(body, coding)
                headers = MutableHeaders(scope=start)
                headers["content-encoding"] = coding
                headers["content-length"] = str(len(body))
                message = {**message, "body": body}
            await send(start)
            await send(message)

        await self.app(scope, receive, send_compressed)
