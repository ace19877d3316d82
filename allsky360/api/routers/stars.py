"""Stars that were measured, and their light along time."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from allsky360.api.addresses import API
from allsky360.api.conditional import json_answer
from allsky360.api.listing import Asked
from allsky360.api.models_sky import LightCurve, StarItem, StarList
from allsky360.api.parameters import CameraQuery, EndQuery, NightDate, StartQuery
from allsky360.api.problems import BadRange, NotFound, responses
from allsky360.api.service import ServiceDep
from allsky360.api.starlight import light_curve, number
from allsky360.sky.catalogue import Catalogue, load_catalogue
from allsky360.sky.names import star_name

MAX_NIGHTS = 31

router = APIRouter(prefix="/stars", tags=["stars"])


@router.get("", response_model=StarList, responses=responses(404, 422))
def list_stars(
    request: Request,
    service: ServiceDep,
    night: Annotated[
        NightDate | None, Query(description="Left out: the newest.", examples=["2026-11-22"])
    ] = None,
    camera: CameraQuery = None,
    max_v: Annotated[float, Query(ge=-2, le=6.5, description="Faintest star listed, V.")] = 3.0,
) -> Response:
    """List the stars that have light curves in a night, brightest first."""
    slug = service.need_night(camera, night) if night else service.need_camera(camera)
    chosen = night or service.store.nights(slug)[-1]
    measured = service.store.elements(slug, chosen, "star_flux")
    stars = load_catalogue(max_v)
    known = np.isin(stars.hip, measured)
    query = f"?camera={slug}"
    items = [
        StarItem(
            **about(stars, int(i)),
            links={"light_curve": f"{API}/stars/{int(stars.hip[i])}{query}"},
        )
        for i in np.flatnonzero(known)
    ]
    return json_answer(request, StarList(camera=slug, night=chosen, stars=items))


@router.get("/{hip}", response_model=LightCurve, responses=responses(400, 404, 422))
def get_light_curve(
    request: Request,
    service: ServiceDep,
    hip: Annotated[int, Path(ge=1, le=999_999, description="Hipparcos number.", examples=[91262])],
    camera: CameraQuery = None,
    start: StartQuery = None,
    end: EndQuery = None,
    points: Annotated[int, Query(ge=20, le=20_000, description="Most instants.")] = 2000,
) -> Response:
    """Give a star's light along time: of the newest night, or between `start` and `end`.

    At most 31 nights are looked at. Where there are more instants than `points`, those of least
    and greatest flux are kept.
    """
    asked = Asked(start, end, "oldest", 1, None)
    stars = load_catalogue()
    at = np.flatnonzero(stars.hip == hip)
    if not at.size:
        raise NotFound(
            f"The catalogue has no star HIP {hip}.", mend="GET /api/v1/stars lists some."
        )
    slug = service.need_camera(camera)
    nights = service.store.nights(slug)
    chosen = [n for n in nights if asked.may_hold(n)] if start or end else nights[-1:]
    if len(chosen) > MAX_NIGHTS:
        raise BadRange(
            f"{len(chosen)} nights lie in that range.", mend=f"Ask for {MAX_NIGHTS} at most."
        )
    curve = light_curve(service, slug, chosen, hip, asked, points)
    return json_answer(
        request, LightCurve(**about(stars, int(at[0]), place=False), camera=slug, **curve)
    )


def about(stars: Catalogue, i: int, *, place: bool = True) -> dict[str, object]:
    """What the catalogue says of a star."""
    hip = int(stars.hip[i])
    found: dict[str, object] = {
        "hip": hip,
        "name": star_name(hip).label,
        "v_mag": round(float(stars.v_mag[i]), 3),
        "b_v": number(stars.bv[i], 3),
    }
    if place:
        found["ra_deg"] = round(float(stars.ra_deg[i]), 6)
        found["dec_deg"] = round(float(stars.dec_deg[i]), 6)
    return found
