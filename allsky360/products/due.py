"""Which nights wait for their products: dawn has come, the night is over, or frames came after.

Answered from records alone, without a picture being read, so that it may be asked often. What is
asked of is the night report: it is made last, and says what it was made from.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from allsky360.archive import Archive
from allsky360.archive.products import ProductRecord, read_product
from allsky360.errors import AllskyError
from allsky360.sky.night import night_times

log = logging.getLogger(__name__)

REPORT = "report"
AFTER_DAWN = timedelta(minutes=10)
"""The last dark frames are processed by then."""

TRY_AGAIN = timedelta(hours=6)
"""Pause before a product that failed is tried again without anything having changed."""


@dataclass(frozen=True)
class DueNight:
    """A night that waits, and why."""

    camera: str
    night: date
    why: str


def due_nights(archive: Archive, now: datetime, *, nights: int = 14) -> list[DueNight]:
    """List the nights that wait for their products, oldest first.

    A night that cannot be read is left out: it holds up no other.

    Parameters
    ----------
    archive
        Where they lie.
    now
        UTC, of the installation's clock.
    nights
        How many of the newest nights of each camera are looked at.
    """
    found = []
    for camera in archive.cameras():
        for night in archive.nights(camera)[-nights:] if nights else archive.nights(camera):
            try:
                why = why_due(archive, camera, night, now)
            except (AllskyError, OSError) as error:
                log.error("%s %s is left out: %s", camera, night, error)
                continue
            if why:
                found.append(DueNight(camera, night, why))
    return sorted(found, key=lambda d: (d.night, d.camera))


def why_due(archive: Archive, camera: str, night: date, now: datetime) -> str:
    """Say why a night's products are to be made now; empty where they are not."""
    site = archive.site(camera, night)
    if site is None:
        return ""
    times = night_times(site, night)
    dawn = times.civil.ends or times.sun.ends
    over = now >= times.ends
    if not over and (dawn is None or now < dawn + AFTER_DAWN):
        return ""
    total = archive.count(camera, night)
    processed = total - len(archive.unprocessed(camera, night))
    if not processed:
        return ""
    report = read_product(archive.root, camera, night, archive.version(camera, night), REPORT)
    if report is None:
        return "the night is over" if over else "dawn has come"
    if over and not report.complete and counts_of(report) != (total, processed):
        return "frames came after the report"
    if over and report.created_at < times.ends:
        return "the night is over"
    if failed_of(report) and now - report.created_at > TRY_AGAIN:
        return f"{', '.join(failed_of(report))} failed before"
    return ""


def counts_of(report: ProductRecord) -> tuple[int, int]:
    """Raw and processed frames there were when the report was made."""
    counts = report.parameters.get("counts")
    if not isinstance(counts, dict):
        return (-1, -1)
    return (int(counts.get("raw", -1)), int(counts.get("processed", -1)))


def failed_of(report: ProductRecord) -> list[str]:
    """Products that could not be made."""
    failed = report.parameters.get("failed")
    return sorted(failed) if isinstance(failed, dict) else []
