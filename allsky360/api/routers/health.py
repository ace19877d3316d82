"""Alive, and ready."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from allsky360 import __version__
from allsky360.api.models import Check, Health, Readiness
from allsky360.api.service import ServiceDep

router = APIRouter(prefix="/health", tags=["health"])


@router.get("", response_model=Health)
async def get_health(request: Request) -> Response:
    """Say that the process answers; touches no disk."""
    body = Health(version=__version__)
    return JSONResponse(body.model_dump(), headers={"cache-control": "no-store"})


@router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}})
def get_ready(service: ServiceDep) -> Response:
    """Say whether requests can be served: 200 when they can, 503 when not."""
    root = service.settings.storage.root
    checks = [_archive(root), _feed(service.feed.closed)]
    ready = all(check.ok for check in checks)
    body = Readiness(status="ready" if ready else "not-ready", checks=checks)
    return JSONResponse(
        body.model_dump(), 200 if ready else 503, headers={"cache-control": "no-store"}
    )


def _archive(root: Path) -> Check:
    if not root.exists():
        return Check(name="archive", ok=True, detail="empty: nothing has been captured yet")
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return Check(name="archive", ok=False, detail="storage.root is not a readable folder")
    return Check(name="archive", ok=True, detail="readable")


def _feed(closed: bool) -> Check:
    return Check(name="events", ok=not closed, detail="stopping" if closed else "running")
