"""Copy the archive off-site, a task a night."""

from __future__ import annotations

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from tasks.burst import run_log


@task(
    name="copy-off-site",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[30, 120, 600],
)
def copy_off_site(settings: Settings, camera: str, nights: list[str]) -> dict[str, int]:
    """Copy what is new of a camera's nights, and what they share.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer; what was copied counts.
    """
    from allsky360.offsite.copy import copy_nights

    done = copy_nights(settings, [(camera, date.fromisoformat(n)) for n in nights])
    run_log().info(
        "%s: %d files, %.1f MB copied, %d were safe",
        camera,
        done.files,
        done.bytes / 1e6,
        done.there,
    )
    return {"files": done.files, "bytes": done.bytes}
