"""Which nights are meant: ``2026-11-14``, ``2026-11-01..2026-11-14``, ``latest``, ``all``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from allsky360.archive import Archive
from allsky360.archive.empty import nothing_archived
from allsky360.archive.layout import parse_night
from allsky360.errors import AllskyError


def nights_of(archive: Archive, text: str, camera: str = "") -> list[tuple[str, date]]:
    """List (camera, night) that the archive holds, oldest first.

    Parameters
    ----------
    archive
        Where they lie.
    text
        A night, a range ``FIRST..LAST`` of which either may be left away, ``latest`` or ``all``;
        several with commas.
    camera
        Slug or device name; empty: every camera.

    Raises
    ------
    AllskyError
        The text names no night, or none that the archive holds.
    """
    cameras = [archive.slug(camera)] if camera else archive.cameras()
    known = {c: archive.nights(c) for c in cameras}
    if not known:
        raise nothing_archived(archive.root)
    found: set[tuple[date, str]] = set()
    for part in (p.strip() for p in text.split(",")):
        for slug, nights in known.items():
            found |= {(night, slug) for night in _wanted(part, nights)}
    if not found:
        place = f"of {camera} " if camera else ""
        raise AllskyError(
            f"the archive {archive.root} holds no night {place}in {text!r}.",
            mend="'allsky360 versions list' shows the nights there are.",
        )
    return [(slug, night) for night, slug in sorted(found)]


def _wanted(part: str, nights: Sequence[date]) -> list[date]:
    if part == "all":
        return list(nights)
    if part == "latest":
        return list(nights[-1:])
    first, dots, last = part.partition("..")
    begin = _date(first, part) if first or not dots else date.min
    end = (_date(last, part) if last else date.max) if dots else begin
    return [n for n in nights if begin <= n <= end]


def _date(text: str, part: str) -> date:
    night = parse_night(text)
    if night is None:
        raise AllskyError(
            f"{part!r} is no night.",
            mend="Write 2026-11-14, 2026-11-01..2026-11-14, latest or all.",
        )
    return night
