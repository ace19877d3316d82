"""Runs the service under uvicorn: one clear error when the port is taken, and a quick stop."""

from __future__ import annotations

import asyncio
import contextlib
from types import FrameType

import uvicorn
from fastapi import FastAPI

from allsky360.api.app import create_app
from allsky360.config import Settings
from allsky360.net import listening_socket

STOP_AFTER_S = 5


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
    listener = listening_socket(a.host, a.port, "api")
    try:
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_AFTER_S,
            timeout_keep_alive=15,
            h11_max_incomplete_event_size=32 * 1024,
            lifespan="on",
        )
        Server(config).run(sockets=[listener])
    finally:
        listener.close()
