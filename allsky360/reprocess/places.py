"""Which worker gets the next frame: the one with the fewest under way."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

FRESH_S = 1.0
"""Age up to which the list of workers is believed."""


class Places:
    """The cluster's workers, and how many frames each has.

    Frames are bound to a worker because moving one costs more than making it wait. Dask binds them
    loosely: a frame whose worker is gone goes to any other.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._busy: Counter[str] = Counter()
        self._workers: list[str] = []
        self._asked = float("-inf")

    def take(self) -> str | None:
        """Choose a worker for a frame; None where there is none yet: any that comes will do."""
        now = time.monotonic()
        if now - self._asked > FRESH_S or not self._workers:
            self._workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
            self._asked = now
        if not self._workers:
            return None
        chosen = min(self._workers, key=lambda w: self._busy[w])
        self._busy[chosen] += 1
        return chosen

    def free(self, worker: str | None) -> None:
        """Note that a frame left its worker."""
        if worker is not None:
            self._busy[worker] -= 1
