"""Typed, bounded parameters shared by the routers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MAX_INDEX = 10_000_000
DEFAULT_PAGE, MAX_PAGE = 100, 1000
MIN_WIDTH, MAX_WIDTH = 16, 4096


def iso_date(value: object) -> object:
    """Refuse a night that is not written as a date."""
    # pydantic also reads numbers as days or seconds since 1970: not here.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("write the night as YYYY-MM-DD")
    return value


def iso_time(value: object) -> object:
    """Mend the blank of an unescaped plus sign; refuse what is no ISO 8601 time."""
    if isinstance(value, str):
        # an unescaped "+" of "+00:00" arrives as a blank
        value = re.sub(r" (?=\d{2}:?\d{2}$)", "+", value.strip())
        if not re.match(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError("write the time as YYYY-MM-DDTHH:MM:SSZ")
    return value


def utc(value: datetime) -> datetime:
    """Make aware in UTC; what has no zone is UTC."""
    if not 1 < value.year < 9999:  # a zone could lead out of what datetime can hold
        return value.replace(tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _within(low: datetime, high: datetime) -> Callable[[datetime], datetime]:
    """Make aware in UTC; what lies beyond any possible frame becomes the bound itself."""

    def clamp(value: datetime) -> datetime:
        if value.year < low.year:
            return low
        if value.year > high.year:
            return high
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return min(max(aware, low), high)

    return clamp


NightDate = Annotated[date, BeforeValidator(iso_date)]
NightPath = Annotated[
    date,
    BeforeValidator(iso_date),
    Path(description="Night, named by the date of its first local noon.", examples=["2026-11-22"]),
]
IndexPath = Annotated[
    int, Path(ge=0, le=MAX_INDEX, description="Number of the frame in its night.", examples=[17])
]
_DAY = timedelta(days=1)
# an empty range stays empty, and a range beyond the bounds is empty without being backwards
Start = Annotated[datetime, BeforeValidator(iso_time), AfterValidator(_within(FIRST, LAST))]
End = Annotated[
    datetime, BeforeValidator(iso_time), AfterValidator(_within(FIRST + _DAY, LAST + _DAY))
]
StartQuery = Annotated[
    Start | None,
    Query(description="First instant, inclusive (ISO 8601; UTC where no zone is given)."),
]
EndQuery = Annotated[End | None, Query(description="Last instant, exclusive.")]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items on a page.")]
CursorQuery = Annotated[
    str | None,
    Query(
        max_length=300,
        description="Opaque: the `cursor` of the page before. What was written since comes next.",
    ),
]
CameraQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=120,
        description="Camera (name or slug). Left out: the one that delivered the newest frame.",
    ),
]
WidthQuery = Annotated[
    int | None,
    Query(
        ge=MIN_WIDTH,
        le=MAX_WIDTH,
        description="Width in pixels; never enlarged. Left out: the stored picture as it is.",
    ),
]
HeightQuery = Annotated[
    int | None,
    Query(ge=MIN_WIDTH, le=MAX_WIDTH, description="Height in pixels; with `width`: fits in both."),
]
FormatQuery = Annotated[
    Literal["jpeg", "png", "webp", "avif"] | None,
    Query(description="Left out: JPEG, or what the Accept header takes where it refuses JPEG."),
]
QualityQuery = Annotated[
    int, Query(ge=10, le=100, description="Quality where the picture is encoded anew.")
]


FRAME_FIELDS = (
    *("id", "camera", "night", "index", "time", "local_time", "processed", "processed_at"),
    *("revision", "exposures_s", "gain", "measurements", "links"),
)
_FIELD = re.compile(r"measurements\.[a-z][a-z0-9_]{0,62}")
MAX_FIELDS = 40


def _known_fields(text: str | None) -> str | None:
    for name in split_list(text or ""):
        if name not in FRAME_FIELDS and _FIELD.fullmatch(name) is None:
            raise ValueError(
                f"{name[:60]!r} is no field; take {', '.join(FRAME_FIELDS)} or measurements.NAME"
            )
    if len(split_list(text or "")) > MAX_FIELDS:
        raise ValueError(f"{MAX_FIELDS} fields are the most")
    return text


def split_list(text: str) -> tuple[str, ...]:
    """Return the different names of a comma-separated list, in order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


_ANY = "|".join((*FRAME_FIELDS, r"measurements\.[a-z][a-z0-9_]{0,62}"))

FieldsQuery = Annotated[
    str | None,
    Query(
        max_length=1500,
        description="Only these fields of each frame (`id` always): names as in the answer, "
        "`measurements.NAME` for one measurement.",
        examples=["time,measurements.sky_brightness_mag_arcsec2"],
        json_schema_extra={"pattern": f"^(?:{_ANY})(?:,(?:{_ANY})){{0,{MAX_FIELDS - 1}}}$"},
    ),
    AfterValidator(_known_fields),
]
