"""From what the archive holds to what the service answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from allsky360.api.addresses import frame_address, frame_id, night_address
from allsky360.api.models import (
    ExposureInfo,
    Frame,
    FrameDetail,
    FrameLinks,
    Neighbours,
    SiteInfo,
    SkyInfo,
)
from allsky360.api.security.privacy import coarse_provenance
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.model import Site

log = logging.getLogger(__name__)

THUMBNAIL_WIDTH = 240


def frame_view(service: Service, frame: FrameInfo) -> Frame:
    """One frame as the lists show it."""
    return Frame(**_fields(service, frame))


def frame_detail(service: Service, frame: FrameInfo) -> FrameDetail:
    """One frame with everything that is known about it."""
    fields = _fields(service, frame)
    ref, rows = frame.ref, service.store.rows(frame.camera, frame.night)
    before = replace(ref, index=ref.index - 1) if ref.index else None
    after = replace(ref, index=ref.index + 1) if ref.index + 1 < rows else None
    return FrameDetail(
        **fields,
        sky=sky_info(service.site, frame.time),
        exposures=exposures_of(frame),
        provenance=finite(provenance_of(service, frame)),
        neighbours=Neighbours(
            previous=frame_address(before) if before else None,
            next=frame_address(after) if after else None,
        ),
    )


def provenance_of(service: Service, frame: FrameInfo) -> dict[str, Any]:
    """How a frame came about, as whoever asks may see it."""
    found = service.store.provenance(frame)
    return found if service.exact else coarse_provenance(found)


def exposures_of(frame: FrameInfo) -> list[ExposureInfo]:
    """List a frame's exposures, longest first."""
    return [
        ExposureInfo(index=i, exposure_s=s, raw=frame_address(frame, "/raw.fits", exposure=i))
        for i, s in enumerate(frame.exposures_s)
    ]


def _fields(service: Service, frame: FrameInfo) -> dict[str, Any]:
    shown = frame.processed
    return {
        "id": frame_id(frame),
        "camera": frame.camera,
        "night": frame.night,
        "index": frame.index,
        "time": frame.time,
        "local_time": local_time(service.site, frame.time),
        "processed": frame.processed,
        "processed_at": stamp_time(frame.stamp),
        "revision": frame.revision,
        "exposures_s": list(frame.exposures_s),
        "gain": _number(frame.gain),
        "measurements": {k: _number(service.shown(k, v)) for k, v in sorted(frame.scalars.items())},
        "links": FrameLinks(
            self=frame_address(frame),
            night=night_address(frame.night, frame.camera),
            picture=frame_address(frame, "/picture", revision=frame.revision) if shown else None,
            thumbnail=frame_address(
                frame, "/picture", width=THUMBNAIL_WIDTH, revision=frame.revision
            )
            if shown
            else None,
            raw=[
                frame_address(frame, "/raw.fits", exposure=i)
                for i, _ in enumerate(frame.exposures_s)
            ],
        ),
    }


def stamp_time(stamp: int) -> datetime | None:
    """Instant of a commit stamp (nanoseconds since 1970); None for 0."""
    return datetime.fromtimestamp(stamp / 1e9, UTC) if stamp else None


def local_time(site: Site | None, when: datetime) -> str | None:
    """Local mean solar time, without a zone because it belongs to no political one."""
    if site is None:
        return None
    local = when + timedelta(hours=site.longitude_deg / 15.0)
    return local.replace(tzinfo=None).isoformat(timespec="seconds")


def site_info(site: Site | None) -> SiteInfo | None:
    """The site as the service shows it."""
    if site is None:
        return None
    return SiteInfo(
        name=site.name,
        latitude_deg=site.latitude_deg,
        longitude_deg=site.longitude_deg,
        elevation_m=site.elevation_m,
    )


def sky_info(site: Site | None, when: datetime) -> SkyInfo | None:
    """Sun and Moon, None without a site or outside the ephemeris."""
    return None if site is None else _sky(site, when.replace(microsecond=0))


@lru_cache(maxsize=4096)
def _sky(site: Site, when: datetime) -> SkyInfo | None:
    from allsky360.sky.ephemeris import EphemerisError, sun_moon

    try:
        both = sun_moon(site, when)
    except EphemerisError as error:
        log.warning("no Sun and Moon: %s", error)
        return None
    return SkyInfo(
        sun_altitude_deg=round(both.sun_altitude_deg, 4),
        sun_azimuth_deg=round(both.sun_azimuth_deg, 4),
        moon_altitude_deg=round(both.moon_altitude_deg, 4),
        moon_azimuth_deg=round(both.moon_azimuth_deg, 4),
        moon_illumination=round(both.moon_illumination, 4),
    )


def _number(value: float | None) -> float | None:
    """JSON knows no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def finite(value: Any) -> Any:
    """Replace NaN and infinities anywhere in a JSON tree by null."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
