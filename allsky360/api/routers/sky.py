"""What a frame shows of the sky: overlay, pixel read-out, stars, maps, and how it was processed."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from allsky360.api.addresses import frame_address, frame_id
from allsky360.api.asked import AskedFrame, FrameDep, RevisionQuery, cache_of
from allsky360.api.conditional import (
    cache_headers,
    json_answer,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.geometry import view_of
from allsky360.api.maps import MAPS, MapName, draw_map, map_of, maps_of
from allsky360.api.models_sky import FrameMaps, FrameStars, MapItem, PixelInfo, SkyMap
from allsky360.api.overlays import Kind, LayersQuery, options_of, scene_of
from allsky360.api.parameters import (
    MAX_WIDTH,
    HeightQuery,
    WidthQuery,
)
from allsky360.api.pictures import Wanted, picture_size
from allsky360.api.pixels import pixel_info
from allsky360.api.problems import NotProcessed, Responses, responses
from allsky360.api.service import Service, ServiceDep
from allsky360.api.starlight import frame_stars
from allsky360.api.store import FrameInfo
from allsky360.overlay.draw import to_png
from allsky360.overlay.svg import to_svg

router = APIRouter(prefix="/frames", tags=["sky"])


def _binary(media_type: str, what: str) -> Responses:
    schema = {"type": "string"} if media_type.endswith("xml") else _BINARY
    return {
        200: {"description": what, "content": {media_type: {"schema": schema}}},
        304: {"description": "The client's copy still holds"},
    }


_BINARY = {"type": "string", "format": "binary"}


@router.get(
    "/{night}/{index}/overlay.svg",
    response_class=Response,
    responses=_binary("image/svg+xml", "The overlay") | responses(404, 422, 503),
)
async def get_overlay_svg(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    layers: LayersQuery = None,
    width: WidthQuery = None,
    height: HeightQuery = None,
    revision: RevisionQuery = None,
) -> Response:
    """Draw names, figures and grids as SVG of the picture's size; one group a kind."""
    box = Wanted(width, height, layers=layers)
    return await _overlay(request, service, where, box, revision, "svg")


@router.get(
    "/{night}/{index}/overlay.png",
    response_class=Response,
    responses=_binary("image/png", "The overlay") | responses(404, 422, 503),
)
async def get_overlay_png(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    layers: LayersQuery = None,
    width: WidthQuery = None,
    height: HeightQuery = None,
    revision: RevisionQuery = None,
) -> Response:
    """Draw names, figures and grids as a transparent PNG of the picture's size."""
    box = Wanted(width, height, layers=layers)
    return await _overlay(request, service, where, box, revision, "png")


async def _overlay(
    request: Request,
    service: Service,
    where: AskedFrame,
    box: Wanted,
    revision: str | None,
    kind: Kind,
) -> Response:
    frame = await service.light(lambda: where.of(service))
    key = ("overlay", kind, frame.camera, frame_id(frame), frame.revision, box, service.exact)
    etag = make_etag(*key, service.settings.overlay, weak=True)
    headers = cache_headers(etag, None, cache_of(frame, revision))
    if frame.processed and unchanged(request, etag, None):
        return not_modified(headers)
    data = await service.drawn(key, lambda: _drawn(service, frame, box, kind))
    media_type = "image/svg+xml" if kind == "svg" else "image/png"
    return Response(data, media_type=media_type, headers=headers)


def _drawn(service: Service, frame: FrameInfo, box: Wanted, kind: Kind) -> bytes:
    view = view_of(service, frame)
    size = box.size_of(*stored_size(service, frame))
    scene = scene_of(view, frame, options_of(service.settings.overlay, box.layers), *size)
    return to_svg(scene).encode() if kind == "svg" else to_png(scene)


def stored_size(service: Service, frame: FrameInfo) -> tuple[int, int]:
    """Width and height of a frame's stored picture."""
    path = service.store.picture(frame)
    if path is None:
        raise NotProcessed(f"Frame {frame_id(frame)} has no picture yet.")
    return picture_size(path)


