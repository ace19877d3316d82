"""The dashboard's pages: one shell, filled with a page's title and module; no external request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi import Path as PathParameter
from fastapi.staticfiles import StaticFiles

from allsky360.api.conditional import LIVE, cache_headers, make_etag, not_modified, unchanged

STATIC = Path(__file__).parents[1] / "static"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Page:
    """One page: its address, its module and style sheet (``name``), and its words."""

    path: str
    name: str
    title: str
    about: str
    group: str = ""
    tab: bool = False


PAGES = (
    Page("/", "live", "Live", "The newest picture of the sky, and how things are.", "Now", True),
    Page("/panorama", "panorama", "Panorama", "Look around in the newest picture.", "Now"),
    Page("/map", "map", "Sky map", "Clouds and brightness over the sky.", "Now", True),
    Page("/sun-moon", "sun-moon", "Sun & Moon", "Twilight, Moon, planets, the year.", "Now"),
    Page("/nights", "nights", "Nights", "Every night, and how good it was.", "Archive", True),
    Page("/videos", "videos", "Videos", "Time-lapses and star-trail videos.", "Archive"),
    Page("/transients", "transients", "Transients", "Meteors, satellites, aircraft.", "Archive"),
    Page("/charts", "charts", "Charts", "Any measurement along time.", "Archive", True),
    Page("/lens", "lens", "Lens", "Where the lens puts the stars, and how well.", "Camera"),
    Page("/steps", "steps", "Steps", "How a picture came about.", "Camera"),
    Page("/system", "system", "System", "Parts, storage, queue and errors.", "Camera"),
    Page(
        "/kiosk", "kiosk", "Kiosk", "One picture and a few numbers, for a small display.", "Camera"
    ),
    Page("/docs", "docs", "API", "Every resource of the read service.", "Camera"),
)
NIGHT = Page("", "night", "Night", "The frames of one night.")
FRAME = Page("", "frame", "Frame", "One frame with all its numbers.")
BARE = {"kiosk"}
"""Pages without navigation."""


@cache
def render(page: Page) -> bytes:
    """Fill the shell (or, without navigation, the bare one) with a page."""
    shell = "bare.html" if page.name in BARE else "shell.html"
    here = {"night": "/nights", "frame": "/nights"}.get(page.name, page.path)
    text = Template((STATIC / shell).read_text(encoding="utf-8")).substitute(
        title=escape(page.title),
        about=escape(page.about),
        name=page.name,
        icons=(STATIC / "icons.svg").read_text(encoding="utf-8"),
        nav=_rail(here),
        tabs="".join(_link(p, here) for p in PAGES if p.tab),
    )
    return text.encode()


def _rail(here: str) -> str:
    groups = dict.fromkeys(p.group for p in PAGES)
    return "".join(
        f'<h2 id="nav-{g.lower()}">{g}</h2><ul aria-labelledby="nav-{g.lower()}">'
        + "".join(f"<li>{_link(p, here)}</li>" for p in PAGES if p.group == g)
        + "</ul>"
        for g in groups
    )


def _link(page: Page, here: str) -> str:
    current = ' aria-current="page"' if page.path == here else ""
    return (
        f'<a href="{page.path}"{current}><svg class="icon" aria-hidden="true">'
        f'<use href="#i-{page.name}"/></svg><span>{escape(page.title)}</span></a>'
    )


def _answer(request: Request, page: Page) -> Response:
    content = render(page)
    etag = make_etag(content, weak=True)
    headers = cache_headers(etag, None, LIVE)
    if unchanged(request, etag, None):
        return not_modified(headers)
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


def _serve(page: Page) -> None:
    @router.get(page.path, name=f"page-{page.name}")
    def serve(request: Request) -> Response:
        return _answer(request, page)


for _page in PAGES:
    _serve(_page)


@router.get("/nights/{night}")
def night_page(request: Request, night: date) -> Response:
    """Serve the page of one night; whether it exists, the page finds out."""
    return _answer(request, NIGHT)


@router.get("/frames/{night}/{index}")
def frame_page(
    request: Request, night: date, index: Annotated[int, PathParameter(ge=0, le=9_999_999)]
) -> Response:
    """Serve the page of one frame."""
    return _answer(request, FRAME)


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
