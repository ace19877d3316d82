"""Server-sent events: new frames and changes of state, resumable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from allsky360.api.feed import HEARTBEAT, Event, Feed, read_id
from allsky360.api.middleware import HEAD_KEY
from allsky360.api.problems import Busy, Responses, responses
from allsky360.api.service import Service, ServiceDep

router = APIRouter(prefix="/events", tags=["events"])

MAX_STREAMS = 500
RETRY_MS = 2000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")}
    | {"retry": {"type": "integer"}},
}
_EXAMPLE = (
    "id: 18a2c-7-1763766123000000000\nevent: frame\n"
    'data: {"id":"2026-11-22/000017","camera":"zwo-asi294mc",'
    '"href":"/api/v1/frames/2026-11-22/000017?camera=zwo-asi294mc"}\n\n'
)


STREAM: Responses = {
    200: {
        "description": "`hello` first, then `frame` (a frame was processed), `measurement` (its "
        "main numbers), `transient` (found in it), `product` (made or renewed), `state` (the "
        "camera's condition changed) and `reset` (events were missed: read the archive).",
        "content": {"text/event-stream": {"schema": _SCHEMA, "example": _EXAMPLE}},
    }
}


@router.get("", response_class=Response, responses=STREAM | responses(422, 503))
async def get_events(
    request: Request,
    service: ServiceDep,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="Resumes after that event.")
    ] = None,
    after: Annotated[
        str | None,
        Query(max_length=100, description="The same, for clients that cannot set the header."),
    ] = None,
) -> Response:
    """Follow what happens; a reader that comes back with Last-Event-ID misses nothing."""
    if request.scope.get(HEAD_KEY):
        return Response(media_type="text/event-stream", headers=_HEADERS)
    if service.load.streams >= MAX_STREAMS:
        raise Busy(f"{MAX_STREAMS} readers follow the events already.", mend="Poll /api/v1/latest.")
    stream = _stream(service, last_event_id or after)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


@router.websocket("/ws")
async def follow_events(
    socket: WebSocket,
    service: ServiceDep,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> None:
    """Follow the same events over a WebSocket: one JSON object each, with `id`, `event`, `data`.

    `after` resumes as Last-Event-ID does. What a client sends is read and dropped.
    """
    if service.load.streams >= MAX_STREAMS:
        await socket.close(1013, "too many readers")
        return
    await socket.accept()
    sending = asyncio.create_task(_send_events(service, socket, after))
    try:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def _send_events(service: Service, socket: WebSocket, last: str | None) -> None:
    feed = service.feed
    service.load.streams += 1
    try:
        await service.watcher.ready()
        position, replay = _resume(service, last)
        if last is None:
            await socket.send_text(feed.event("hello", {"resumed": False}).as_json())
        for event in replay:
            await socket.send_text(event.as_json())
        async for following in feed.follow(position):
            if following is not None:
                await socket.send_text(following.as_json())
        await socket.close(1012, "the service stops")
    except (WebSocketDisconnect, RuntimeError):  # gone while it was sent to
        return
    finally:
        service.load.streams -= 1


async def _stream(service: Service, last: str | None) -> AsyncIterator[bytes]:
    feed = service.feed
    service.load.streams += 1
    try:
        await service.watcher.ready()
        # No await between reading the position and choosing what is replayed: nothing is sent
        # twice and nothing falls between.
        position, replay = _resume(service, last)
        hello = feed.event("hello", {"resumed": last is not None})
        yield f"retry: {RETRY_MS}\n".encode() + (hello.encode() if last is None else b"\n")
        for event in replay:
            yield event.encode()
        async for following in feed.follow(position):
            yield following.encode() if following else HEARTBEAT
    finally:
        service.load.streams -= 1


def _resume(service: Service, last: str | None) -> tuple[int, Sequence[Event]]:
    feed = service.feed
    if last is None:
        return feed.sequence, ()
    resume = read_id(last)
    if resume is None:
        return feed.sequence, [_reset(feed)]
    if resume.boot == feed.boot:
        return min(resume.sequence, feed.sequence), ()
    missed = service.watcher.committed_after(resume.stamp)
    if missed is None:
        return feed.sequence, [_reset(feed)]
    return feed.sequence, missed


def _reset(feed: Feed) -> Event:
    return feed.event("reset", {"reason": "that event is unknown; read the archive"})