@router.get("/{night}/{index}/pixel", response_model=PixelInfo, responses=responses(404, 422))
def get_pixel(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    x: Annotated[float, Query(ge=0, le=MAX_WIDTH * 4, description="Column, from the left edge.")],
    y: Annotated[float, Query(ge=0, le=MAX_WIDTH * 4, description="Row, from the top edge.")],
    width: WidthQuery = None,
    height: HeightQuery = None,
) -> Response:
    """Say what a pixel looks at: direction, coordinates, sky brightness, cloud.

    `x` and `y` count from the picture's top left corner, in the picture as scaled by `width` and
    `height` (as the picture itself is); the centre of the first pixel is at 0.5, 0.5.
    """
    frame = where.of(service)
    view = view_of(service, frame)
    size = Wanted(width, height).size_of(*stored_size(service, frame))
    return json_answer(request, pixel_info(service, frame, view, x, y, size))


@router.get("/{night}/{index}/stars", response_model=FrameStars, responses=responses(404, 422))
def list_stars_of_frame(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    max_v: Annotated[float, Query(ge=-2, le=6.5, description="Faintest star listed, V.")] = 4.0,
) -> Response:
    """List catalogue stars: where the lens puts them, and what was measured of them."""
    frame = where.of(service)
    return json_answer(request, frame_stars(service, frame, max_v))


@router.get("/{night}/{index}/maps", response_model=FrameMaps, responses=responses(404, 422))
def list_maps(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
) -> Response:
    """List the sky maps of a frame."""
    frame = where.of(service)
    found = [
        MapItem(
            name=name,
            variable=MAPS[name].variable,
            units=str(row.attributes.get("units", "1")),
            long_name=str(row.attributes.get("long_name", name)),
            links={
                "self": frame_address(frame, f"/maps/{name}", revision=frame.revision),
                "picture": frame_address(frame, f"/maps/{name}.png", revision=frame.revision),
            },
        )
        for name, row in maps_of(service, frame)
    ]
    return json_answer(request, FrameMaps(id=frame_id(frame), maps=found))


@router.get(
    "/{night}/{index}/maps/{name}.png",
    response_class=Response,
    responses=_binary("image/png", "The map") | responses(404, 422, 503),
)
async def get_map_picture(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    name: MapName,
    size: Annotated[int, Query(ge=64, le=1024, description="Side in pixels.")] = 480,
    revision: RevisionQuery = None,
) -> Response:
    """Draw a map as the sky seen from below: zenith in the middle, north up, east left."""
    frame = await service.light(lambda: where.of(service))
    key = ("map", name, size, frame.camera, frame_id(frame), frame.revision)
    etag = make_etag(*key)
    headers = cache_headers(etag, None, cache_of(frame, revision))
    if frame.processed and unchanged(request, etag, None):
        return not_modified(headers)
    data = await service.drawn(
        key, lambda: draw_map(map_of(service, frame, name), MAPS[name], size)
    )
    return Response(data, media_type="image/png", headers=headers)


@router.get("/{night}/{index}/maps/{name}", response_model=SkyMap, responses=responses(404, 422))
def get_map(
    request: Request,
    service: ServiceDep,
    where: FrameDep,
    name: MapName,
    revision: RevisionQuery = None,
) -> Response:
    """Give a map as numbers: one value a sky cell, with the cells' centres."""
    frame = where.of(service)
    row = map_of(service, frame, name)
    at = row.coordinates
    body = SkyMap(
        id=frame_id(frame),
        camera=frame.camera,
        time=frame.time,
        name=name,
        units=str(row.attributes.get("units", "1")),
        long_name=str(row.attributes.get("long_name", name)),
        altitude_deg=np.round(at["cell_altitude_deg"], 4).tolist(),
        azimuth_deg=np.round(at["cell_azimuth_deg"], 4).tolist(),
        solid_angle_sr=np.round(at["cell_solid_angle_sr"], 7).tolist(),
        values=[round(float(v), 5) if np.isfinite(v) else None for v in row.values],
    )
    cache = cache_of(frame, revision)
    return json_answer(request, body, cache=cache)
