"""Catalogue stars in a frame, and one star's light along time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_id
from allsky360.api.geometry import View, view_of
from allsky360.api.index.night import instant, microseconds, plain
from allsky360.api.index.thin import thin
from allsky360.api.listing import Asked
from allsky360.api.models_sky import FrameStars, StarOfFrame
from allsky360.api.problems import NoLens, NotMeasured, NotProcessed
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.names import star_name

STAR_ROWS = ("star_flux", "star_flux_sigma", "star_loss_mag", "star_flags")


def frame_stars(service: Service, frame: FrameInfo, max_v: float) -> FrameStars:
    """List a frame's catalogue stars above the horizon, brightest first."""
    if not frame.processed:
        raise NotProcessed(f"Frame {frame_id(frame)} is not processed yet.")
    rows = {name: service.store.row(frame, name) for name in STAR_ROWS}
    view: View | None
    try:
        view = view_of(service, frame)
    except NoLens:
        view = None
    if view is None and not any(rows.values()):
        raise NotMeasured(
            f"No star of frame {frame_id(frame)} was measured, and no lens tells where they are."
        )
    stars = load_catalogue(max_v)
    places: dict[str, NDArray[np.float64]] = {}
    visible = np.ones(len(stars), bool)
    if view is not None:
        alt, az = apparent_altaz(stars, view.site, view.when)
        x, y, on = view.lens.project(alt, az)
        visible = on & (alt > 0)
        places = {"altitude_deg": alt, "azimuth_deg": az, "x": x + 0.5, "y": y + 0.5}
    measured = {name: _by_hip(row) for name, row in rows.items() if row is not None}
    listed = [_star(stars, int(i), places, measured) for i in np.flatnonzero(visible)]
    return FrameStars(
        id=frame_id(frame),
        camera=frame.camera,
        time=frame.time,
        width=view.lens.width if view else None,
        height=view.lens.height if view else None,
        stars=listed,
    )


def light_curve(
    service: Service, camera: str, nights: Sequence[date], hip: int, asked: Asked, points: int
) -> dict[str, Any]:
    """Return a star's course over nights as columns, thinned where there is too much of it."""
    low, high = microseconds(asked.start), microseconds(asked.end)
    times: list[NDArray[np.int64]] = []
    ids: list[str] = []
    values: dict[str, list[NDArray[np.float32]]] = {name: [] for name in STAR_ROWS}
    for night in nights:
        courses = {n: service.store.course(camera, night, n, hip) for n in STAR_ROWS}
        when, rows, flux = courses["star_flux"]
        moments = when.astype(np.int64)
        keep = np.isfinite(flux)
        if low is not None:
            keep &= moments >= low
        if high is not None:
            keep &= moments < high
        times.append(moments[keep])
        ids += [f"{night}/{row:06d}" for row in rows[keep]]
        for name, (_, _, found) in courses.items():
            # a frame committed between two readings has more rows in the later one
            same = np.full(flux.size, np.nan, np.float32)
            n = min(flux.size, found.size)
            same[:n] = found[:n]
            values[name].append(same[keep])
    time = np.concatenate(times) if times else np.empty(0, np.int64)
    columns = {n: np.concatenate(v) if v else np.empty(0, "f4") for n, v in values.items()}
    kept = thin(columns["star_flux"], points)
    flags = columns["star_flags"][kept]
    return {
        "time": [instant(int(t)) for t in time[kept]],
        "ids": [ids[i] for i in kept],
        "flux": [number(plain(v)) for v in columns["star_flux"][kept]],
        "flux_sigma": [number(plain(v)) for v in columns["star_flux_sigma"][kept]],
        "loss_mag": [number(plain(v)) for v in columns["star_loss_mag"][kept]],
        "flags": [int(v) if np.isfinite(v) else None for v in flags],
        "thinned": kept.size < time.size,
    }


def _by_hip(row: Any) -> Mapping[int, float]:
    return dict(zip(row.coordinates["star"].tolist(), row.values.tolist(), strict=True))


def _star(
    stars: Any,
    i: int,
    places: Mapping[str, NDArray[np.float64]],
    measured: Mapping[str, Mapping[int, float]],
) -> StarOfFrame:
    hip = int(stars.hip[i])

    def got(name: str) -> float | None:
        return number(measured.get(name, {}).get(hip))

    flags = got("star_flags")
    return StarOfFrame(
        hip=hip,
        name=star_name(hip).label,
        v_mag=round(float(stars.v_mag[i]), 3),
        b_v=number(stars.bv[i], 3),
        ra_deg=round(float(stars.ra_deg[i]), 6),
        dec_deg=round(float(stars.dec_deg[i]), 6),
        altitude_deg=_place(places, "altitude_deg", i, 3),
        azimuth_deg=_place(places, "azimuth_deg", i, 3),
        x=_place(places, "x", i, 2),
        y=_place(places, "y", i, 2),
        flux=got("star_flux"),
        flux_sigma=got("star_flux_sigma"),
        loss_mag=got("star_loss_mag"),
        flags=None if flags is None else int(flags),
    )


def _place(
    places: Mapping[str, NDArray[np.float64]], name: str, i: int, digits: int
) -> float | None:
    return number(places[name][i], digits) if name in places else None


def number(value: Any, digits: int | None = None) -> float | None:
    """Return a float JSON can hold; None for None and what is not finite."""
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value) if digits is None else round(float(value), digits)
