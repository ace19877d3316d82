"""Frames: by time range, one frame, its picture at any size, its raw exposures as FITS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from allsky360 import __version__
from allsky360.api import fits, listing
from allsky360.api.addresses import frame_id
from allsky360.api.asked import FrameDep, RevisionQuery, cache_of
from allsky360.api.conditional import (
    IMMUTABLE,
    cache_headers,
    json_answer,
    json_list,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.filters import FiltersDep
from allsky360.api.fits import FitsFile, fits_file
from allsky360.api.geometry import view_of
from allsky360.api.middleware import HEAD_KEY
from allsky360.api.models import ExposureInfo, FrameDetail, FramePage
from allsky360.api.overlays import BurnQuery, options_of, scene_of
from allsky360.api.paging import Order, decode
from allsky360.api.parameters import (
    DEFAULT_PAGE,
    CameraQuery,
    CursorQuery,
    EndQuery,
    FieldsQuery,
    FormatQuery,
    HeightQuery,
    LimitQuery,
    QualityQuery,
    StartQuery,
    WidthQuery,
    split_list,
)
from allsky360.api.pictures import DEFAULT_QUALITY, Wanted, made_picture, negotiate
from allsky360.api.problems import NotFound, NotProcessed, PictureRemoved, Responses, responses
from allsky360.api.security.privacy import without_exif
from allsky360.api.service import Service, ServiceDep
from allsky360.api.store import FrameInfo
from allsky360.api.view import exposures_of, frame_detail
from allsky360.imaging.encode import SUFFIXES
from allsky360.model import MAX_EXPOSURES_PER_BRACKET, Exposure

DOWNLOAD_LIMIT_S = 900.0

router = APIRouter(prefix="/frames", tags=["frames"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURE: Responses = {
    200: {
        "description": "The picture",
        "content": {f"image/{name}": _BINARY for name in SUFFIXES},
    },
    304: {"description": "The client's copy still holds"},
}
FITS: Responses = {
    200: {
        "description": "The exposure",
        "content": {fits.MEDIA_TYPE: _BINARY},
    },
    304: {"description": "The client's copy still holds"},
}


async def asked_picture(
    request: Request,
    width: WidthQuery = None,
    height: HeightQuery = None,
    quality: QualityQuery = DEFAULT_QUALITY,
    format: FormatQuery = None,
    overlay: BurnQuery = None,
) -> Wanted:
    """Collect how a picture was asked for."""
    chosen = negotiate(request.headers.get("accept"), format)
    return Wanted(width, height, chosen, quality, overlay)


PictureDep = Annotated[Wanted, Depends(asked_picture)]


@router.get("", response_model=FramePage, responses=responses(400, 404, 422))
def list_frames(
    request: Request,
    service: ServiceDep,
    filters: FiltersDep,
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    order: Annotated[Order, Query(description="Which frames come first.")] = "oldest",
    limit: LimitQuery = DEFAULT_PAGE,
    cursor: CursorQuery = None,
    fields: FieldsQuery = None,
) -> Response:
    """Search the frames of all nights, a page at a time."""
    position = decode(cursor) if cursor else None
    chosen = None if fields is None else split_list(fields)
    asked = listing.Asked(start, end, order, limit, position, filters, chosen)
    slug = service.camera(position.camera if position else camera)
    if slug is None:
        return json_answer(request, listing.empty_page(request))
    return listing.answer(request, service, slug, service.store.nights(slug), asked)


@router.get("/{night}/{index}", response_model=FrameDetail, responses=responses(404, 422))
def get_frame(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
) -> Response:
    """Give everything that is known about one frame."""
    frame = where.of(service)
    return json_answer(request, frame_detail(service, frame))


@router.get(
    "/{night}/{index}/exposures", response_model=list[ExposureInfo], responses=responses(404, 422)
)
def list_exposures(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
) -> Response:
    """List the exposures of a frame, longest first."""
    frame = where.of(service)
    return json_list(request, exposures_of(frame))


@router.get(
    "/{night}/{index}/picture",
    response_class=Response,
    responses=PICTURE | responses(404, 406, 410, 422, 503),
)
async def get_picture(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    asked: PictureDep,
    revision: RevisionQuery = None,
) -> Response:
    """Give the picture of a frame: as stored, or in another size or format, or with an overlay."""
    frame = await service.light(lambda: where.of(service))
    cache = cache_of(frame, revision)
    return await picture_answer(request, service, frame, asked, cache)


async def picture_answer(
    request: Request, service: Service, frame: FrameInfo, asked: Wanted, cache: str
) -> Response:
    """Answer a frame's picture with its validators."""
    path = service.store.picture(frame)
    if path is None and frame.processed:
        raise PictureRemoved(
            f"The picture of frame {frame_id(frame)} is no longer there.",
            mend="Its measurements are kept; while raw images are, it can be processed again.",
        )
    if path is None:
        raise NotProcessed(
            f"Frame {frame_id(frame)} has no picture yet.",
            mend="Its raw exposures are stored; the picture follows when it is processed.",
        )
    how = None if asked.as_stored else asked
    key = (frame.camera, frame_id(frame), frame.revision, how, service.exact)
    etag = make_etag(*key)
    modified = datetime.fromtimestamp(frame.stamp / 1e9, UTC)
    headers = cache_headers(etag, modified, cache) | {"vary": "Accept"}
    headers["x-frame-id"] = frame_id(frame)
    if unchanged(request, etag, modified):
        return not_modified(headers)
    media_type, suffix = f"image/{asked.format}", SUFFIXES[asked.format]
    name = f"{frame.camera}_{frame.night}_{frame.index:06d}.{suffix}"
    headers["content-disposition"] = f'inline; filename="{name}"'
    if asked.as_stored and service.exact:
        return FileResponse(path, media_type=media_type, headers=headers)
    data = await service.drawn(key, lambda: _made(service, frame, path, asked))
    return Response(data, media_type=media_type, headers=headers)


