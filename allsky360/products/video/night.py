"""The pictures of a night of the archive, or of a part of it, as shots of a video."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from allsky360.archive import FrameRecord
from allsky360.archive.layout import picture_path
from allsky360.config_overlay import OverlaySettings
from allsky360.config_video import Deflicker
from allsky360.model import Site
from allsky360.products.frame import ProductFrame
from allsky360.products.source import FrameUnusable, NightFrames
from allsky360.products.video import deflicker
from allsky360.products.video.plan import VideoError
from allsky360.products.video.shot import Labels, Shot
from allsky360.sky.ephemeris import sun_altitude_deg

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


@dataclass(frozen=True)
class Steady:
    """How flicker is taken out.

    Attributes
    ----------
    how
        By the brightness measured on pictures, by that which follows from the exposure, or not.
    frames
        Neighbours on either side that count.
    gain_unit_db
        Decibels of the camera's unit of gain.
    """

    how: Deflicker = "off"
    frames: int = 12
    gain_unit_db: float = 0.1


UNSTEADY = Steady()


@dataclass(frozen=True)
class NightShots:
    """Shots of a night.

    Attributes
    ----------
    shots
        In order.
    left_out
        Frames that cannot be shown: name and reason.
    passed_over
        How many lie outside of what was asked for.
    """

    shots: tuple[Shot, ...]
    left_out: tuple[tuple[str, str], ...]
    passed_over: int


def parse_instant(text: str, night: date, site: Site | None) -> datetime:
    """Read ``22:30`` as the UTC clock of a night, or ISO 8601 (UTC where it names no zone).

    Raises
    ------
    VideoError
        It is neither.
    """
    match = _CLOCK.fullmatch(text.strip())
    try:
        if match is None:
            at = datetime.fromisoformat(text.strip())
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        clock = time(int(match[1]), int(match[2]), int(match[3] or 0), tzinfo=UTC)
    except ValueError as error:
        raise VideoError(
            f"{text!r} is no time.", mend="Write 22:30, or 2026-11-22T22:30 (UTC)."
        ) from error
    noon = site.noon_utc(night) if site is not None else datetime.combine(night, time(12), UTC)
    at = datetime.combine(noon.date(), clock)
    while at < noon:
        at += timedelta(days=1)
    return at


def night_shots(
    frames: NightFrames,
    *,
    first: datetime | None = None,
    last: datetime | None = None,
    sun_below_deg: float = 90.0,
    every: int = 1,
    steady: Steady = UNSTEADY,
    overlay: OverlaySettings | None = None,
) -> NightShots:
    """Choose a night's processed frames.

    Parameters
    ----------
    frames
        The night.
    first, last
        Instants between which frames begin, both included; None leaves that end open.
    sun_below_deg
        Frames with the Sun below it; one whose Sun is not known is taken.
    every
        Take every n-th only.
    steady
        How flicker is taken out.
    overlay
        Draw this where the lens is known.
    """
    records = frames.records()
    wanted = [
        r
        for r in records
        if r.processed and (first is None or r.time >= first) and (last is None or r.time <= last)
    ]
    dark = [r for r in wanted if is_dark(r.scalars, frames.site, r.time, sun_below_deg)][::every]
    shots, levels, left_out = [], [], []
    for record in dark:
        path = picture_path(frames.folder, frames.version, record.ref.index)
        labels = None
        try:
            if not path.is_file():
                raise FrameUnusable("its picture is missing.")
            if overlay is not None:
                labels = labels_for(frames.load(record), overlay)
        except FrameUnusable as error:
            left_out.append((record.ref.id, error.message))
            continue
        shots.append(Shot(path, record.ref.id, labels=labels))
        levels.append(_level(record, path, steady))
    return NightShots(
        tuple(steadied(shots, levels, steady)), tuple(left_out), len(records) - len(dark)
    )


def _level(record: FrameRecord, path: Path, steady: Steady) -> float:
    if steady.how == "picture":
        return deflicker.file_level(path)
    if steady.how == "exposure" and record.exposures_s:
        return deflicker.exposure_level(
            record.exposures_s[0], gain_db=(record.gain or 0.0) * steady.gain_unit_db
        )
    return float("nan")


def steadied(shots: Sequence[Shot], levels: Sequence[float], steady: Steady) -> list[Shot]:
    """Return the shots with factors that even their levels out."""
    if steady.how == "off":
        return list(shots)
    factors = deflicker.gains(levels, steady.frames)
    return [replace(s, gain=float(f)) for s, f in zip(shots, factors, strict=True)]


def is_dark(
    scalars: Mapping[str, float], site: Site | None, when: datetime, sun_below_deg: float
) -> bool:
    """Whether the Sun stands below an altitude; True where nobody knows."""
    if sun_below_deg >= 90:
        return True
    sun = scalars.get("sun_altitude_deg")
    if sun is None and site is not None:
        sun = sun_altitude_deg(site, when)
    return sun is None or sun < sun_below_deg


def labels_for(frame: ProductFrame, overlay: OverlaySettings) -> Labels | None:
    """Return what is drawn over a frame; None without lens or site."""
    if frame.lens is None or frame.site is None:
        return None
    fields = {"exposure_s": frame.exposure_s, **frame.scalars}
    return Labels(frame.lens, frame.site, frame.middle, overlay, fields)
