"""The task that makes nights again, and its progress in the UI."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from tasks.artifacts import Bar
from tasks.burst import run_log

PROGRESS_KEY = "reprocess-progress"


class NightsBar:
    """One progress artifact for all nights of a run."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)
        self._done: dict[tuple[str, date], int] = {}
        self._bar = Bar(PROGRESS_KEY)

    def show(self, progress: Any) -> None:
        """Update the bar, at most once a second."""
        self._done[progress.camera, progress.night] = progress.done
        text = (
            f"{progress.camera} {progress.night} {progress.version}: "
            f"{progress.done} of {progress.total} frames"
        )
        percent = min(100.0, 100.0 * sum(self._done.values()) / self._total)
        self._bar.show(percent, text, run_log())

    def end(self) -> None:
        """Show that all is done."""
        self._bar.show(100.0, "all nights", run_log(), done=True)


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
