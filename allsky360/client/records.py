"""Records of the service as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes
    ----------
    id
        ``2026-11-22/000017``.
    camera, night, index
        Which.
    time
        UTC start.
    exposures_s
        Longest first.
    gain
        Camera units; None when unknown.
    processed
        Whether picture and measurements are there.
    revision
        Changes when it is processed again; None while it is not.
    measurements
        Numbers by name; what was not measured is not there.
    links
        Addresses of its parts.
    """

    id: str
    camera: str
    night: date
    index: int
    time: datetime
    exposures_s: tuple[float, ...]
    gain: float | None
    processed: bool
    revision: str | None
    measurements: Mapping[str, float]
    links: Mapping[str, Any]

    @classmethod
    def read(cls, d: Mapping[str, Any]) -> Frame:
        """Read the service's JSON."""
        return cls(
            id=d["id"],
            camera=d["camera"],
            night=date.fromisoformat(d["night"]),
            index=int(d["index"]),
            time=datetime.fromisoformat(d["time"]),
            exposures_s=tuple(d["exposures_s"]),
            gain=d["gain"],
            processed=bool(d["processed"]),
            revision=d["revision"],
            measurements={k: v for k, v in d["measurements"].items() if v is not None},
            links=d["links"],
        )


@dataclass(frozen=True)
class Night:
    """One night and what it was like.

    Attributes
    ----------
    night, camera
        Which.
    quality
        As ``/nights`` gives it: frames, ``clear_share``, ``best_sky_brightness_mag_arcsec2``, …;
        None where its numbers cannot be read.
    """

    night: date
    camera: str
    quality: Mapping[str, Any] | None

    @classmethod
    def read(cls, d: Mapping[str, Any]) -> Night:
        """Read the service's JSON."""
        return cls(date.fromisoformat(d["night"]), d["camera"], d["quality"])


@dataclass(frozen=True)
class Transient:
    """A meteor, satellite or aircraft.

    Attributes
    ----------
    id, kind, label
        Which, and what it is taken for.
    frame, camera, night
        Where it was found.
    time
        UTC of its first point.
    start, end
        ``x``, ``y``, ``altitude_deg``, ``azimuth_deg``, ``time`` of both ends.
    duration_s, peak_snr, magnitude
        None where not measured.
    links
        Addresses of its frame, picture and cutout.
    """

    id: str
    kind: str
    label: str
    frame: str
    camera: str
    night: date
    time: datetime
    start: Mapping[str, Any]
    end: Mapping[str, Any]
    duration_s: float | None
    peak_snr: float | None
    magnitude: float | None
    links: Mapping[str, str]

    @classmethod
    def read(cls, d: Mapping[str, Any]) -> Transient:
        """Read the service's JSON."""
        kept = {k: d[k] for k in cls.__dataclass_fields__ if k not in ("night", "time")}
        when = datetime.fromisoformat(d["time"])
        return cls(night=date.fromisoformat(d["night"]), time=when, **kept)


@dataclass(frozen=True)
class Product:
    """Something made from the frames of a night.

    Attributes
    ----------
    kind, name, title, camera, night
        Which.
    created_at, complete
        When it was made; whether the night was over and whole then.
    files
        ``path``, ``role``, ``media_type``, ``bytes``, ``href`` of each.
    links
        ``main`` and ``preview`` where there are such files.
    """

    kind: str
    name: str
    title: str
    camera: str
    night: date
    created_at: datetime
    complete: bool
    files: tuple[Mapping[str, Any], ...]
    links: Mapping[str, str]

    @classmethod
    def read(cls, d: Mapping[str, Any]) -> Product:
        """Read the service's JSON."""
        return cls(
            kind=d["kind"],
            name=d["name"],
            title=d["title"],
            camera=d["camera"],
            night=date.fromisoformat(d["night"]),
            created_at=datetime.fromisoformat(d["created_at"]),
            complete=bool(d["complete"]),
            files=tuple(d["files"]),
            links=d["links"],
        )


@dataclass(frozen=True)
class Event:
    """Something that happened; ``id`` resumes after it."""

    id: str
    name: str
    data: Mapping[str, Any]
