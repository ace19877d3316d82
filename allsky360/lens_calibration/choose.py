"""Which frames of a night to solve: dark, starry, moonless, spread over the night."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import FrameRecord, FrameRef
from allsky360.model import Site
from allsky360.sky.ephemeris import sun_moon_track

DARK_DEG = -9.0
"""Sun altitude below which a frame may show stars enough; the solver's own limit."""

FEW_STARS = 30
"""Frames of which processing found fewer are not tried."""

_FULLY_DARK_DEG = -15.0
_UNKNOWN = 0.5  # worth of a frame not processed yet, in shares of the night's best


def dark_frames(records: Sequence[FrameRecord], site: Site) -> list[FrameRecord]:
    """Return the frames of nautical night or darker."""
    if not records:
        return []
    sun = sun_moon_track(site, [r.time for r in records]).sun_altitude_deg
    return [r for r, altitude in zip(records, sun, strict=True) if altitude < DARK_DEG]


def choose(records: Sequence[FrameRecord], site: Site, count: int) -> list[FrameRef]:
    """Order the frames worth trying, best first.

    The dark hours are cut into ``count`` parts; the best frame of every part comes first, then the
    second best of every part, and so on. Worth is the number of stars that processing found,
    halved and more by moonlight and twilight; a frame not processed yet counts as a middling one.

    Parameters
    ----------
    records
        Frames of a night.
    site
        Where the camera stands.
    count
        Parts.
    """
    dark = dark_frames(records, site)
    if not dark:
        return []
    times = np.array([r.time.timestamp() for r in dark])
    stars = np.array([r.scalars.get("stars_found", np.nan) for r in dark])
    known = np.isfinite(stars)
    best = float(np.max(stars[known])) if known.any() else 1.0
    worth = np.where(known, np.nan_to_num(stars) / max(best, 1.0), _UNKNOWN)
    worth = worth * _darkness(dark, site)
    usable = ~known | (stars >= FEW_STARS)
    first, span = float(times.min()), max(float(np.ptp(times)), 1.0)
    part = np.minimum((count * (times - first) / span).astype(int), count - 1)
    # Of equal worth the one in the middle of its part: neighbours in time tell the same.
    middle = first + (part + 0.5) * span / count
    off = np.abs(times - middle) * count / span
    rows: list[list[int]] = []
    for k in range(count):
        mine = np.flatnonzero(usable & (part == k))
        rows.append(list(mine[np.lexsort((off[mine], -worth[mine]))]))
    turns = zip_longest(*rows)
    order: list[int] = []
    for turn in turns:
        here = [i for i in turn if i is not None]
        order += sorted(here, key=lambda i: -worth[i])
    return [dark[i].ref for i in order]


def _darkness(records: Sequence[FrameRecord], site: Site) -> NDArray[np.float64]:
    """Return 1 for a frame in full darkness, less under twilight and Moon."""
    lights = sun_moon_track(site, [r.time for r in records])
    height = np.clip(np.sin(np.radians(lights.moon_altitude_deg)), 0.0, 1.0)
    moonlight = lights.moon_illumination**2 * height
    twilight = np.clip(lights.sun_altitude_deg - _FULLY_DARK_DEG, 0.0, None) / 6.0
    return np.asarray(1.0 / (1.0 + 4.0 * moonlight + 2.0 * twilight))
