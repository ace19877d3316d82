"""Nights, and the frames and measurements of one night."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from allsky360.api import listing
from allsky360.api.addresses import API, night_address
from allsky360.api.conditional import json_answer
from allsky360.api.filters import FiltersDep
from allsky360.api.index.thin import Part, thinned
from allsky360.api.models import FramePage, NightDetail, NightItem, NightPage, PageLinks, Series
from allsky360.api.paging import Order, Position, decode, encode
from allsky360.api.parameters import (
    DEFAULT_PAGE,
    CameraQuery,
    CursorQuery,
    EndQuery,
    FieldsQuery,
    LimitQuery,
    NightDate,
    NightPath,
    StartQuery,
    split_list,
)
from allsky360.api.problems import BadRange, responses
from allsky360.api.quality import quality_of
from allsky360.api.series import night_series, shown, wanted_names
from allsky360.api.service import ServiceDep
from allsky360.archive.layout import night_folder
from allsky360.archive.removed import is_favourite, removed

router = APIRouter(prefix="/nights", tags=["nights"])


def _links(night: date, camera: str) -> dict[str, str]:
    return {
        "self": night_address(night, camera),
        "frames": night_address(night, camera, "/frames"),
        "series": night_address(night, camera, "/series"),
        "products": night_address(night, camera, "/products"),
        "times": f"{API}/ephemeris/nights/{night}",
    }


@router.get("", response_model=NightPage, responses=responses(400, 404, 422))
def list_nights(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    start: Annotated[
        NightDate | None, Query(description="First night.", examples=["2026-11-01"])
    ] = None,
    end: Annotated[NightDate | None, Query(description="Night after the last.")] = None,
    limit: LimitQuery = DEFAULT_PAGE,
    cursor: CursorQuery = None,
) -> Response:
    """List the nights of a camera, newest first, with what each was like."""
    if start and end and end <= start:
        raise BadRange("end does not come after start.", mend="Swap them; end is exclusive.")
    position = decode(cursor) if cursor else None
    slug = service.camera(position.camera if position else camera)
    nights = sorted(service.store.nights(slug), reverse=True) if slug else []
    rest = [
        n
        for n in nights
        if (position is None or n < position.night)
        and (start is None or n >= start)
        and (end is None or n < end)
    ]
    page = rest[:limit]
    at = position
    if page and slug:
        at = Position(slug, page[-1], -1, "newest")
    here = encode(at) if at else None
    bounds = "".join(f"&{k}={v}" for k, v in (("start", start), ("end", end)) if v)
    more = f"{API}/nights?limit={limit}{bounds}&cursor={here}" if len(rest) > limit else None
    known = {n.night: n for n in service.store.each(slug, page)} if slug else {}
    return json_answer(
        request,
        NightPage(
            camera=slug,
            nights=[
                NightItem(
                    night=n,
                    camera=slug,
                    quality=quality_of(service, known[n]) if n in known else None,
                    links=_links(n, slug),
                )
                for n in page
            ]
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
    numbers = service.need_numbers(slug, night)
    quality = quality_of(service, numbers)
    folder = night_folder(service.store.root, slug, night)
    return json_answer(
        request,
        NightDetail(
            night=night,
            camera=slug,
            begins=service.site.noon_utc(night) if service.site else None,
            quality=quality,
            frames=quality.frames,
            processed=quality.processed,
            first_frame=quality.first_frame,
            last_frame=quality.last_frame,
            variables=sorted(n for n in numbers.names if numbers.extent(n).count),
            favourite=is_favourite(folder),
            removed=sorted(removed(folder)),
            links=_links(night, slug),
        ),
    )


@router.get("/{night}/frames", response_model=FramePage, responses=responses(400, 404, 422))
def list_frames_of_night(
    request: Request,
    service: ServiceDep,
    filters: FiltersDep,
    night: NightPath,
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    order: Annotated[Order, Query(description="Which frames come first.")] = "oldest",
    limit: LimitQuery = DEFAULT_PAGE,
    cursor: CursorQuery = None,
    fields: FieldsQuery = None,
) -> Response:
    """List the frames of one night, a page at a time."""
    position = decode(cursor) if cursor else None
    slug = service.need_night(position.camera if position else camera, night)
    chosen = None if fields is None else split_list(fields)
    asked = listing.Asked(start, end, order, limit, position, filters, chosen)
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
    names = wanted_names(variables)
    found = thinned([Part(service.need_numbers(slug, night), None)], names, points)
    return json_answer(request, night_series(slug, night, shown(service, found)))
