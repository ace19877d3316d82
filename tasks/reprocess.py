"""The task that makes nights again, and its progress in the UI."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from tasks.artifacts import UPDATE_EVERY_S, attempt
from tasks.burst import run_log

PROGRESS_KEY = "reprocess-progress"


class NightsBar:
    """One progress artifact for all nights of a run."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)
        self._done: dict[tuple[str, date], int] = {}
        self._id: UUID | None = None
        self._last = -UPDATE_EVERY_S

    def show(self, progress: Any) -> None:
        """Update the bar, at most once a second."""
        self._done[progress.camera, progress.night] = progress.done
        now = time.monotonic()
        if now - self._last < UPDATE_EVERY_S:
            return
        self._last = now
        text = (
            f"{progress.camera} {progress.night} {progress.version}: "
            f"{progress.done} of {progress.total} frames"
        )
        self._write(min(100.0, 100.0 * sum(self._done.values()) / self._total), text)

    def end(self) -> None:
        """Show that all is done."""
        self._write(100.0, "all nights")

    def _write(self, percent: float, text: str) -> None:
        def write() -> None:
            if self._id is None:
                made = create_progress_artifact(percent, key=PROGRESS_KEY, description=text)
                assert isinstance(made, UUID)  # a coroutine only where the caller is one
                self._id = made
            else:
                update_progress_artifact(self._id, progress=percent, description=text)

        attempt(write, run_log())


class Jobs:
    """Nights of one task. A plain class: Prefect must not walk it."""

    def __init__(self, jobs: list[Any]) -> None:
        self.jobs = jobs


@task(
    name="make-nights-again",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[10, 60, 300],
)
def make_again(
    settings: Settings,
    nights: list[str],
    jobs: Jobs,
    drop_old: bool,
    switch_anyway: bool,
    from_objects: bool,
) -> list[Any]:
    """Make nights again on the cluster; retried when the cluster goes away, and goes on then.

    Parameters
    ----------
    nights
        Their names, for the UI.
    jobs
        What is to be done, opaque to Prefect.

    Returns
    -------
    list of NightResult
        One a night.

    Raises
    ------
    ClusterError
        No Dask scheduler answers, or it went away.
    """
    from allsky360.cluster import connect
    from allsky360.reprocess.run import reprocess

    root = settings.storage.root
    bar = NightsBar(sum(job.frames(root) for job in jobs.jobs))
    show: Callable[[Any], None] = bar.show
    with connect(settings) as client:
        results = reprocess(
            client,
            root,
            jobs.jobs,
            report=show,
            drop_old=drop_old,
            switch_anyway=switch_anyway,
            from_objects=from_objects,
        )
    bar.end()
    return results
