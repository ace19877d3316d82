"""Copy the archive off-site."""

from __future__ import annotations

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings
from tasks.burst import run_log
from tasks.patience import HOUR_S, end_if_hung

STANDSTILL_S = 6 * HOUR_S  # the largest file, a night's video, over a slow line


@task(
    name="copy-off-site",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[30, 120, 600],
)
def copy_off_site(settings: Settings, nights: list[tuple[str, str]]) -> dict[str, int]:
    """Copy what is new of nights (camera and night of each), and what they share.

    A run in which nothing becomes safe for six hours is ended: it hangs.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer, or folders cannot be read; what was copied counts.
    """
    from allsky360.offsite.copy import copy_nights

    def alive() -> None:
        end_if_hung(STANDSTILL_S)

    alive()
    done = copy_nights(settings, [(c, date.fromisoformat(n)) for c, n in nights], alive=alive)
    run_log().info(
        "%d files, %.1f MB copied, %d were safe", done.files, done.bytes / 1e6, done.there
    )
    return {"files": done.files, "bytes": done.bytes}
