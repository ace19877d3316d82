"""Safety, storage, settings, and the parts of the installation."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import psutil
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from allsky360 import __version__
from allsky360.api.conditional import json_answer
from allsky360.api.logs import newest_troubles
from allsky360.api.models_system import (
    ConfigurationInfo,
    QueueInfo,
    SafetyInfo,
    StorageInfo,
    SystemInfo,
)
from allsky360.api.parameters import CameraQuery
from allsky360.api.parts import ask_parts
from allsky360.api.problems import responses
from allsky360.api.routers.status import links_of, storage_of
from allsky360.api.secrets import without_secrets
from allsky360.api.service import Service, ServiceDep
from allsky360.safety import current_safety
from allsky360.sky.safety import SafetyRules

router = APIRouter(tags=["system"])


def _now(body: BaseModel) -> JSONResponse:
    return JSONResponse(body.model_dump(mode="json"), headers={"cache-control": "no-store"})


@router.get("/safety", response_model=SafetyInfo, responses=responses(404, 422))
def get_safety(service: ServiceDep, camera: CameraQuery = None) -> Response:
    """Say whether the sky is safe for observing: safe, unsafe or unknown, with reason and age."""
    slug = service.need_camera(camera) if camera else None
    s, now = service.settings.safety, service.clock.now()
    rules = SafetyRules(
        unsafe_above=s.unsafe_above,
        safe_below=s.safe_below,
        max_unknown=s.max_unknown,
        safe_after=s.safe_after,
        max_age_s=s.max_age_s,
    )
    found = current_safety(service.store.root, now, slug, rules)
    return _now(
        SafetyInfo(
            verdict=found.verdict,
            is_safe=found.is_safe,
            reason=found.reason,
            age_s=None if found.age_s is None else round(found.age_s, 3),
            time=now,
        )
    )


@router.get("/configuration", response_model=ConfigurationInfo)
def get_configuration(request: Request, service: ServiceDep) -> Response:
    """Show the settings this service runs with; secrets are left out."""
    settings = without_secrets(service.settings.model_dump(mode="json"))
    return json_answer(request, ConfigurationInfo(settings=settings))


@router.get("/storage", response_model=StorageInfo)
def get_storage(service: ServiceDep) -> Response:
    """Say how much space is left and what the archive holds."""
    return _now(storage_info(service))


def storage_info(service: Service) -> StorageInfo:
    """Disk space, and nights of each camera."""
    s = service.settings.storage
    disk = storage_of(s.root, s.min_free_gb)
    nights = {slug: len(service.store.nights(slug)) for slug in service.store.cameras()}
    return StorageInfo(**disk.model_dump(), root=str(s.root.absolute()), cameras=nights)


@router.get("/system", response_model=SystemInfo)
async def get_system(service: ServiceDep) -> Response:
    """Show the parts, the queue, the last errors, and where the other programs' pages are."""
    parts = await ask_parts(service)
    body = await service.heavy(partial(_system, service))
    return _now(body.model_copy(update={"parts": parts}))


def _system(service: Service) -> SystemInfo:
    return SystemInfo(
        now=datetime.now(UTC),
        version=__version__,
        started=service.started,
        parts=[],
        queue=queue_of(service),
        storage=storage_info(service),
        errors=newest_troubles(service.settings.storage.root / "logs"),
        memory_mb=round(psutil.Process().memory_info().rss / 2**20, 1),
        links=links_of(service),
    )


def queue_of(service: Service) -> QueueInfo:
    """Count what waits for processing in the newest nights of every camera."""
    waiting = [
        frame
        for camera in service.store.cameras()
        for night in service.store.nights(camera)[-2:]
        for frame in service.store.frames(camera, night)
        if not frame.processed
    ]
    return QueueInfo(unprocessed=len(waiting), oldest=min((f.time for f in waiting), default=None))
