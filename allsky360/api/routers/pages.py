"""The live page and the documentation page: static files, no external request."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from allsky360.api.conditional import LIVE, cache_headers, make_etag, not_modified, unchanged

STATIC = Path(__file__).parents[1] / "static"

router = APIRouter(include_in_schema=False)


def _page(request: Request, name: str) -> Response:
    content = (STATIC / name).read_bytes()
    etag = make_etag(content, weak=True)
    headers = cache_headers(etag, None, LIVE)
    if unchanged(request, etag, None):
        return not_modified(headers)
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/")
def live_page(request: Request) -> Response:
    """Serve the live page."""
    return _page(request, "live.html")


@router.get("/docs")
def docs_page(request: Request) -> Response:
    """Serve the API documentation, rendered from openapi.json in the browser."""
    return _page(request, "docs.html")


@router.get("/favicon.ico")
def favicon() -> Response:
    """Serve the icon."""
    return Response((STATIC / "icon.svg").read_bytes(), media_type="image/svg+xml")


class Assets(StaticFiles):
    """Static files that a browser asks about again every time, so that an update shows at once."""

    def file_response(self, *args: object, **keywords: object) -> Response:
        """Add the cache header."""
        response = super().file_response(*args, **keywords)  # type: ignore[arg-type]
        response.headers["cache-control"] = LIVE
        return response


def mount_assets(app: FastAPI) -> None:
    """Serve the assets under /static."""
    app.mount("/static", Assets(directory=STATIC), name="static")
