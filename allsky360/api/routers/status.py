"""How the installation is doing."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from allsky360.api.addresses import API, frame_id
from allsky360.api.condition import judge
from allsky360.api.models import FrameMark, Status, Storage
from allsky360.api.problems import responses
from allsky360.api.service import Service, ServiceDep
from allsky360.api.store import FrameInfo
from allsky360.api.view import site_info, sky_info
from allsky360.net import netloc

router = APIRouter(prefix="/status", tags=["status"])


@router.get("", response_model=Status, responses=responses(503))
async def get_status(service: ServiceDep) -> JSONResponse:
    """Say how capture goes: age of the newest frame, the camera owner, disk space."""
    status = await status_of(service)
    return JSONResponse(status.model_dump(mode="json"), headers={"cache-control": "no-store"})


async def status_of(service: Service) -> Status:
    """Collect the status."""
    owner = await service.owner.status()
    return await service.light(lambda: _status(service, owner))


def _status(service: Service, owner: dict[str, Any] | None) -> Status:
    store, now = service.store, service.clock.now()
    raw, shown = store.newest(), store.newest(processed=True)
    newest = max((f.time for f in (raw, shown) if f), default=None)
    condition = judge(now, newest, owner, service.stale_after_s)
    tonight = service.site.night_of(now) if service.site else None
    frames = store.frames(raw.camera, raw.night) if raw else ()
    return Status(
        now=now,
        clock_rate=service.clock.rate,
        state=condition.state,
        message=condition.message,
        stale_after_s=service.stale_after_s,
        last_frame=_mark(raw, now),
        last_picture=_mark(shown, now),
        unprocessed=sum(not f.processed for f in frames),
        frames_tonight=len(frames) if raw and tonight in (None, raw.night) else 0,
        night=tonight or (raw.night if raw else None),
        owner=owner if service.exact else None,
        storage=storage_of(service.settings.storage.root, service.settings.storage.min_free_gb),
        sky=sky_info(service.site, now),
        site=site_info(service.site),
        links=links_of(service) if service.exact else {},
    )


def _mark(frame: FrameInfo | None, now: datetime) -> FrameMark | None:
    if frame is None:
        return None
    age_s = round((now - frame.time).total_seconds(), 3)
    return FrameMark(id=frame_id(frame), camera=frame.camera, time=frame.time, age_s=age_s)


def storage_of(root: Path, min_free_gb: float) -> Storage:
    """Measure the disk below the archive."""
    there = root.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        usage = shutil.disk_usage(there)
    except OSError:
        return Storage(
            reachable=False, free_gb=None, total_gb=None, min_free_gb=min_free_gb, low=True
        )
    free_gb, total_gb = usage.free / 1e9, usage.total / 1e9
    return Storage(
        reachable=True,
        free_gb=round(free_gb, 2),
        total_gb=round(total_gb, 2),
        min_free_gb=min_free_gb,
        low=free_gb < min_free_gb,
    )


def links_of(service: Service) -> dict[str, str]:
    """Where the other pages are."""
    p, d = service.settings.prefect, service.settings.dask
    prefect = p.url.rstrip("/").removesuffix("/api") or f"http://{netloc(p.host, p.port)}"
    links = {"latest": f"{API}/latest", "docs": "/docs", "prefect": prefect}
    if not d.scheduler:
        links["dask"] = f"http://{netloc(d.host, d.dashboard_port)}/status"
    else:
        host = d.scheduler.split("://")[-1].rsplit(":", 1)[0]
        links["dask"] = f"http://{host}:{d.dashboard_port}/status"
    return links
