"""Transients of archived frames: what a search needs of the frame before, and links to neighbours.

The frame before is read back as raw: it is in the archive before this frame is, whoever processes
which when. Links and kinds need the neighbours' findings: whoever of two neighbours is written last
sets them, in both records, while the version is locked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.imaging.linear import LinearFrame
from allsky360.imaging.steps import StepLog
from allsky360.model import Exposure, Site
from allsky360.sky.transients import Searched, Transient, relink

if TYPE_CHECKING:
    from allsky360.archive import Archive, FrameRef, ProcessedWriter
    from allsky360.measure.frame import Measurement
    from allsky360.measure.transients import Pair, TransientSearch
    from allsky360.sky.lens import LensModel
    from allsky360.sky.satellites import Elements
    from allsky360.sky.transients import Directions

log = logging.getLogger(__name__)

VERSION = 1
DARK_SUN_DEG = -5.0
"""With the Sun above this the frame before is not even read."""


def pair_of(
    archive: Archive, ref: FrameRef, exposure: Exposure, site: Site | None, settings: Settings
) -> Pair:
    """Return a frame's longest exposure and that of the frame before, reduced, or why not."""
    from allsky360.measure.transients import Pair
    from allsky360.sky.ephemeris import EphemerisError, sun_altitude_deg
    from allsky360.sky.streaks_plane import streak_plane

    if not settings.transients.enabled:
        return Pair(reason="transients.enabled is false")
    if site is None:
        return Pair(reason="the site is not known")
    before = ref.index - 1
    if before < 0:
        return Pair(reason="it is the first of its night")
    try:
        altitude = sun_altitude_deg(site, exposure.start)
        if altitude > DARK_SUN_DEG:
            return Pair(reason=f"it is not dark, the Sun stands at {altitude:.0f} degrees")
        earlier = archive.longest_exposure(replace(ref, index=before))
        return Pair(streak_plane(exposure), streak_plane(earlier), before)
    except (AllskyError, EphemerisError, OSError) as error:
        return Pair(before_index=before, reason=f"the frame before cannot be read: {error}")
    except ValueError as error:
        return Pair(before_index=before, reason=str(error))


def search_or_none(
    pair: Pair,
    frame: LinearFrame,
    index: int,
    site: Site | None,
    sky: Measurement | None,
    lens: LensModel | None,
    settings: Settings,
    steps: StepLog,
) -> TransientSearch:
    """Search a frame; what goes wrong costs the transients, not the frame."""
    from allsky360.measure.transients import Rules, TransientSearch, search_transients

    s = settings.transients
    try:
        with steps.step("transients", VERSION) as note:
            found = search_transients(
                pair,
                frame,
                index,
                site,
                sky,
                lens=lens,
                elements=_elements(settings, steps),
                rules=Rules(s.min_altitude_deg, s.max_pause_s, s.min_significance),
            )
            note["found"] = len(found.transients)
    except (AllskyError, ValueError, ArithmeticError, LookupError) as error:
        log.exception("the search for transients failed")
        message = f"Transients were not searched: {type(error).__name__}: {error}"
        steps.warnings.append(message)
        return TransientSearch(reason=message)
    steps.warnings.extend(found.warnings)
    return found


def _elements(settings: Settings, steps: StepLog) -> Elements | None:
    from allsky360.sky.satellites import read_elements

    if settings.transients.tle_file is None:
        return None
    try:
        return read_elements(settings.transients.tle_file)
    except AllskyError as error:
        steps.warnings.append(f"Satellites are not named: {error.message}")
        return None


def entries_of(search: TransientSearch) -> dict[str, Any]:
    """Return what a frame's record says about its transients."""
    about: dict[str, Any] = {"searched": search.searched, "disturbed": search.disturbed}
    if search.before_index >= 0:
        about["against"] = search.before_index
    if search.reason:
        about["reason"] = search.reason
    return {
        "transients": [t.to_json() for t in search.transients],
        "transient_search": about,
    }


def searched_of(record: Mapping[str, Any]) -> Searched:
    """Read the transients of a frame's record; what cannot be read is left out, and said."""
    about = record.get("transient_search")
    found = []
    for item in record.get("transients") or ():
        try:
            found.append(Transient.from_json(item))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a transient of frame %s cannot be read: %s", record.get("id"), error)
    if not isinstance(about, dict):
        return Searched(False, tuple(found))
    well = about.get("searched") is True and not about.get("disturbed")
    return Searched(well, tuple(found))


def relink_neighbours(writer: ProcessedWriter, index: int, directions: Directions) -> list[int]:
    """Link a frame just written with its neighbours, in all their records.

    Returns
    -------
    list of int
        Frames whose records changed.
    """

    def change(records: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        if not any(records[k].get("transients") for k in records):
            return {}
        frames = {k: searched_of(r) for k, r in records.items() if "transient_search" in r}
        out = {}
        for k, new in relink(frames, index, directions).items():
            if new != frames[k]:
                out[k] = {**records[k], "transients": [t.to_json() for t in new.transients]}
        return out

    return writer.revise(index - 2, index + 2, change)
