"""Transients: meteors, satellites, aircraft, over any nights."""

from __future__ import annotations

import io
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from PIL import Image

from allsky360.api import listing
from allsky360.api.addresses import API, frame_id
from allsky360.api.asked import FrameDep, RevisionQuery, cache_of
from allsky360.api.conditional import (
    cache_headers,
    json_answer,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.filters import Filters
from allsky360.api.geometry import picture_map
from allsky360.api.index.search import Condition
from allsky360.api.listing import Asked
from allsky360.api.models_sky import TransientInfo, TransientPage
from allsky360.api.paging import Position, decode, encode
from allsky360.api.parameters import (
    CameraQuery,
    CursorQuery,
    EndQuery,
    StartQuery,
)
from allsky360.api.problems import NotFound, NotProcessed, Responses, responses
from allsky360.api.service import Service, ServiceDep, utc_text
from allsky360.api.store import FrameInfo
from allsky360.api.transients import COUNT, transients_of

MAX_FRAMES = 400
"""Frames whose records are opened for one page."""
LEAST_CUTOUT_PX = 96
SHOWN = (f"measurements.{COUNT}",)

router = APIRouter(tags=["transients"])

Kind = Literal["meteor", "satellite", "aircraft", "unknown"]
CUTOUT: Responses = {
    200: {
        "description": "The part of the picture around the trail",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client's copy still holds"},
}


@router.get("/transients", response_model=TransientPage, responses=responses(400, 404, 422))
def list_transients(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    kind: Annotated[Kind | None, Query(description="Only this kind.")] = None,
    magnitude_max: Annotated[
        float | None, Query(ge=-20, le=15, description="Only as bright as this or brighter.")
    ] = None,
    duration_min: Annotated[
        float | None, Query(ge=0, le=3600, description="Only as long as this, seconds.")
    ] = None,
    snr_min: Annotated[float | None, Query(ge=0, le=1e6, description="Least peak SNR.")] = None,
    order: Annotated[
        Literal["newest", "oldest"], Query(description="Which come first.")
    ] = "newest",
    limit: Annotated[int, Query(ge=1, le=200, description="Most transients on a page.")] = 50,
    cursor: CursorQuery = None,
) -> Response:
    """List transients of any nights, a page at a time; a page may hold fewer than `limit`."""
    position = decode(cursor) if cursor else None
    asked = Asked(
        start, end, order, MAX_FRAMES, position, Filters((Condition(COUNT, low=1.0),)), SHOWN
    )
    slug = service.camera(position.camera if position else camera)
    nights = service.store.nights(slug) if slug else []
    found: list[TransientInfo] = []
    at, more = position, False
    for number, frame in enumerate(listing.matching(service, slug, nights, asked) if slug else ()):
        if number == MAX_FRAMES or len(found) >= limit:
            more = True
            break
        for item in transients_of(service, frame):
            if (
                (kind is None or item.kind == kind)
                and (
                    magnitude_max is None
                    or (item.magnitude is not None and item.magnitude <= magnitude_max)
                )
                and (
                    duration_min is None
                    or (item.duration_s is not None and item.duration_s >= duration_min)
                )
                and (snr_min is None or (item.peak_snr is not None and item.peak_snr >= snr_min))
            ):
                found.append(item)
        at = Position(frame.camera, frame.night, frame.index, asked.sorting)
    here = encode(at) if at else None
    query = {
        "limit": limit,
        "start": utc_text(start) if start else None,
        "end": utc_text(end) if end else None,
        "kind": kind,
        "magnitude_max": magnitude_max,
        "duration_min": duration_min,
        "snr_min": snr_min,
        "cursor": here,
    }
    given = urlencode({k: v for k, v in query.items() if v is not None})
    following = f"{API}/transients?{given}" if more else None
    return json_answer(
        request,
        TransientPage(
            camera=slug,
            transients=found,
            cursor=here,
            links={"self": listing.self_address(request), "next": following},
        ),
        headers=listing.link_header(following),
    )


@router.get(
    "/frames/{night}/{index}/transients/{transient}/cutout",
    response_class=Response,
    responses=CUTOUT | responses(404, 422, 503),
)
async def get_cutout(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    transient: Annotated[str, Path(min_length=1, max_length=100, description="Its id.")],
    size: Annotated[int, Query(ge=64, le=1024, description="Longest side in pixels.")] = 320,
    revision: RevisionQuery = None,
) -> Response:
    """Cut a transient's surroundings out of the picture."""
    frame = await service.light(lambda: where.of(service))
    key = ("cutout", frame.camera, frame_id(frame), frame.revision, transient, size)
    etag = make_etag(*key)
    headers = cache_headers(etag, None, cache_of(frame, revision))
    if frame.processed and unchanged(request, etag, None):
        return not_modified(headers)
    data = await service.drawn(key, lambda: _cutout(service, frame, transient, size))
    return Response(data, media_type="image/jpeg", headers=headers)


def _cutout(service: Service, frame: FrameInfo, wanted: str, size: int) -> bytes:
    found = next((t for t in transients_of(service, frame) if t.id == wanted), None)
    if found is None:
        raise NotFound(f"Frame {frame_id(frame)} has no transient {wanted!r}.")
    path = service.store.picture(frame)
    if path is None:
        raise NotProcessed(f"Frame {frame_id(frame)} has no picture yet.")
    move = picture_map(service, frame)
    (x0, y0), (x1, y1) = move(found.start.x, found.start.y), move(found.end.x, found.end.y)
    half = max(LEAST_CUTOUT_PX / 2, 0.75 * max(abs(x1 - x0), abs(y1 - y0)))
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    with Image.open(path) as picture:
        box = (
            max(0, round(cx - half)),
            max(0, round(cy - half)),
            min(picture.width, round(cx + half)),
            min(picture.height, round(cy + half)),
        )
        if box[0] >= box[2] or box[1] >= box[3]:
            raise NotFound(f"The transient {wanted!r} lies outside the picture.")
        part = picture.convert("RGB").crop(box)
    part.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    part.save(out, "JPEG", quality=90)
    return out.getvalue()
