"""The service on a port, in a thread of its own, as `allsky360 api` runs it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn

from allsky360.api.app import create_app
from allsky360.api.server import uvicorn_config
from allsky360.config import Settings
from allsky360.net import listening_socket


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve until the block ends; yields the address."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn_config(app, settings))
    sockets = [listening_socket(settings.api.host, settings.api.port, "api")]
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    try:
        yield f"http://127.0.0.1:{settings.api.port}"
    finally:
        app.state.service.feed.close()
        server.should_exit = True
        thread.join(30)
