"""What the Prefect UI shows of a burst: progress, report, latest picture.

An artifact that cannot be written never costs a frame: it is logged and left out.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException

from allsky360.config import Settings
from allsky360.net import netloc, reachable
from tasks.handover import Log
from tasks.slots import Slot

PROGRESS_KEY = "burst-progress"
REPORT_KEY = "burst-report"
PICTURE_KEY = "latest-picture"
UPDATE_EVERY_S = 1.0  # an update is a request of 16 to 34 ms to the server


def picture_url(settings: Settings) -> str:
    """Return the address of the newest picture at the read service, as a browser finds it."""
    host = settings.api.host
    if reachable(host) != host:  # bound to all addresses: the browser may be elsewhere
        host = socket.getfqdn()
    return f"http://{netloc(host, settings.api.port)}/api/v1/latest/picture"


class Bar:
    """A progress bar in the UI, written at most once a second."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._id: UUID | None = None
        self._last = -UPDATE_EVERY_S

    def show(self, percent: float, text: str, log: Log, *, done: bool = False) -> None:
        """Update the bar; ``done`` writes in any case."""
        now = time.monotonic()
        if not done and now - self._last < UPDATE_EVERY_S:
            return
        self._last = now

        def write() -> None:
            if self._id is None:
                made = create_progress_artifact(percent, key=self._key, description=text)
                assert isinstance(made, UUID)  # a coroutine only where the caller is one
                self._id = made
            else:
                update_progress_artifact(self._id, progress=percent, description=text)

        attempt(write, log)


class Progress:
    """The progress bar of a burst: how much of the slot has passed, and its frames."""

    def __init__(self, slot: Slot, log: Log) -> None:
        self._slot = slot
        self._log = log
        self._bar = Bar(PROGRESS_KEY)

    def show(self, frames: int, *, done: bool = False) -> None:
        """Update the bar, at most once a second unless ``done``."""
        percent = 100.0 if done else 100.0 * self._slot.elapsed_fraction(datetime.now(UTC))
        text = f"Slot {self._slot.start:%H:%M:%S} UTC: {frames} frame(s)"
        self._bar.show(percent, text, self._log, done=done)


def publish_report(markdown: str, log: Log) -> None:
    """Publish the report of a burst."""
    attempt(lambda: create_markdown_artifact(markdown, key=REPORT_KEY), log)


def publish_picture(settings: Settings, frame: dict[str, Any], log: Log) -> None:
    """Publish the newest picture; the frame's time in the address keeps it from a stale cache."""
    when = str(frame.get("time", ""))
    url = str(httpx.URL(picture_url(settings), params={"t": when}))
    text = f"{frame.get('camera', '')} {frame.get('night', '')} #{frame.get('index', '')}, {when}"
    attempt(lambda: create_image_artifact(url, key=PICTURE_KEY, description=text), log)


def attempt(write: Callable[[], object], log: Log) -> bool:
    """Write an artifact; False, and a warning, when the server refuses or does not answer."""
    try:
        write()
    except (httpx.HTTPError, PrefectException, OSError, ValueError) as error:
        log.warning("artifact not written: %s: %s", type(error).__name__, error)
        return False
    return True
