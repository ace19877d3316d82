"""The entrance and the cameras."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from allsky360 import __version__
from allsky360.api.addresses import API
from allsky360.api.conditional import json_answer
from allsky360.api.models import Camera, Cameras, Index
from allsky360.api.service import ServiceDep
from allsky360.api.view import site_info

router = APIRouter(tags=["index"])

NAMES = (
    *("site", "cameras", "nights", "frames", "latest", "series", "variables", "stars"),
    *("transients", "products", "ephemeris", "lens", "safety", "status", "system", "storage"),
    *("configuration", "events", "health", "openapi.json"),
)


@router.get(API, response_model=Index)
def get_index(request: Request, service: ServiceDep) -> Response:
    """Say what is here and where."""
    links = {name.removesuffix(".json"): f"{API}/{name}" for name in NAMES}
    return json_answer(
        request, Index(version=__version__, site=site_info(service.site), links=links)
    )


@router.get(f"{API}/cameras", response_model=Cameras)
def list_cameras(request: Request, service: ServiceDep) -> Response:
    """List the cameras of the archive."""
    cameras = []
    for slug in service.store.cameras():
        query = f"?camera={quote(slug, safe='')}"
        links = {"nights": f"{API}/nights{query}", "latest": f"{API}/latest{query}"}
        nights = len(service.store.nights(slug))
        cameras.append(Camera(slug=slug, nights=nights, links=links))
    return json_answer(request, Cameras(cameras=cameras))
