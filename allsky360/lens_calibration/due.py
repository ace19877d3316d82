"""Which nights still wait for their calibration: cheap, reads no pixels of a night already done."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from allsky360.archive import Archive
from allsky360.lens_calibration.choose import DARK_DEG, dark_frames
from allsky360.lens_history import read_history
from allsky360.lenses import lens_paths
from allsky360.model import Site
from allsky360.sky.ephemeris import sun_altitude_deg

LOOK_BACK = 2
"""Newest nights of a camera that are looked at."""


def nights_due(archive: Archive, camera: str, now: datetime) -> list[date]:
    """Return the nights of a camera to calibrate now, oldest first.

    A night that is over is due once. The night that still lasts is due while the camera has no lens
    at all and frames have come since the last try, so that measuring begins with the first clear
    hour.
    """
    done = {e.night: e for e in read_history(archive.root, camera)}
    due = []
    for night in archive.nights(camera)[-LOOK_BACK:]:
        site = archive.site(camera, night)
        entry = done.get(night)
        if site is None or (entry is not None and entry.over):
            continue
        if night_over(site, night, now):
            due.append(night)
        elif not lens_paths(archive.root, camera):
            records = archive.frames(camera, night, entry.frames if entry is not None else 0)
            if dark_frames(records, site):
                due.append(night)
    return due


def night_over(site: Site, night: date, now: datetime) -> bool:
    """Whether no more dark frames of a night will come."""
    begin = site.noon_utc(night)
    if now >= begin + timedelta(days=1):
        return True
    morning = now >= begin + timedelta(hours=12)
    return morning and sun_altitude_deg(site, now) > DARK_DEG
