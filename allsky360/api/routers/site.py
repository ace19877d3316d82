"""The site, and one camera."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response

from allsky360.api.addresses import API
from allsky360.api.conditional import json_answer
from allsky360.api.models import CameraDetail, SiteInfo
from allsky360.api.problems import responses
from allsky360.api.service import ServiceDep
from allsky360.api.view import site_info

router = APIRouter(tags=["index"])

CameraPath = Annotated[
    str,
    Path(min_length=1, max_length=120, description="Name or slug.", examples=["zwo-asi294mc"]),
]


@router.get("/site", response_model=SiteInfo, responses=responses(404))
def get_site(request: Request, service: ServiceDep) -> Response:
    """Say where the camera stands."""
    service.need_site()
    found = site_info(service.site)
    assert found is not None
    return json_answer(request, found)


@router.get("/cameras/{camera}", response_model=CameraDetail, responses=responses(404, 422))
def get_camera(request: Request, service: ServiceDep, camera: CameraPath) -> Response:
    """Say what one camera has: its nights and its newest frame."""
    slug = service.need_camera(camera)
    nights: list[date] = service.store.nights(slug)
    newest = service.store.newest(slug)
    query = f"?camera={quote(slug, safe='')}"
    return json_answer(
        request,
        CameraDetail(
            slug=slug,
            device=service.store.device(slug, nights[-1]) if nights else slug,
            nights=len(nights),
            first_night=nights[0] if nights else None,
            last_night=nights[-1] if nights else None,
            newest_frame=newest.ref.id if newest else None,
            links={
                "nights": f"{API}/nights{query}",
                "latest": f"{API}/latest{query}",
                "variables": f"{API}/variables{query}",
                "lens": f"{API}/lens{query}",
            },
        ),
    )
