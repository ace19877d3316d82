"""What a night's records say: columns over time, statistics, best frames, transients, gaps."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, FrameRecord, FrameRef
from allsky360.archive.journal import FaultLine, faults_between
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.night import NightTimes, night_times

Float = NDArray[np.float64]

CLEAR_BELOW = 0.2
"""Cloudy share of the sky below which a frame counts as clear."""

DARK_BELOW_DEG = -18.0
BEST, BEST_APART = 3, timedelta(minutes=30)
MOST_TRANSIENTS = 60
FRAMES_A_GAP = 3.0
"""A pause of so many usual pauses between frames is a gap."""

SHORTEST_GAP_S = 60.0


@dataclass(frozen=True)
class Gap:
    """A stretch without frames, UTC, and what is known about why."""

    begins: datetime
    ends: datetime
    cause: str

    @property
    def minutes(self) -> float:
        """Its length."""
        return (self.ends - self.begins).total_seconds() / 60.0


@dataclass(frozen=True)
class Sighting:
    """A meteor, satellite or aircraft of a frame."""

    ref: FrameRef
    time: datetime
    kind: str
    duration_s: float | None
    altitude_deg: float | None
    azimuth_deg: float | None
    magnitude: float | None
    peak_snr: float | None
    label: str


@dataclass(frozen=True, eq=False)
class NightFacts:
    """Everything the report shows.

    Attributes
    ----------
    camera, device, night, version
        Which night.
    site, times
        Where, and its boundaries.
    time
        ``(N,)`` datetime64[us], UTC starts of the frames in order of arrival.
    columns
        ``(N,)`` float64 each, NaN where a frame has no such number.
    raw, processed
        How many frames.
    best
        Indices of the best frames, best first.
    sightings
        Transients, meteors first, then by significance.
    sighting_counts
        By kind, all of them.
    gaps
        In order.
    unprocessed
        Reason by frame number, for frames without a picture.
    faults
        Of the camera and the disk, in order.
    """

    camera: str
    device: str
    night: date
    version: str
    site: Site
    times: NightTimes
    time: NDArray[np.datetime64]
    columns: Mapping[str, Float]
    raw: int
    processed: int
    best: tuple[int, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    sighting_counts: Mapping[str, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    unprocessed: Mapping[int, str] = field(default_factory=dict)
    faults: tuple[FaultLine, ...] = ()

    def column(self, name: str) -> Float:
        """One number over the night; all NaN where no frame has it."""
        found = self.columns.get(name)
        return np.full(len(self.time), np.nan) if found is None else found

    @property
    def dark(self) -> NDArray[np.bool_]:
        """``(N,)``, frames of astronomical night."""
        return np.asarray(self.column("sun_altitude_deg") < DARK_BELOW_DEG)


def gather(
    archive: Archive, camera: str, night: date, settings: Settings, now: datetime
) -> NightFacts:
    """Read a night's records.

    Parameters
    ----------
    archive
        Where they lie.
    camera, night
        Which night; ``camera`` is a slug.
    settings
        Which periods are captured.
    now
        UTC; a night that is not over has no gap after it.

    Raises
    ------
    AllskyError
        The night has no frame, or its site is not known.
    """
    records = archive.frames(camera, night)
    site = archive.site(camera, night)
    if not records or site is None:
        raise AllskyError(
            f"{camera} {night} has no frame to report on.",
            mend="'allsky360 versions list' shows the nights there are.",
        )
    time = np.array([r.time.replace(tzinfo=None) for r in records], "datetime64[us]")
    columns = _columns(records)
    columns["sun_altitude_deg"] = _sun(columns.get("sun_altitude_deg"), records, site)
    times = night_times(site, night)
    faults = tuple(faults_between(archive.root, times.begins, times.ends))
    sightings, counts = _sightings(archive, records)
    return NightFacts(
        camera=camera,
        device=archive.device(camera, night),
        night=night,
        version=archive.version(camera, night),
        site=site,
        times=times,
        time=time,
        columns=columns,
        raw=len(records),
        processed=sum(r.processed for r in records),
        best=best_frames(records, columns),
        sightings=sightings,
        sighting_counts=counts,
        gaps=tuple(find_gaps([r.time for r in records], times, site, settings, faults, now)),
        unprocessed=_unprocessed(archive.root, records),
        faults=faults,
    )


def _columns(records: Sequence[FrameRecord]) -> dict[str, Float]:
    names = {name for r in records for name in r.scalars}
    columns = {
        name: np.array([r.scalars.get(name, np.nan) for r in records], np.float64) for name in names
    }
    columns["exposure_s"] = np.array([max(r.exposures_s, default=np.nan) for r in records])
    columns["open_s"] = np.array([sum(r.exposures_s) for r in records])
    columns["gain"] = np.array([np.nan if r.gain is None else r.gain for r in records])
    return columns


def _sun(known: Float | None, records: Sequence[FrameRecord], site: Site) -> Float:
    """Sun's altitude of every frame, also of those that were not measured."""
    out = np.full(len(records), np.nan) if known is None else known.copy()
    for i in map(int, np.flatnonzero(~np.isfinite(out))):
        out[i] = sun_moon(site, records[i].time, refracted=True).sun_altitude_deg
    return out


