"""Server-sent events: new frames and changes of state, resumable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from allsky360.api.feed import HEARTBEAT, Event, Feed, read_id
from allsky360.api.middleware import HEAD_KEY
from allsky360.api.problems import Busy, Responses, responses
from allsky360.api.service import Service, ServiceDep

router = APIRouter(prefix="/events", tags=["events"])

MAX_STREAMS = 500
RETRY_MS = 2000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_EXAMPLE = (
    "id: 18a2c-7-1763766123000000000\nevent: frame\n"
    'data: {"id":"2026-11-22/000017","camera":"zwo-asi294mc",'
    '"href":"/api/v1/frames/2026-11-22/000017?camera=zwo-asi294mc"}\n\n'
)


STREAM: Responses = {
    200: {
        "description": "`hello` first, then `frame` (a frame was processed), `state` (the "
        "camera's condition changed) and `reset` (events were missed: read the archive).",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
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
    if service.streams >= MAX_STREAMS:
        raise Busy(f"{MAX_STREAMS} readers follow the events already.", mend="Poll /api/v1/latest.")
    stream = _stream(service, last_event_id or after)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


async def _stream(service: Service, last: str | None) -> AsyncIterator[bytes]:
    feed = service.feed
    service.streams += 1
    try:
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
        service.streams -= 1


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
