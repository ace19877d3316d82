"""Runs the service under uvicorn: one clear error when the port is taken, and a quick stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
from types import FrameType

import uvicorn
from fastapi import FastAPI

from allsky360 import systemd
from allsky360.api.app import create_app
from allsky360.api.protocol import BoundedProtocol
from allsky360.config import Settings
from allsky360.config_api import ApiSettings
from allsky360.logs import set_up_logging
from allsky360.net import listening_socket, netloc

log = logging.getLogger(__name__)

STOP_AFTER_S = 5
NICE = 5
"""Capture and processing come first on a machine that is short of cores."""


class Server(uvicorn.Server):
    """Ends the event streams when told to stop, so that open pages do not hold it up."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Close the feed, then stop as uvicorn does."""
        with contextlib.suppress(RuntimeError):  # no loop runs: nobody follows the feed
            asyncio.get_running_loop().call_soon_threadsafe(self.close_feed)
        super().handle_exit(sig, frame)

    def close_feed(self) -> None:
        """End every event stream."""
        assert isinstance(self.config.app, FastAPI)
        self.config.app.state.service.feed.close()


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    a = settings.api
    set_up_logging("api", settings.logging.format, logging.WARNING)
    listener = listening_socket(a.host, a.port, "api")
    try:
        app = create_app(settings)
        warn_about(settings.api)
        with contextlib.suppress(OSError):  # where the unit sets it, the process may not
            os.nice(NICE)
        health = f"http://{netloc(a.host, a.port)}/api/v1/health"
        systemd.give_signs(lambda: systemd.answers(health))
        Server(uvicorn_config(app, settings)).run(sockets=[listener])
    finally:
        listener.close()


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Bounds of connections, and quiet logs."""
    return uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,  # to the root logger, as all else
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_AFTER_S,
        timeout_keep_alive=15,
        http=BoundedProtocol,
        limit_concurrency=settings.api.max_connections,
        ws_max_size=4096,
        lifespan="on",
    )


def warn_about(api: ApiSettings) -> None:
    """Say when nobody elsewhere could read anything."""
    try:
        local = ipaddress.ip_address(api.host).is_loopback
    except ValueError:
        local = api.host == "localhost"
    if not local and not (api.tokens or api.token_file or api.public):
        log.warning(
            "api.host is %s, but no token is set and nothing is public: programs on other machines "
            "get 401. Make a token with 'allsky360 api-token', or set api.public.",
            api.host,
        )