def _made(service: Service, frame: FrameInfo, path: Path, asked: Wanted) -> bytes:
    if asked.as_stored:
        return without_exif(path.read_bytes())
    scene = None
    if asked.layers is not None:
        view = view_of(service, frame)
        options = options_of(service.settings.overlay, asked.layers)
        scene = partial(scene_of, view, frame, options)
    return made_picture(path.read_bytes(), asked, scene)


@router.get(
    "/{night}/{index}/raw.fits",
    response_class=Response,
    responses=FITS | responses(404, 410, 422, 503),
)
async def get_raw(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    exposure: Annotated[
        int, Query(ge=0, lt=MAX_EXPOSURES_PER_BRACKET, description="Which one, longest first.")
    ] = 0,
) -> Response:
    """Give one raw exposure as FITS, pixel by pixel as the camera delivered it."""
    frame = await service.light(lambda: where.of(service))
    if exposure >= len(frame.exposures_s):
        raise NotFound(
            f"Frame {frame_id(frame)} has {len(frame.exposures_s)} exposures; there is no number "
            f"{exposure}.",
            mend="They are counted from 0.",
        )
    etag = make_etag(
        "raw", frame.camera, frame_id(frame), exposure, frame.time, __version__, service.site
    )
    name = f"{frame.camera}_{frame.night}_{frame.index:06d}_{exposure}.fits"
    headers = cache_headers(etag, frame.time, IMMUTABLE) | {
        "content-disposition": f'attachment; filename="{name}"'
    }
    if unchanged(request, etag, frame.time):
        return not_modified(headers)
    service.begin_download()
    try:
        file = await service.heavy(lambda: _fits(service, frame, exposure))
    except BaseException:
        service.end_download()
        raise
    headers["content-length"] = str(file.size)
    if request.scope.get(HEAD_KEY):
        service.end_download()
        return Response(media_type=fits.MEDIA_TYPE, headers=headers)
    return Download(file, service.end_download, headers)


def _fits(service: Service, frame: FrameInfo, number: int) -> FitsFile:
    exposure: Exposure = service.store.bracket(frame).exposures[number]
    extra = (
        ("NIGHT", frame.night.isoformat(), "date of the night's first local noon"),
        ("FRAMEIDX", frame.index, "number of the frame in its night"),
        ("EXPIDX", number, "number of the exposure in its bracket"),
        ("NEXP", len(frame.exposures_s), "exposures in the bracket"),
    )
    return fits_file(exposure, service.site, extra=extra)


class Download(StreamingResponse):
    """A FITS file on its way; ``done`` is called however the transfer ends."""

    def __init__(self, file: FitsFile, done: Callable[[], None], headers: dict[str, str]) -> None:
        super().__init__(_each(file), media_type=fits.MEDIA_TYPE, headers=headers)
        self.done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a reader that takes longer than the limit is cut off."""
        try:
            async with asyncio.timeout(DOWNLOAD_LIMIT_S):
                await super().__call__(scope, receive, send)
        finally:
            self.done()


async def _each(file: FitsFile) -> AsyncIterator[bytes]:
    for chunk in file.chunks():
        yield chunk
