"""Keep Prefect's database small, and show that it is.

The server we start removes old runs, logs, artifacts and events by itself
(``allsky360.supervisor.prefect_env``); a server run elsewhere does so only when its operator asked
for it. So the flow removes what is left of our own deployments, and reports.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from allsky360.config import load_settings
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
    deleted = delete_old_runs(OURS, before)
    size = database_bytes(settings)
    words = f"{deleted} run(s) older than {before:%Y-%m-%d} deleted"
    if size is not None:
        words += f"; Prefect's database holds {size / 1e6:.1f} MB"
    removed = tidy_archive(settings)
    if removed:
        gigabytes = sum(r.bytes for r in removed) / 1e9
        words += f"; {gigabytes:.2f} GB removed from the archive:\n\n"
        words += "\n".join(f"- {r.camera} {r.night} {r.kind}: {r.reason}" for r in removed)
    attempt(lambda: create_markdown_artifact(words, key="housekeeping"), run_log())
    return Completed(message=words)
