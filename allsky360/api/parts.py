"""Whether the other parts of the installation answer; asked with a short timeout, kept a moment."""

from __future__ import annotations

import asyncio
from typing import Literal
from urllib.parse import urlsplit

from allsky360.api.models_system import PartInfo
from allsky360.api.service import Service
from allsky360.net import netloc, reachable

TIMEOUT_S = 1.0
Name = Literal["owner", "prefect", "dask"]


async def ask_parts(service: Service) -> list[PartInfo]:
    """Ask every part at once."""
    s = service.settings
    owner = await service.owner.status()
    prefect = urlsplit(s.prefect.url) if s.prefect.url else None
    scheduler = urlsplit(s.dask.scheduler) if s.dask.scheduler else None
    asked = await asyncio.gather(
        _port(
            "prefect",
            prefect.hostname if prefect else s.prefect.host,
            (prefect.port or (443 if prefect.scheme == "https" else 80))
            if prefect
            else s.prefect.port,
        ),
        _port(
            "dask",
            scheduler.hostname if scheduler else s.dask.host,
            (scheduler.port or 8786) if scheduler else s.dask.port,
        ),
    )
    said = str((owner or {}).get("state", "")) or "no answer"
    streams = service.load.streams
    return [
        PartInfo(
            name="owner",
            state="answers" if owner is not None else "does not answer",
            detail=said,
            address=netloc(s.owner.host, s.owner.port),
        ),
        *asked,
        PartInfo(
            name="events",
            state="does not answer" if service.feed.closed else "answers",
            detail=f"{streams} reader{'' if streams == 1 else 's'}",
            address=None,
        ),
    ]


async def _port(name: Name, host: str | None, port: int) -> PartInfo:
    host = reachable(host or "")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        state: Literal["answers", "does not answer"] = "answers"
        detail = "its port is open"
    except (OSError, TimeoutError) as error:
        state, detail = "does not answer", type(error).__name__
    return PartInfo(name=name, state=state, detail=detail, address=netloc(host, port))
