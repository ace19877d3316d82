"""What is announced of a frame, a product: the data of the live feed's events."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from allsky360.api.addresses import API, frame_address, frame_id
from allsky360.api.index.night import NightIndex
from allsky360.api.store import FrameInfo, Store
from allsky360.archive.layout import VERSION
from allsky360.archive.products import products_folder
from allsky360.errors import AllskyError

log = logging.getLogger(__name__)

Announcement = tuple[int, str, Mapping[str, Any]]
"""Stamp, name and data of an event."""
ProductKey = tuple[str, date, str]
"""Camera, night and name of a product."""
SETTLED_NS = 2_000_000_000
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


@dataclass
class ProductStamps:
    """When the record of each product was written; a folder that did not change is not read."""

    root: Path
    _known: dict[Path, tuple[int, Mapping[ProductKey, int]]] = field(default_factory=dict)

    def of(self, nights: Iterable[NightIndex]) -> dict[ProductKey, int]:
        """Return the stamps of some nights' products, nanoseconds; others are forgotten."""
        before, self._known = self._known, {}
        found: dict[ProductKey, int] = {}
        for night in nights:
            version = night.view.version or VERSION
            folder = products_folder(self.root, night.camera, night.night, version)
            changed = _changed(folder)
            known = before.get(folder)
            # what changed twice within one tick of the file system's clock looks unchanged
            settled = changed < time.time_ns() - SETTLED_NS
            stamps = (
                known[1]
                if known is not None and known[0] == changed and settled
                else _stamps(folder, night.camera, night.night)
            )
            self._known[folder] = changed, stamps
            found |= stamps
        return found


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _stamps(folder: Path, camera: str, night: date) -> Mapping[ProductKey, int]:
    stamps = {}
    for path in folder.glob("*.json"):
        try:
            stamps[camera, night, path.stem] = path.stat().st_mtime_ns
        except OSError as error:  # replaced this instant: the next look sees it
            log.debug("%s: %s", path, error)
    return stamps


def product_event(key: ProductKey, stamp: int) -> Announcement:
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
