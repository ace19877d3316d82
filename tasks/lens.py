"""Which nights wait for their lens calibration, and the task that does one."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings, clock_from
from allsky360.errors import AllskyError
from tasks.burst import run_log

NEEDS_A_PERSON = frozenset({"wrong-time", "wrong-site", "tilted", "unreadable"})
"""Refusals that no other night will mend."""


@task(name="calibrate-night", cache_policy=NO_CACHE, persist_result=False)
def calibrate(settings: Settings, camera: str, night: str, force: bool) -> dict[str, Any]:
    """Solve the lens from one night; write a lens file where there was none or it moved.

    Runs where it is called, not on Dask: a minute a day, and no cluster is needed.

    Returns
    -------
    dict
        ``camera``, ``night``, ``outcome``, ``reason``, ``message``, ``serial``, ``markdown``.

    Raises
    ------
    AllskyError
        For what lies not in the sky: no such night, a disk that refuses.
    """
    from allsky360.lens_calibration import calibrate_night
    from allsky360.lens_calibration.words import night_line, report_markdown

    report = calibrate_night(
        settings.storage.root, camera, date.fromisoformat(night), settings, force=force
    )
    entry = report.entry
    run_log().info("%s: %s", report.camera, night_line(entry))
    return {
        "camera": report.camera,
        "night": entry.night.isoformat(),
        "outcome": entry.outcome,
        "reason": entry.reason,
        "message": entry.message,
        "serial": entry.serial,
        "markdown": report_markdown(report),
    }


def due_nights(settings: Settings) -> list[tuple[str, str]]:
    """List what waits: (camera, night), oldest first. Reads no pixels."""
    from allsky360.archive import Archive
    from allsky360.lens_calibration import nights_due

    archive = Archive(settings.storage.root)
    now = clock_from(settings).now()
    due = []
    for camera in archive.cameras():
        try:
            due += [(camera, night.isoformat()) for night in nights_due(archive, camera, now)]
        except AllskyError as error:  # a damaged night of one camera holds up no other
            run_log().error("%s is left out: %s", camera, error)
    return due


def wanted_nights(settings: Settings, camera: str, night: str) -> list[tuple[str, str]]:
    """List what was asked for by hand: a night, or the newest, of a camera, or of all."""
    from allsky360.archive import Archive

    archive = Archive(settings.storage.root)
    found = []
    for slug in [archive.slug(camera)] if camera else archive.cameras():
        nights = [n.isoformat() for n in archive.nights(slug)]
        found += [(slug, n) for n in ([night] if night else nights[-1:])]
    return found
