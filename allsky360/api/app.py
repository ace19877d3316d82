"""The application: routers, error answers, middleware, and the watcher's life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from allsky360 import __version__
from allsky360.api import problems
from allsky360.api.addresses import API
from allsky360.api.compression import Compression
from allsky360.api.counts import Counting
from allsky360.api.middleware import HeadAsGet, SecurityHeaders
from allsky360.api.problems import Problem
from allsky360.api.routers import (
    arrays,
    ephemeris,
    events,
    frames,
    geometry,
    health,
    index,
    latest,
    lens,
    metrics,
    nights,
    pages,
    products,
    series,
    site,
    sky,
    stars,
    status,
    steps,
    system,
    transients,
)
from allsky360.api.security.guard import Guard
from allsky360.api.security.rate import RateLimit
from allsky360.api.security.tokens import grants_of
from allsky360.api.service import Service, open_service
from allsky360.config import Settings

log = logging.getLogger(__name__)

DESCRIPTION = """Reads what the all-sky camera captured: nights, frames, pictures, raw exposures,
measurements, and the live state. It only reads. Times are UTC, angles degrees, exposures seconds.
Errors are RFC 9457 problems; lists are paged by opaque cursors; answers carry ETag."""


def create_app(settings: Settings) -> FastAPI:
    """Build the read service over the archive of ``settings``.

    An archive that is empty or does not exist yet is served as such.
    """
    service = open_service(settings)
    app = FastAPI(
        title="allsky360",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.state.service = service
    app.state.public_service = service.for_public()
    app.state.archive_root = settings.storage.root
    problems.add_handlers(app)
    app.router.routes.extend(_routes())
    pages.mount_assets(app)
    a = settings.api
    app.add_middleware(Compression)
    app.add_middleware(Counting, counts=service.counts)
    app.add_middleware(HeadAsGet)
    limit = RateLimit(a.rate_per_s, a.rate_burst)
    app.add_middleware(Guard, settings=a, grants=grants_of(a), limit=limit)
    if a.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(a.cors_origins),
            allow_methods=["GET", "HEAD"],
            allow_headers=["Authorization", "If-None-Match", "Last-Event-ID", "Range"],
            expose_headers=["ETag", "Link", "X-Frame-Id", "Content-Range", "Retry-After"],
            max_age=3600,
        )
    app.add_middleware(SecurityHeaders)
    plain_openapi = app.openapi
    app.openapi = lambda: _with_problems(plain_openapi())  # type: ignore[method-assign]
    return app


@lru_cache(maxsize=1)
def _routes() -> list[BaseRoute]:
    """Return every route; made once a process, as half a second goes by over it."""
    made = FastAPI()
    made.router.routes.clear()
    api = APIRouter(prefix=API)
    modules = (
        site,
        nights,
        frames,
        sky,
        geometry,
        steps,
        latest,
        series,
        stars,
        transients,
        products,
        ephemeris,
        lens,
        status,
        system,
        events,
        health,
    )
    for module in modules:
        api.include_router(module.router)
    made.include_router(index.router)
    made.include_router(api)
    made.include_router(metrics.router)
    made.include_router(arrays.router)
    made.include_router(pages.router)
    return list(made.router.routes)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    watching = asyncio.create_task(service.watcher.run(), name="archive watcher")
    loading = asyncio.create_task(asyncio.to_thread(_load_libraries), name="library loading")
    stop = threading.Event()
    warming = asyncio.create_task(asyncio.to_thread(_warm, service, stop), name="index warming")
    try:
        yield
    finally:
        stop.set()
        service.feed.close()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await loading
        await warming


def _warm(service: Service, stop: threading.Event) -> None:
    try:
        service.store.index.warm(stop)
    except OSError as error:  # requests say so themselves
        log.warning("the numbers of the nights cannot be read ahead: %s", error)


def _load_libraries() -> None:
    """Import what the first picture, FITS file and ephemeris need, so that nobody waits for it."""
    import astropy.io.fits
    import cv2
    import zarr

    from allsky360.sky.ephemeris import ephemeris, timescale

    ephemeris(), timescale()
    log.debug("loaded %s, %s, %s", astropy.io.fits.__name__, cv2.__name__, zarr.__name__)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Say in the OpenAPI document that wrong parameters are answered as problems too."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    if "Problem" in schemas:
        return document
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    answer = problems.responses(422)[422]
    for methods in document["paths"].values():
        for operation in methods.values():
            if "422" in operation["responses"]:
                operation["responses"]["422"] = answer
    return document
