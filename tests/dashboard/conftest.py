"""One Chromium for all browser tests, and services over a full and an empty archive."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from allsky360.api.app import create_app
from allsky360.config import (
    ApiSettings,
    ClockSettings,
    OwnerSettings,
    Settings,
    SiteSettings,
    StorageSettings,
)
from allsky360.net import listening_socket
from tests.dashboard.archive import NOW, SITE, Truth
from tests.dashboard.visit import DESKTOP, Visit

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

Open = Callable[..., Visit]


# Playwright's event loop runs in this thread for as long as the browser is open, and no
# `asyncio.run` of another test works meanwhile: it ends with the module.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium: the pages are not tested (apt-get install chromium)")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
    yield made
    made.close()


@pytest.fixture
def visit(context: BrowserContext) -> Iterator[Open]:
    """Open pages; they are closed after the test, and what they remember is forgotten."""
    opened: list[Visit] = []

    def make(base: str, size: tuple[int, int] = DESKTOP) -> Visit:
        opened.append(Visit(context, base, size))
        return opened[-1]

    yield make
    for one in opened:
        if one.page.url.startswith("http"):
            one.run("localStorage.clear(); sessionStorage.clear()")
        one.close()


def settings_for(root: Path, port: int, owner_port: int) -> Settings:
    return Settings(
        site=SiteSettings(
            name=SITE.name,
            latitude_deg=SITE.latitude_deg,
            longitude_deg=SITE.longitude_deg,
            elevation_m=SITE.elevation_m,
        ),
        storage=StorageSettings(root=root, min_free_gb=0),
        api=ApiSettings(port=port),
        owner=OwnerSettings(port=owner_port),
        clock=ClockSettings(start=NOW, anchor=datetime.now(UTC)),
    )


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve in a thread of its own."""
    app: Any = create_app(settings)
    port = settings.api.port
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    sockets = [listening_socket("127.0.0.1", port, "api")]
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


def port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    made = Truth.begin(tmp_path_factory.mktemp("dashboard") / "archive")
    made.night()
    return made


@pytest.fixture(scope="module")
def full(truth: Truth, browser: Browser) -> Iterator[str]:
    """A service over two nights with everything in them."""
    with serving(settings_for(truth.root, port(), port())) as base:
        yield base


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[str]:
    """A service over an archive that does not exist yet."""
    root = tmp_path_factory.mktemp("dashboard") / "none"
    with serving(settings_for(root, port(), port())) as base:
        yield base
