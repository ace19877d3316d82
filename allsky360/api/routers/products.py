"""Products: keograms, star trails, videos, reports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from allsky360.api import listing
from allsky360.api.addresses import API
from allsky360.api.conditional import (
    LIVE,
    cache_headers,
    json_answer,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.models import PageLinks
from allsky360.api.models_system import ProductInfo, ProductList, ProductPage
from allsky360.api.paging import Position, decode, encode
from allsky360.api.parameters import CameraQuery, CursorQuery, NightPath
from allsky360.api.problems import Responses, responses
from allsky360.api.products import NAME, need_file, need_product, product_info, products_of
from allsky360.api.service import ServiceDep

router = APIRouter(tags=["products"])

NamePath = Annotated[
    str, Path(max_length=63, pattern=f"^{NAME}$", examples=["keogram"], description="Name.")
]
FILE: Responses = {
    200: {
        "description": "The file",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "video/mp4", "application/octet-stream", "*/*")
        },
    },
    206: {"description": "The part of the file that `Range` names"},
    304: {"description": "The client's copy still holds"},
}


@router.get("/products", response_model=ProductPage, responses=responses(400, 404, 422))
def list_products(
    request: Request,
    service: ServiceDep,
    camera: CameraQuery = None,
    kind: Annotated[
        str | None, Query(max_length=63, description="Only this kind.", examples=["keogram"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=365, description="Nights looked at for one page.")] = 30,
    cursor: CursorQuery = None,
) -> Response:
    """List products over nights, newest night first; `limit` counts nights."""
    position = decode(cursor) if cursor else None
    slug = service.camera(position.camera if position else camera)
    nights = list(reversed(service.store.nights(slug))) if slug else []
    rest = [n for n in nights if position is None or n < position.night]
    page = rest[:limit]
    found = [
        p
        for night in page
        for p in (products_of(service, slug, night) if slug else ())
        if kind is None or p.kind == kind
    ]
    at = Position(slug, page[-1], -1, "newest") if page and slug else position
    here = encode(at) if at else None
    only = f"&kind={kind}" if kind and kind.isascii() and kind.replace("-", "").isalnum() else ""
    more = f"{API}/products?limit={limit}{only}&cursor={here}" if len(rest) > limit else None
    links = PageLinks(self=listing.self_address(request), next=more)
    return json_answer(
        request,
        ProductPage(camera=slug, products=found, cursor=here, links=links),
        headers=listing.link_header(more),
    )


@router.get("/nights/{night}/products", response_model=ProductList, responses=responses(404, 422))
def list_products_of_night(
    request: Request, service: ServiceDep, night: NightPath, camera: CameraQuery = None
) -> Response:
    """List the products of one night."""
    slug = service.need_night(camera, night)
    found = products_of(service, slug, night)
    return json_answer(request, ProductList(camera=slug, night=night, products=found))


@router.get(
    "/nights/{night}/products/{name}", response_model=ProductInfo, responses=responses(404, 422)
)
def get_product(
    request: Request,
    service: ServiceDep,
    night: NightPath,
    name: NamePath,
    camera: CameraQuery = None,
) -> Response:
    """Give one product's record."""
    slug = service.need_night(camera, night)
    return json_answer(request, product_info(need_product(service, slug, night, name)))


@router.get(
    "/nights/{night}/products/{name}/files/{path}",
    response_class=Response,
    responses=FILE | responses(404, 422),
)
def get_product_file(
    request: Request,
    service: ServiceDep,
    night: NightPath,
    name: NamePath,
    path: Annotated[
        str,
        Path(min_length=1, max_length=300, description="As in `files`.", examples=["keogram.jpg"]),
    ],
    camera: CameraQuery = None,
) -> Response:
    """Give a product's file; `Range` gives a part of it, so that videos can be sought."""
    slug = service.need_night(camera, night)
    product = need_product(service, slug, night, name)
    there, media_type = need_file(service, product, path)
    status = there.stat()
    etag = make_etag(slug, night, name, path, status.st_mtime_ns, status.st_size)
    headers = cache_headers(etag, product.created_at, LIVE) | {"accept-ranges": "bytes"}
    if unchanged(request, etag, product.created_at):
        return not_modified(headers)
    return FileResponse(there, media_type=media_type, headers=headers)