def best_frames(records: Sequence[FrameRecord], columns: Mapping[str, Float]) -> tuple[int, ...]:
    """Return the numbers of the best frames, best first, not all of the same half hour.

    Best is deepest: the faintest star that would be seen, less a magnitude where the sky is all
    cloud; where that is not known, the number of stars.
    """
    nothing = np.full(len(records), np.nan)
    depth = columns.get("limiting_mag", nothing)
    stars = columns.get("stars_found", nothing)
    cloud = np.nan_to_num(columns.get("cloud_fraction", nothing), nan=0.5)
    score = np.where(np.isfinite(depth), 100.0 + depth, np.log10(np.maximum(stars, 1.0))) - cloud
    score = np.where([r.processed for r in records], score, np.nan)
    chosen: list[int] = []
    for i in map(int, np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")):
        if not np.isfinite(score[i]) or len(chosen) == BEST:
            break
        if all(abs(records[i].time - records[c].time) >= BEST_APART for c in chosen):
            chosen.append(i)
    return tuple(records[i].ref.index for i in chosen)


def find_gaps(
    starts: Sequence[datetime],
    times: NightTimes,
    site: Site,
    settings: Settings,
    faults: Sequence[FaultLine],
    now: datetime,
) -> list[Gap]:
    """Find stretches without frames, the dark before the first and after the last included."""
    ordered = sorted(starts)
    steps = np.array([(b - a).total_seconds() for a, b in itertools.pairwise(ordered)])
    usual = float(np.median(steps)) if steps.size else settings.capture.slot_s
    least = max(FRAMES_A_GAP * usual, SHORTEST_GAP_S)
    dark_begins, dark_ends = times.sun.begins or times.begins, times.sun.ends or times.ends
    edges = [*ordered]
    if ordered[0] > dark_begins:
        edges.insert(0, dark_begins)
    end = min(now, dark_ends)
    if ordered[-1] < end:
        edges.append(end)
    found = []
    for begins, ends in itertools.pairwise(edges):
        if (ends - begins).total_seconds() > least:
            found.append(Gap(begins, ends, why(begins, ends, site, settings, faults)))
    return found


def why(
    begins: datetime,
    ends: datetime,
    site: Site,
    settings: Settings,
    faults: Sequence[FaultLine],
) -> str:
    """Say what is known about a stretch without frames."""
    middle = begins + (ends - begins) / 2
    altitude = sun_moon(site, middle).sun_altitude_deg
    e = settings.exposure
    period = "twilight"
    if altitude > e.day_above_deg:
        period = "day"
    elif altitude < e.night_below_deg:
        period = "night"
    if not getattr(e, period).enabled:
        return f"no capture by {period}" if period != "twilight" else "no capture in twilight"
    margin = timedelta(minutes=2)
    inside = Counter(
        f.name
        for f in faults
        # a GPU's faults cost no frame: the CPU makes it
        if begins - margin <= f.time <= ends + margin and not f.name.startswith("gpu-")
    )
    if inside:
        name, count = inside.most_common(1)[0]
        last = next(f for f in reversed(faults) if f.name == name and f.time <= ends + margin)
        times = "once" if count == 1 else f"{count} times"
        return f"{name} ({times}): {last.message}"
    return "no fault was noted: the camera's owner or the scheduler was not running"


def _unprocessed(root: Path, records: Sequence[FrameRecord]) -> dict[int, str]:
    """Say of each frame without a picture why, as far as the catch-up flow knows."""
    try:
        failed = json.loads((root / "prefect" / "failed-frames.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        failed = {}
    found = {}
    for record in (r for r in records if not r.processed):
        ref = record.ref
        key = f"process-{ref.camera}-{ref.night.isoformat()}-{ref.index:06d}"
        entry = failed.get(key) if isinstance(failed, dict) else None
        reason = entry.get("error") if isinstance(entry, dict) else None
        found[ref.index] = str(reason or "not processed yet")
    return found


def _sightings(
    archive: Archive, records: Sequence[FrameRecord]
) -> tuple[tuple[Sighting, ...], dict[str, int]]:
    found = []
    for record in records:
        if record.scalars.get("transients", 0.0) < 1:
            continue
        try:
            listed = archive.record(record.ref).get("transients") or []
        except AllskyError:
            continue
        found += [s for item in listed if (s := _sighting(record, item)) is not None]
    counts = Counter(s.kind for s in found)
    found.sort(key=lambda s: (s.kind != "meteor", -(s.peak_snr or 0.0)))
    return tuple(found[:MOST_TRANSIENTS]), dict(counts)


def _sighting(record: FrameRecord, item: Any) -> Sighting | None:
    if not isinstance(item, dict):
        return None
    given = item.get("start")
    start: dict[str, Any] = given if isinstance(given, dict) else {}

    def number(source: Any, key: str) -> float | None:
        value = source.get(key)
        return float(value) if isinstance(value, int | float) else None

    try:
        time = datetime.fromisoformat(start["time"])
    except (KeyError, TypeError, ValueError):
        time = record.time
    return Sighting(
        record.ref,
        time,
        str(item.get("kind", "unknown")),
        number(item, "duration_s"),
        number(start, "alt_deg"),
        number(start, "az_deg"),
        number(item, "magnitude"),
        number(item, "peak_snr"),
        str(item.get("label") or ""),
    )
