"""When was it taken: reading the many ways files write a time. Pure.

A time without a zone is read as UTC and the source says so, because cameras set to local time
write the same text; only a person can know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from allsky360.camera.decode import Card, card_number

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_CTIME = re.compile(
    r"(?:[A-Z]{3},?\s+)?([A-Z]{3})\s+(\d{1,2})\s+(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)\s+(\d{4})$"
)
_NUMERIC = re.compile(
    r"(\d{4})[-:/.](\d{1,2})[-:/.](\d{1,2})(?:[T\s]+(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?)?"
    r"\s*(Z|UTC?|[+-]\d{2}:?\d{2})?$"
)
_OLD_FITS = re.compile(r"(\d{2})/(\d{2})/(\d{2})$")  # dd/mm/yy, before 2000
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?$")


def parse_time(text: str) -> datetime | None:
    """Read a date with time: ISO 8601, EXIF's colons, or ``MON JUN 15 06:03:04 2015``."""
    text = text.strip().upper()
    if match := _CTIME.match(text):
        month, day, hour, minute, second, year = match.groups()
        if month not in _MONTHS:
            return None
        return _build(int(year), _MONTHS.index(month) + 1, day, hour, minute, second, "")
    if (match := _NUMERIC.match(text)) and match[4] is not None:
        year, month, day, hour, minute, second, zone = match.groups()
        return _build(int(year), int(month), day, hour, minute, second or "0", zone or "")
    return None


def parse_date_and_clock(date: str, clock: str) -> datetime | None:
    """Read a date from one place and a time of day from another."""
    date, clock = date.strip(), clock.strip()
    if not _CLOCK.match(clock):
        return None
    if old := _OLD_FITS.match(date):
        date = f"19{old[3]}-{old[2]}-{old[1]}"
    elif (numeric := _NUMERIC.match(date)) and numeric[4] is None:
        date = f"{numeric[1]}-{numeric[2]}-{numeric[3]}"
    else:
        return None
    return parse_time(f"{date}T{clock}")


def from_unix(seconds: float) -> datetime | None:
    """Read seconds since 1970; None when no camera can have lived then."""
    if not 0 < seconds < 4102444800:  # NaN compares false
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def start_from_cards(
    cards: Mapping[str, Card], comments: Mapping[str, str], exposure_s: float | None
) -> tuple[datetime, str] | None:
    """Find the start of the exposure in FITS cards.

    Returns
    -------
    start, source
        Source names the card, and what was made of it. None when no card tells.
    """

    def text(key: str) -> str:
        value = cards.get(key, "")
        return value if isinstance(value, str) else ""

    for key in ("DATE-BEG", "DATE-OBS", "DATE_OBS", "UT", "OBSSTART"):
        found = parse_time(text(key))
        if found is None:
            continue
        if exposure_s and re.search(r"\bend\b", comments.get(key, ""), re.IGNORECASE):
            return found - timedelta(seconds=exposure_s), f"{key} less the exposure time"
        return found, key
    for date, clock in (
        ("DATE-OBS", "TIME-OBS"),
        ("DATE-OBS", "UTSTART"),
        ("DATE-OBS", "UT"),
        ("DATE-OBS", "TIME"),
        ("DATE-OBS", "UTC"),
        ("OBSDATE", "OBSSTART"),
    ):
        found = parse_date_and_clock(text(date), text(clock))
        if found is not None:
            return found, f"{date} and {clock}"
    found = parse_time(text("DATE-END"))
    if found is not None and exposure_s:
        return found - timedelta(seconds=exposure_s), "DATE-END less the exposure time"
    for key, epoch in (("MJD-OBS", 40587.0), ("JD", 2440587.5)):
        days = card_number(cards, key)
        found = from_unix((days - epoch) * 86400.0) if days is not None else None
        if found is not None:
            return found, key
    return None


def _build(
    year: int, month: int, day: str, hour: str, minute: str, second: str, zone: str
) -> datetime | None:
    try:
        at = datetime(year, month, int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError:
        return None
    seconds = float(second)
    if seconds >= 61:  # 60 is a leap second
        return None
    offset = 0
    if zone[:1] in ("+", "-"):
        digits = zone[1:].replace(":", "")
        offset = (int(digits[:2]) * 60 + int(digits[2:])) * (1 if zone[0] == "+" else -1)
    try:
        return at + timedelta(seconds=seconds) - timedelta(minutes=offset)
    except OverflowError:
        return None
