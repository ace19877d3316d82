"""Remove old runs from Prefect's database, and old data from the archive."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings

if TYPE_CHECKING:
    from allsky360.archive.retention import Removal

PAGE = 100
MOST = 5000  # runs deleted in one go: more than a day makes


@task(name="delete-old-runs", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=30)
def delete_old_runs(tag: str, before: datetime) -> int:
    """Delete ended flow runs with our tag that are older than ``before``; return how many.

    Their task runs and states go with them; the server's vacuum removes their logs and artifacts.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterEndTime,
        FlowRunFilterTags,
    )
    from prefect.exceptions import ObjectNotFound

    old = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]), end_time=FlowRunFilterEndTime(before_=before)
    )
    deleted = 0
    with get_client(sync_client=True) as client:
        while deleted < MOST and (runs := client.read_flow_runs(flow_run_filter=old, limit=PAGE)):
            for run in runs:
                with contextlib.suppress(ObjectNotFound):  # the server's vacuum was quicker
                    client.delete_flow_run(run.id)
            deleted += len(runs)
    return deleted


def database_bytes(settings: Settings) -> int | None:
    """Return the size of our own server's database; None when the server is elsewhere."""
    file = settings.storage.root / "prefect" / "prefect.db"
    return file.stat().st_size if not settings.prefect.url and file.exists() else None


@task(name="tidy-archive", cache_policy=NO_CACHE, persist_result=False)
def tidy_archive(settings: Settings) -> list[Removal]:
    """Remove from the archive what the settings of retention no longer keep; return what went."""
    from allsky360.archive.elsewhere import elsewhere_of
    from allsky360.archive.retention import tidy

    return tidy(
        settings.storage.root,
        settings.retention,
        datetime.now(UTC),
        floor_bytes=settings.storage.min_free_gb * 1e9,
        elsewhere=elsewhere_of(settings.offsite),
    )
