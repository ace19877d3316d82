"""Measurements along time over any nights, and which measurements there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from allsky360.api.conditional import (
    LIVE,
    cache_headers,
    json_answer,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.index.night import NightIndex
from allsky360.api.index.thin import Table, parts_between, thinned
from allsky360.api.listing import Asked
from allsky360.api.models_system import SeriesTable, VariableInfo, VariableList
from allsky360.api.parameters import CameraQuery, EndQuery, StartQuery
from allsky360.api.problems import BadRange, Responses, responses
from allsky360.api.series import (
    MEDIA_TYPES,
    SeriesFormat,
    series_table,
    shown,
    wanted_names,
    written,
)
from allsky360.api.service import Service, ServiceDep

MAX_JSON_POINTS, MAX_POINTS = 20_000, 500_000

router = APIRouter(tags=["series"])

TABLE: Responses = {
    200: {
        "description": "The measurements",
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for name, media_type in MEDIA_TYPES.items()
            if name != "json"
        },
    },
    304: {"description": "The client's copy still holds"},
}


@router.get("/series", response_model=SeriesTable, responses=TABLE | responses(400, 404, 422, 503))
async def get_series(
    request: Request,
    service: ServiceDep,
    variables: Annotated[
        str,
        Query(
            min_length=1,
            max_length=500,
            description="Names of measurements, comma-separated, at most 8; `exposure_s` too.",
            examples=["sky_brightness_mag_arcsec2,cloud_fraction"],
        ),
    ],
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    points: Annotated[
        int,
        Query(
            ge=20,
            le=MAX_POINTS,
            description=f"Most instants; extremes are kept. JSON gives {MAX_JSON_POINTS} at most.",
        ),
    ] = 2000,
    format: Annotated[SeriesFormat, Query(description="How they are written.")] = "json",
) -> Response:
    """Give measurements along time over any nights, thinned so that no extreme is lost."""
    names = wanted_names(variables)
    if format == "json" and points > MAX_JSON_POINTS:
        raise BadRange(
            f"JSON gives {MAX_JSON_POINTS} points at most.", mend="Take csv, arrow or parquet."
        )
    asked = Asked(start, end, "oldest", 1, None)
    slug, table = await service.heavy(lambda: _table(service, camera, asked, names, points))
    if format == "json":
        body = await service.heavy(lambda: series_table(slug, start, end, table))
        return json_answer(request, body)
    data = await service.heavy(lambda: written(table, format))
    etag = make_etag(data, weak=True)
    headers = cache_headers(etag, None, LIVE)
    if unchanged(request, etag, None):
        return not_modified(headers)
    name = f"{slug or 'series'}.{format}"
    headers["content-disposition"] = f'attachment; filename="{name}"'
    return Response(data, media_type=MEDIA_TYPES[format], headers=headers)


def _table(
    service: Service, camera: str | None, asked: Asked, names: tuple[str, ...], points: int
) -> tuple[str | None, Table]:
    slug = service.camera(camera)
    nights: list[NightIndex] = []
    if slug is not None:
        chosen = [n for n in service.store.nights(slug) if asked.may_hold(n)]
        nights = list(service.store.each(slug, chosen))
    return slug, shown(
        service, thinned(parts_between(nights, asked.start, asked.end), names, points)
    )


@router.get("/variables", response_model=VariableList, responses=responses(400, 404, 422))
def list_variables(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    ranges: Annotated[
        bool, Query(description="Also find least, greatest and count: reads every column.")
    ] = False,
) -> Response:
    """List the measurements there are, with unit and meaning."""
    asked = Asked(start, end, "oldest", 1, None)
    slug = service.camera(camera)
    chosen = [n for n in service.store.nights(slug) if asked.may_hold(n)] if slug else []
    nights = list(service.store.each(slug, chosen)) if slug else []
    found = [
        _variable(name, nights, ranges)
        for name in sorted(frozenset().union(*(n.names for n in nights)) | {"exposure_s"})
        if nights
    ]
    return json_answer(request, VariableList(camera=slug, variables=found))


def _variable(name: str, nights: list[NightIndex], ranges: bool) -> VariableInfo:
    given = next((a for n in reversed(nights) if (a := n.view.attributes(name))), {})
    having = [n for n in nights if name in n.names or name == "exposure_s"]
    extents = [e for n in having if (e := n.extent(name)).count] if ranges else []
    sigma = str(given.get("ancillary_variables", "")).split(" ")[0] or None
    return VariableInfo(
        name=name,
        units=str(given.get("units", "s" if name == "exposure_s" else "")),
        long_name=str(given.get("long_name", name.replace("_", " "))),
        sigma=sigma,
        minimum=min((e.low for e in extents), default=None),
        maximum=max((e.high for e in extents), default=None),
        frames=sum(e.count for e in extents) if ranges else None,
    )
