"""Transients as the frames' records tell them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from allsky360.api.addresses import frame_address, frame_id
from allsky360.api.models_sky import TrackPoint, TransientInfo
from allsky360.api.service import Service
from allsky360.api.starlight import number
from allsky360.api.store import FrameInfo
from allsky360.errors import AllskyError

log = logging.getLogger(__name__)

COUNT = "transients"
"""Scalar that says how many a frame has."""


def transients_of(service: Service, frame: FrameInfo) -> Iterator[TransientInfo]:
    """Yield the transients of a frame; one that cannot be read is left out, and said in the log."""
    if not frame.processed or not frame.scalars.get(COUNT, 0.0) > 0:
        return
    try:
        listed = service.store.record(frame).get("transients", ())
    except AllskyError as error:
        log.warning("transients of %s are left out: %s", frame_id(frame), error)
        return
    for item in listed if isinstance(listed, list) else ():
        try:
            yield _transient(frame, item)
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
            log.warning("a transient of %s is left out: %s", frame_id(frame), error)


def _transient(frame: FrameInfo, item: Mapping[str, Any]) -> TransientInfo:
    start = _point(item["start"])
    return TransientInfo(
        id=str(item["id"]),
        kind=item["kind"],
        label=str(item.get("label") or item["kind"]),
        frame=frame_id(frame),
        camera=frame.camera,
        night=frame.night,
        time=start.time,
        start=start,
        end=_point(item["end"]),
        duration_s=number(item.get("duration_s")),
        peak_snr=number(item.get("peak_snr")),
        magnitude=number(item.get("magnitude")),
        magnitude_sigma=number(item.get("magnitude_sigma")),
        links={
            "frame": frame_address(frame),
            "picture": frame_address(frame, "/picture", revision=frame.revision),
            "cutout": frame_address(
                frame, f"/transients/{item['id']}/cutout", revision=frame.revision
            ),
        },
    )


def _point(end: Mapping[str, Any]) -> TrackPoint:
    return TrackPoint(
        time=end["time"],
        x=float(end["x"]),
        y=float(end["y"]),
        altitude_deg=number(end.get("alt_deg")),
        azimuth_deg=number(end.get("az_deg")),
    )
