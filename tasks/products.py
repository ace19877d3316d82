"""The tasks of a night's products: grow what there is, make one product, write the report.

They run where the flow runs, not on Dask: a grower keeps state and files of this machine, and an
encoder that is killed for memory must take no frames with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from allsky360.config import Settings, clock_from
from allsky360.errors import AllskyError
from tasks.burst import run_log


@task(name="grow-night", cache_policy=NO_CACHE, persist_result=False)
def grow(settings: Settings, camera: str, night: str, anew: bool = False) -> dict[str, Any]:
    """Hand a night's new frames to every product, each frame decoded once.

    Returns
    -------
    dict
        ``frames`` handed over now, ``complete``, and ``failed``: products given up, with reason.

    Raises
    ------
    ProductsBusy
        Another process grows this night.
    AllskyError
        The archive cannot be read.
    """
    return _grow(settings, camera, night, (), anew)


@task(
    name="make-product",
    task_run_name="make-{product}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[20, 120],
)
def make_product(
    settings: Settings, camera: str, night: str, product: str, anew: bool = False
) -> dict[str, Any]:
    """Bring one product up to the night's last frame; retried alone.

    Returns
    -------
    dict
        As :func:`grow`.

    Raises
    ------
    AllskyError
        The product was given up, or another process grows this night.
    """
    made = _grow(settings, camera, night, (product,), anew)
    if made["failed"]:
        raise AllskyError(f"{product} of {camera} {night} failed: {made['failed'][product]}")
    return made


@task(
    name="write-report",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_delay_seconds=30,
)
def write_report(
    settings: Settings, camera: str, night: str, failed: dict[str, str]
) -> dict[str, Any]:
    """Write the night report into the archive.

    Returns
    -------
    dict
        ``markdown`` for the UI, ``complete``.
    """
    from allsky360.archive import Archive
    from allsky360.report.make import make_report

    archive = Archive(settings.storage.root)
    made = make_report(
        archive, camera, date.fromisoformat(night), settings, now=clock_from(settings).now(),
        failed=failed,
    )  # fmt: skip
    return {"markdown": made.markdown, "complete": made.record.complete}


@task(
    name="copy-night",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[30, 120, 600],
)
def copy_night(settings: Settings, camera: str, night: str) -> dict[str, int]:
    """Copy what is new of a night to the object store; where none is set, nothing.

    Raises
    ------
    ObjectsError
        The store refuses or does not answer.
    """
    from allsky360.objects.push import push_night

    if not (settings.objects.url and settings.objects.push):
        return {"files": 0, "bytes": 0}
    root = settings.storage.root
    copied = push_night(root, camera, date.fromisoformat(night), settings.objects)
    run_log().info("%s %s: %d files, %d bytes copied", camera, night, copied.files, copied.bytes)
    return {"files": copied.files, "bytes": copied.bytes}


def due(settings: Settings, nights: int) -> list[tuple[str, str, str]]:
    """List nights that wait: (camera, night, why), oldest first."""
    from allsky360.archive import Archive
    from allsky360.products.due import due_nights

    archive = Archive(settings.storage.root)
    now = clock_from(settings).now()
    return [(d.camera, d.night.isoformat(), d.why) for d in due_nights(archive, now, nights=nights)]


def wanted(settings: Settings, camera: str, nights: str) -> list[tuple[str, str, str]]:
    """List what was asked for by hand."""
    from allsky360.archive import Archive
    from allsky360.reprocess.nights import nights_of

    archive = Archive(settings.storage.root)
    found = nights_of(archive, nights, camera)
    return [(slug, night.isoformat(), "asked for") for slug, night in found]


def product_names(settings: Settings, only: Sequence[str] = ()) -> list[str]:
    """Names of the products that are switched on."""
    from allsky360.products.registry import growers_for

    return [grower.name for grower in growers_for(settings.products, only)]


def growing_nights(settings: Settings) -> list[tuple[str, str]]:
    """List the newest night of each camera, where it is not over yet: (camera, night)."""
    from allsky360.archive import Archive

    archive = Archive(settings.storage.root)
    now = clock_from(settings).now()
    found = []
    for camera in archive.cameras():
        night = archive.nights(camera)[-1]
        try:
            site = archive.site(camera, night)
        except (AllskyError, OSError) as error:  # it holds up no other camera
            run_log().error("%s %s is left out: %s", camera, night, error)
            continue
        if site is not None and now < site.noon_utc(night + timedelta(days=1)):
            found.append((camera, night.isoformat()))
    return found


def _grow(
    settings: Settings, camera: str, night: str, only: Sequence[str], anew: bool
) -> dict[str, Any]:
    from allsky360.products.grow import grow_night
    from allsky360.products.registry import growers_for

    report = grow_night(
        settings.storage.root,
        camera,
        date.fromisoformat(night),
        settings,
        growers=growers_for(settings.products, only),
        anew=anew,
    )
    log = run_log()
    log.info(
        "%s %s: %d frame(s) in %.1f s, %s",
        camera,
        night,
        report.offered,
        report.seconds,
        "complete" if report.complete else f"{report.waiting} not processed yet",
    )
    for index, reason in report.unusable.items():
        log.warning("frame %d is left out: %s", index, reason)
    return {"frames": report.offered, "complete": report.complete, "failed": dict(report.failed)}
