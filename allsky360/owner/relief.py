"""Makes room when the disk is nearly full, beside the capture and without help from others."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from allsky360.archive.elsewhere import Elsewhere
from allsky360.archive.retention import is_short, tidy
from allsky360.config_retention import RetentionSettings
from allsky360.errors import AllskyError

log = logging.getLogger(__name__)


class Relief:
    """Runs retention in a thread while less than ``retention.low_free_percent`` is free.

    Parameters
    ----------
    root
        ``storage.root``.
    rules
        Settings of retention.
    floor_bytes
        Free space under which capture pauses.
    every_s
        Least time between two looks at the disk.
    elsewhere
        The off-site copy: what it lacks stays, and capture pauses rather than lose it.
    """

    def __init__(
        self,
        root: Path,
        rules: RetentionSettings,
        floor_bytes: float,
        *,
        every_s: float,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._root = root
        self._floor = floor_bytes
        self._rules = rules
        self._every_s = every_s
        self._elsewhere = elsewhere
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Begin to make room where it is short; returns at once."""
        if not self._rules.low_free_percent or time.monotonic() < self._next:
            return
        if self._task is not None and not self._task.done():
            return
        self._next = time.monotonic() + self._every_s
        self._task = asyncio.create_task(self._work(), name="retention")

    async def stop(self) -> None:
        """Wait until what is being removed is removed."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        try:
            await asyncio.to_thread(self._tidy)
        except (AllskyError, OSError) as error:
            log.error("no room could be made: %s", error)

    def _tidy(self) -> None:
        if not self._root.is_dir() or not is_short(self._root, self._rules, self._floor):
            return
        done = tidy(
            self._root,
            self._rules,
            datetime.now(UTC),
            floor_bytes=self._floor,
            elsewhere=self._elsewhere,
        )
        if done:
            log.warning(
                "the disk was nearly full: %.2f GB of old nights removed",
                sum(r.bytes for r in done) / 1e9,
            )
