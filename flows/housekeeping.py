"""Keep Prefect's database small, and show that it is.

The server we start removes old runs, logs, artifacts and events by itself
(``allsky360.supervisor.prefect_env``); a server run elsewhere does so only when its operator asked
for it. So the flow removes what is left of our own deployments, and reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.config import Settings, load_settings
from tasks.artifacts import attempt
from tasks.burst import run_log
from tasks.patience import HOUR_S, end_if_hung
from tasks.retention import database_bytes, delete_old_runs, tidy_archive

OURS = "allsky360"  # the tag every deployment of ours gives its runs


@flow(name="housekeeping", persist_result=False)
def housekeeping() -> State[Any]:
    """Remove what retention no longer keeps, and runs older than ``prefect.retention_days``."""
    end_if_hung(6 * HOUR_S)
    settings = load_settings()
    before = datetime.now(UTC) - timedelta(days=settings.prefect.retention_days)
    # neither waits for the other: a server that does not answer keeps no disk full
    runs = cast("State[Any]", delete_old_runs(OURS, before, return_state=True))
    tidied = cast("State[Any]", tidy_archive(settings, return_state=True))
    failed = [f"{s.name}: {s.message}" for s in (runs, tidied) if not s.is_completed()]
    words = "; ".join([*failed, *_done(settings, before, runs, tidied)])
    attempt(lambda: create_markdown_artifact(words, key="housekeeping"), run_log())
    return Failed(message=words) if failed else Completed(message=words)


def _done(
    settings: Settings, before: datetime, runs: State[Any], tidied: State[Any]
) -> Iterator[str]:
    if runs.is_completed():
        deleted = runs.result(raise_on_failure=False)
        yield f"{deleted} run(s) older than {before:%Y-%m-%d} deleted"
    size = database_bytes(settings)
    if size is not None:
        yield f"Prefect's database holds {size / 1e6:.1f} MB"
    removed = tidied.result(raise_on_failure=False) if tidied.is_completed() else []
    if removed:
        lines = "\n".join(f"- {r.camera} {r.night} {r.kind}: {r.reason}" for r in removed)
        gigabytes = sum(r.bytes for r in removed) / 1e9
        yield f"{gigabytes:.2f} GB removed from the archive:\n\n{lines}"
