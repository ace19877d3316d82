"""Nights, and the frames and measurements of one night."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from allsky360.api import listing
from allsky360.api.addresses import API, night_address
from allsky360.api.conditional import json_answer
from allsky360.api.models import FramePage, NightDetail, NightItem, NightPage, PageLinks, Series
from allsky360.api.paging import Order, Position, decode, encode
from allsky360.api.parameters import (
    DEFAULT_PAGE,
    CameraQuery,
    CursorQuery,
    EndQuery,
    LimitQuery,
    NightPath,
    StartQuery,
)
from allsky360.api.problems import BadRange, responses
from allsky360.api.series import MAX_VARIABLES, night_series
from allsky360.api.service import ServiceDep

router = APIRouter(prefix="/nights", tags=["nights"])


def _links(night: date, camera: str) -> dict[str, str]:
    return {
        "self": night_address(night, camera),
        "frames": night_address(night, camera, "/frames"),
        "series": night_address(night, camera, "/series"),
    }


@router.get("", response_model=NightPage, responses=responses(400, 404, 422))
def list_nights(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    limit: LimitQuery = DEFAULT_PAGE,
    cursor: CursorQuery = None,
) -> Response:
    """List the nights of a camera, newest first."""
    position = decode(cursor) if cursor else None
    slug = service.camera(position.camera if position else camera)
    nights = sorted(service.store.nights(slug), reverse=True) if slug else []
    rest = [n for n in nights if position is None or n < position.night]
    page = rest[:limit]
    at = position
    if page and slug:
        at = Position(slug, page[-1], -1, "newest")
    here = encode(at) if at else None
    more = f"{API}/nights?limit={limit}&cursor={here}" if len(rest) > limit else None
    return json_answer(
        request,
        NightPage(
            camera=slug,
            nights=[NightItem(night=n, camera=slug, links=_links(n, slug)) for n in page]
            if slug
            else [],
            cursor=here,
            links=PageLinks(self=listing.self_address(request), next=more),
        ),
        headers=listing.link_header(more),
    )


@router.get("/{night}", response_model=NightDetail, responses=responses(404, 422))
def get_night(
    request: Request, service: ServiceDep, night: NightPath, camera: CameraQuery = None
) -> Response:
    """Say how many frames a night has, and from when to when."""
    slug = service.need_night(camera, night)
    frames = service.store.frames(slug, night)
    names: set[str] = set()
    for frame in frames:
        names.update(frame.scalars)
    return json_answer(
        request,
        NightDetail(
            night=night,
            camera=slug,
            begins=service.site.noon_utc(night) if service.site else None,
            frames=len(frames),
            processed=sum(f.processed for f in frames),
            first_frame=min((f.time for f in frames), default=None),
            last_frame=max((f.time for f in frames), default=None),
            variables=sorted(names),
            links=_links(night, slug),
        ),
    )


@router.get("/{night}/frames", response_model=FramePage, responses=responses(400, 404, 422))
def list_frames_of_night(
    request: Request,
    service: ServiceDep,
    night: NightPath,
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    order: Annotated[Order, Query(description="Which frames come first.")] = "oldest",
    limit: LimitQuery = DEFAULT_PAGE,
    cursor: CursorQuery = None,
) -> Response:
    """List the frames of one night, a page at a time."""
    position = decode(cursor) if cursor else None
    slug = service.need_night(position.camera if position else camera, night)
    asked = listing.Asked(start, end, order, limit, position)
    return listing.answer(request, service, slug, [night], asked)


@router.get("/{night}/series", response_model=Series, responses=responses(400, 404, 422))
def get_series(
    request: Request,
    service: ServiceDep,
    night: NightPath,
    camera: CameraQuery = None,
    variables: Annotated[
        str,
        Query(
            max_length=500,
            description="Names of measurements, comma-separated; `exposure_s` and `gain` too.",
            examples=["level,exposure_s"],
        ),
    ] = "exposure_s",
    points: Annotated[
        int, Query(ge=20, le=5000, description="Most instants; extremes are kept.")
    ] = 500,
) -> Response:
    """Give measurements of a night along time, thinned so that no extreme is lost."""
    slug = service.need_night(camera, night)
    names = tuple(dict.fromkeys(n.strip() for n in variables.split(",") if n.strip()))
    if len(names) > MAX_VARIABLES:
        raise BadRange(
            f"{len(names)} variables were asked for.", mend=f"Ask for {MAX_VARIABLES} at a time."
        )
    frames = service.store.frames(slug, night)
    return json_answer(request, night_series(slug, night, frames, names, points))
