"""The owner's small HTTP control service, and the process around it."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from allsky360 import systemd
from allsky360.config import Settings, clock_from, site_from
from allsky360.logs import set_up_logging
from allsky360.net import listening_socket, netloc, reachable
from allsky360.owner.burst import Burst
from allsky360.owner.calibration import FrameSet
from allsky360.owner.loop import Owner
from allsky360.sky.ephemeris import sun_altitude_deg

log = logging.getLogger(__name__)

LONGEST_BURST = timedelta(hours=24)


class BurstRequest(BaseModel):
    """Body of ``POST /burst``."""

    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime = Field(description="Wall-clock UTC at which the slot ends.")
    run_id: str = Field(min_length=1, max_length=200, description="Who asks; for logs and status.")


class CalibrationRequest(BaseModel):
    """Body of ``POST /calibration``."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["bias", "dark", "flat"] = Field(description="What the shutter shall see.")
    exposure_s: float = Field(ge=0, le=3600, description="Length of each frame.")
    count: int = Field(ge=1, le=500, description="How many.")
    gain: float | None = Field(None, description="Camera units; left out: as it is.")
    run_id: str = Field(min_length=1, max_length=200, description="Who asks; names the folder.")


def create_app(owner: Owner) -> FastAPI:
    """Return the service of one owner; the owner lives as long as the service."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await owner.start()
        try:
            yield
        finally:
            await owner.stop()

    app = FastAPI(title="allsky360 camera owner", lifespan=life)

    @app.get("/status")
    async def status() -> dict[str, Any]:
        """What the camera does and how it fares."""
        return owner.state.as_json()

    @app.post("/burst")
    async def burst(request: BurstRequest) -> StreamingResponse:
        """Take brackets back to back until the slot ends; one JSON event a line."""
        if request.until.astimezone(UTC) - datetime.now(UTC) > LONGEST_BURST:
            raise HTTPException(
                422, "until lies more than 24 h ahead; is the caller's clock right?"
            )
        begun = owner.begin_burst(request.until.astimezone(UTC), request.run_id)
        return StreamingResponse(_lines(owner, begun), media_type="application/x-ndjson")

    @app.post("/calibration")
    async def calibration(request: CalibrationRequest) -> StreamingResponse:
        """Take biases, darks or flats between two bursts; one JSON event a line."""
        wanted = FrameSet(request.kind, request.exposure_s, request.count, request.gain)
        begun = owner.begin_calibration(wanted, request.run_id)
        return StreamingResponse(_lines(owner, begun), media_type="application/x-ndjson")

    @app.post("/abort")
    async def abort() -> dict[str, bool]:
        """Abort the running exposure."""
        return {"aborted": await owner.abort()}

    return app


async def _lines(owner: Owner, burst: Burst) -> AsyncIterator[str]:
    try:
        async for event in owner.events(burst):
            yield json.dumps(event) + "\n"
    finally:
        burst.unwanted = True


class _Server(uvicorn.Server):
    """Tells the owner of a signal at once: its streams would keep uvicorn waiting otherwise."""

    owner: Owner

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the bursts, then the service."""
        self._told = asyncio.ensure_future(self.owner.request_stop())
        super().handle_exit(sig, frame)


async def serve(owner: Owner, host: str, port: int) -> None:
    """Run the owner until SIGTERM or SIGINT."""
    sock = listening_socket(host, port, "owner")
    config = uvicorn.Config(
        create_app(owner),
        log_level="warning",
        log_config=None,  # to the root logger, as all else
        access_log=False,
        timeout_graceful_shutdown=12,
        lifespan="on",
    )
    server = _Server(config)
    server.owner = owner
    try:
        await server.serve(sockets=[sock])
    finally:
        sock.close()


def camera_address(settings: Settings) -> tuple[str, int]:
    """Return host and port of the camera server; without one, those of our simulator."""
    if settings.camera.host:
        return settings.camera.host, settings.camera.port
    return reachable(settings.simulator.host), settings.simulator.port


def owner_from(settings: Settings) -> Owner:
    """Return the owner of the camera in the settings, writing into their archive."""
    from allsky360.archive.raw import RawWriter
    from allsky360.camera.servers import camera_of

    site, clock = site_from(settings), clock_from(settings)
    host, port = camera_address(settings)

    def camera() -> Any:
        return camera_of(host, port, settings.camera, clock)

    def writer(name: str) -> Any:
        return RawWriter(settings.storage.root, name, site)

    return Owner(settings, site, clock, camera, writer)


def run(settings: Settings) -> None:
    """Run the owner process; returns after a signal."""
    set_up_logging("owner", settings.logging.format)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    owner = owner_from(settings)
    # An ephemeris that cannot answer for this clock is told here, in one line.
    sun_altitude_deg(site_from(settings), clock_from(settings).now())
    log.info("camera owner on http://%s:%d", settings.owner.host, settings.owner.port)
    status = f"http://{netloc(settings.owner.host, settings.owner.port)}/status"
    systemd.give_signs(lambda: systemd.answers(status))
    try:
        asyncio.run(serve(owner, settings.owner.host, settings.owner.port))
    except KeyboardInterrupt:
        log.info("stopped by %s", signal.Signals(signal.SIGINT).name)
