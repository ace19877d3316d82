"""Nights at a glance, read a few columns at a time and kept until a night's commits move."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_address
from allsky360.api.models_pages import NightSummary
from allsky360.api.products import products_of
from allsky360.api.service import Service
from allsky360.archive import FrameRef
from allsky360.archive.columns import Mark, NightView, night_mark, open_night

DARK_BELOW_DEG = -12.0
CLEAR_BELOW = 0.3
THUMBNAIL_WIDTH = 240
_kept: dict[tuple[Path, str, date], tuple[Mark, NightSummary]] = {}
_lock = threading.Lock()
MOST_KEPT = 4000
"""About 1 kB each."""


def summaries(service: Service, camera: str, nights: Sequence[date]) -> list[NightSummary]:
    """Return the summaries of nights; those without a frame are left out."""
    found = (summary_of(service, camera, night) for night in nights)
    return [summary for summary in found if summary is not None]


def summary_of(service: Service, camera: str, night: date) -> NightSummary | None:
    """Return the summary of one night; None where nothing was captured."""
    root = service.store.root
    key, mark = (root, camera, night), night_mark(root, camera, night)
    with _lock:
        kept = _kept.get(key)
    if kept is None or kept[0] != mark:
        view = open_night(root, camera, night)
        if view is None:
            return None
        kept = mark, _summary(view)
        with _lock:
            if len(_kept) >= MOST_KEPT:
                _kept.clear()
            _kept[key] = kept
    names = [product.name for product in products_of(service, camera, night)]
    return kept[1].model_copy(update={"products": names})


def _summary(view: NightView) -> NightSummary:
    processed = view.processed()
    done = processed >= 0
    dark = done & (view.measured("sun_altitude_deg") < DARK_BELOW_DEG)
    cloud = _finite(view.measured("cloud_fraction")[dark])
    sky = _finite(view.measured("sky_brightness_mag_arcsec2")[dark])
    stars = _finite(view.measured("stars_found")[dark])
    transients = _finite(view.measured("transients")[done])
    return NightSummary(
        night=view.night,
        frames=view.rows,
        processed=int(np.count_nonzero(done)),
        cloud_fraction=round(float(np.median(cloud)), 4) if cloud.size else None,
        clear_share=round(float(np.mean(cloud < CLEAR_BELOW)), 4) if cloud.size else None,
        sky_brightness_mag_arcsec2=round(float(np.quantile(sky, 0.95)), 3) if sky.size else None,
        stars_found=float(stars.max()) if stars.size else None,
        transients=round(float(transients.sum())),
        products=[],
        thumbnail=_thumbnail(view, processed, dark if dark.any() else done),
    )


def _finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values[np.isfinite(values)]


def _thumbnail(
    view: NightView, processed: NDArray[np.int64], among: NDArray[np.bool_]
) -> str | None:
    rows = np.flatnonzero(among)
    if rows.size == 0:
        return None
    times = view.times()[rows]
    row = int(rows[np.argmin(np.abs(times - (times.min() + times.max()) // 2))])
    # the revision a frame of this commit has (store_info.FrameInfo): the picture stays cached
    revision = f"{view.version}-{int(processed[row]):x}"
    return frame_address(
        FrameRef(view.camera, view.night, row), "/picture", width=THUMBNAIL_WIDTH, revision=revision
    )
