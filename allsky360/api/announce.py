"""What is announced of a frame, a product: the data of the live feed's events."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from allsky360.api.addresses import API, frame_address, frame_id
from allsky360.api.store import FrameInfo, Store
from allsky360.archive.products import products_folder
from allsky360.errors import AllskyError

log = logging.getLogger(__name__)

Announcement = tuple[int, str, Mapping[str, Any]]
"""Stamp, name and data of an event."""
MAIN_NUMBERS = (
    *("sun_altitude_deg", "moon_altitude_deg", "cloud_fraction", "sky_brightness_mag_arcsec2"),
    *("limiting_mag", "stars_detected", "fwhm_px", "temperature_c", "level", "transients"),
)
_ORDER = {"frame": 0, "measurement": 1, "transient": 2}
"""Commit stamps are whole microseconds: the last digit of the nanoseconds says which event of a
frame it is, so that resuming between two of them is exact."""


def frame_events(store: Store, frame: FrameInfo) -> Iterator[Announcement]:
    """Yield what is announced of a processed frame, in order."""
    about = frame_data(frame)
    yield frame.stamp + _ORDER["frame"], "frame", about
    numbers = {n: frame.scalars[n] for n in MAIN_NUMBERS if n in frame.scalars}
    yield (
        frame.stamp + _ORDER["measurement"],
        "measurement",
        {**about, "time": frame.time.isoformat(), "measurements": numbers},
    )
    if frame.scalars.get("transients", 0.0) > 0:
        found = [_transient(item) for item in _transients(store, frame)]
        yield frame.stamp + _ORDER["transient"], "transient", {**about, "transients": found}


def frame_data(frame: FrameInfo) -> Mapping[str, Any]:
    """What a frame event says."""
    return {"id": frame_id(frame), "camera": frame.camera, "href": frame_address(frame)}


def product_stamps(store: Store) -> dict[tuple[str, date, str], int]:
    """When the record of each product of the newest nights was written, nanoseconds."""
    stamps = {}
    for camera in store.cameras():
        for night in store.nights(camera)[-2:]:
            folder = products_folder(store.root, camera, night, store.version(camera, night))
            for path in folder.glob("*.json"):
                try:
                    stamps[camera, night, path.stem] = path.stat().st_mtime_ns
                except OSError as error:  # replaced this instant: the next look sees it
                    log.debug("%s: %s", path, error)
    return stamps


def product_event(key: tuple[str, date, str], stamp: int) -> Announcement:
    """What is announced of a product."""
    camera, night, name = key
    href = f"{API}/nights/{night}/products/{name}?camera={camera}"
    return stamp, "product", {"name": name, "camera": camera, "night": str(night), "href": href}


def _transients(store: Store, frame: FrameInfo) -> list[Mapping[str, Any]]:
    try:
        listed = store.record(frame).get("transients", ())
    except AllskyError as error:
        log.warning("transients of %s are not announced: %s", frame_id(frame), error)
        return []
    return [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []


def _transient(item: Mapping[str, Any]) -> dict[str, Any]:
    return {k: item[k] for k in ("id", "kind", "label", "magnitude") if k in item}
