"""Hand frames to the resident Dask cluster as plain futures, without waiting.

Frames never become Prefect tasks: a task on Dask costs 220 to 330 ms, a future 4 ms.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import date
from typing import TYPE_CHECKING, Any

from allsky360.cluster import ClusterError, connect
from allsky360.config import Settings

if TYPE_CHECKING:
    from distributed import Client, Future

    from allsky360.archive import FrameRef

TRY_AGAIN_S = 10.0
LIVE, LATER = 10, 0  # Dask's priorities: the picture people wait for comes first
COUNTED = {"finished": "processed", "error": "failed", "pending": "running"}
Log = logging.Logger | logging.LoggerAdapter[Any]


def frame_key(ref: FrameRef) -> str:
    """Return the Dask key of a frame: whoever hands it over again joins the same computation."""
    return f"process-{ref.camera}-{ref.night.isoformat()}-{ref.index:06d}"


def submit_frame(
    client: Client, settings: Settings, ref: FrameRef, *, priority: int = LATER
) -> Future:
    """Submit one frame; the cluster finishes it even when this process dies."""
    from distributed import fire_and_forget

    from allsky360.processing import process_archived_frame

    future = client.submit(
        process_archived_frame,
        settings.storage.root.absolute(),
        ref,
        settings,
        key=frame_key(ref),
        retries=1,
        pure=False,
        priority=priority,
    )
    fire_and_forget(future)
    return future


class Handover:
    """The frames of one burst on their way through the cluster.

    A thread of its own connects and submits: importing distributed takes seconds, a cluster that is
    down takes as long as the time limit, and the events of the burst must not wait for either.
    Dask that is down or goes away costs nothing but time: raw is on disk already, the burst goes
    on, and the catch-up flow finds what was not processed. Where processing is slower than capture,
    no more than ``processing.live_ahead`` frames wait here; those that come meanwhile are left to
    the catch-up, so that pictures are fewer and not ever later. A plain class: Prefect must not
    walk it.

    Parameters
    ----------
    settings
        Where the archive and the scheduler are.
    connecting
        How to connect; tests give their own.
    """

    def __init__(
        self, settings: Settings, connecting: Callable[[Settings], Client] = connect
    ) -> None:
        self._settings = settings
        self._connecting = connecting
        self._client: Client | None = None
        self._next_try = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="handover")
        self._given: dict[str, concurrent.futures.Future[Future | None]] = {}
        self._waiting: list[Future] = []

    def give(self, camera: str, night: date, index: int, log: Log) -> None:
        """Hand one frame over, without waiting."""
        from allsky360.archive import FrameRef, camera_slug

        ref = FrameRef(camera_slug(camera), night, index)
        self._given[frame_key(ref)] = self._thread.submit(self._submit, ref, log)

    def settle(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the frames handed over, at most ``timeout_s``; return counts and errors.

        Returns
        -------
        dict
            ``processed``, ``failed``, ``running`` (not cancelled: the cluster goes on), ``left``
            (to catch-up: not handed over, or lost with the scheduler) and ``errors`` (key to
            message).
        """
        result: dict[str, Any] = dict.fromkeys(("processed", "failed", "running", "left"), 0)
        result["errors"] = {}
        if not self._given:
            return result
        from distributed import wait

        deadline = time.monotonic() + max(0.0, timeout_s)
        concurrent.futures.wait(self._given.values(), timeout=max(0.0, timeout_s))
        futures = {
            key: future
            for key, given in self._given.items()
            if given.done() and (future := given.result()) is not None
        }
        if futures and self._client is not None:
            # still running at the time limit, or lost with the scheduler: counted below
            with self._client.as_current(), contextlib.suppress(TimeoutError, CancelledError):
                wait(list(futures.values()), timeout=max(0.0, deadline - time.monotonic()))
        result["left"] = len(self._given) - len(futures)
        for key, future in futures.items():
            status = future.status
            result[COUNTED.get(status, "left")] += 1
            if status == "error":
                error = future.exception(timeout=5)
                result["errors"][key] = f"{type(error).__name__}: {error}"
        return result

    def close(self) -> None:
        """Leave the cluster; it goes on with the frames it has."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._given.clear()
        if self._client is not None:
            self._client.close(timeout=2)
            self._client = None

    def _submit(self, ref: FrameRef, log: Log) -> Future | None:
        client = self._connected(log)
        if client is None:
            return None
        from distributed.client import ClosedClientError

        self._waiting = [f for f in self._waiting if not f.done()]
        if len(self._waiting) >= self._settings.processing.live_ahead:
            log.info("%s left to catch-up: processing is behind", frame_key(ref))
            return None
        try:
            future = submit_frame(client, self._settings, ref, priority=LIVE)
            self._waiting.append(future)
            return future
        except (OSError, RuntimeError, ValueError, ClosedClientError) as error:
            log.error("%s not handed to Dask, left to catch-up: %s", frame_key(ref), error)
            return None

    def _connected(self, log: Log) -> Client | None:
        if self._client is not None and self._client.status in ("running", "connecting"):
            return self._client
        if time.monotonic() < self._next_try:
            return None
        try:
            self._client = self._connecting(self._settings)
        except ClusterError as error:
            self._client = None
            self._next_try = time.monotonic() + TRY_AGAIN_S
            log.error("%s Raw frames are safe; the catch-up flow will process them.", error)
        return self._client
