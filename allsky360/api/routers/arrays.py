"""The archive's Zarr stores over HTTP, read-only: what is committed, a part at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from allsky360.api.arrays import KEY, STORE, Chunk, read_key
from allsky360.api.conditional import (
    LIVE,
    cache_headers,
    make_etag,
    not_modified,
    unchanged,
)
from allsky360.api.parameters import NightPath
from allsky360.api.problems import NotFound, Responses, responses
from allsky360.api.service import ServiceDep

router = APIRouter(prefix="/zarr", tags=["arrays"])

DATA: Responses = {
    200: {
        "description": "Metadata as JSON, or a chunk",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    206: {"description": "The part of the chunk that `Range` names"},
    304: {"description": "The client's copy still holds"},
}


@router.get(
    "/{camera}/{night}/{store}/{key:path}",
    response_class=Response,
    responses=DATA | responses(404, 422),
)
def get_key(
    request: Request,
    service: ServiceDep,
    camera: Annotated[str, Path(min_length=1, max_length=120, examples=["zwo-asi294mc"])],
    night: NightPath,
    store: Annotated[
        str,
        Path(max_length=40, pattern=f"^{STORE}$", examples=["v0001.zarr"], description="Store."),
    ],
    key: Annotated[
        str,
        Path(max_length=200, examples=["zarr.json"], description="Key of the store."),
    ],
) -> Response:
    """Give one key of a Zarr store; `xr.open_zarr` reads `/zarr/{camera}/{night}/{store}`.

    Frames that are not committed are not there, and a missing key is a 404, as Zarr expects.
    """
    slug = service.need_night(camera, night)
    found = read_key(service.store.root, slug, night, store, key) if KEY.fullmatch(key) else None
    if found is None:
        raise NotFound(f"The store {store} of {night} has no such key.")
    if isinstance(found, Chunk):
        etag = make_etag(slug, night, store, key, found.stamp)
        headers = cache_headers(etag, None, LIVE) | {"accept-ranges": "bytes"}
        if unchanged(request, etag, None):
            return not_modified(headers)
        return FileResponse(found.path, media_type="application/octet-stream", headers=headers)
    etag = make_etag(found, weak=True)
    headers = cache_headers(etag, None, LIVE)
    if unchanged(request, etag, None):
        return not_modified(headers)
    kind = "application/json" if key.endswith("zarr.json") else "application/octet-stream"
    return Response(found, media_type=kind, headers=headers)
