"""From a lens, a site and an instant to an overlay scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site, as_utc
from allsky360.overlay.curves import Curve, sky_curves
from allsky360.overlay.labels import Board, Request, cover_of, place_all
from allsky360.overlay.options import OverlayOptions, fill_template
from allsky360.overlay.paths import lifted, visible_pieces
from allsky360.overlay.scene import Mark, OverlayScene, Polyline
from allsky360.overlay.style import STYLES
from allsky360.overlay.text import width_px
from allsky360.sky.bodies import PLANETS, Body, bodies
from allsky360.sky.catalogue import (
    Catalogue,
    altaz_of,
    apparent_altaz,
    horizon_vectors,
    load_catalogue,
)
from allsky360.sky.constellations import constellations, loose_points
from allsky360.sky.frames import horizon_matrix, sidereal_time_h, unit_vectors
from allsky360.sky.lens import LensModel
from allsky360.sky.names import star_name, star_names
from allsky360.sky.night import night_phase
from allsky360.sky.refraction import pressure_mbar

Float = NDArray[np.float64]

_CARDINALS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
_FAINTEST_FIGURE_V = 8.0
_AVOIDED_V = 3.5
_NAME_ABOVE_DEG = 8.0


def layout(
    lens: LensModel,
    site: Site,
    when: datetime,
    options: OverlayOptions | None = None,
    fields: Mapping[str, Any] | None = None,
) -> OverlayScene:
    """Return everything to draw over a picture.

    Parameters
    ----------
    lens
        Geometry of the picture itself (crop or bin the model as the picture was).
    when
        Middle of the exposure.
    fields
        Values for the text block beside the built-in ones (:func:`built_in_fields`), which they
        override.

    Raises
    ------
    OverlayError
        When the text template cannot be read.
    """
    o = options or OverlayOptions()
    when = as_utc(when)
    unit = unit_px(lens)
    board = Board(lens.width, lens.height, unit, o.size)
    seen = bodies(site, when, ("Sun", "Moon", *PLANETS))
    _text_block(board, o, built_in_fields(site, when, seen) | dict(fields or {}))

    stars, altitude, azimuth = _stars(site, when, o)
    x, y, visible = lens.project(altitude, azimuth)
    visible = visible & (altitude >= o.horizon_deg)
    curves = sky_curves(o, site, when, _vertices(o, site, when, stars, altitude, azimuth))
    pieces = visible_pieces(lens, [c.vectors for c in curves], o.horizon_deg)
    lines = [
        Polyline(curve.kind, part)
        for curve, parts in zip(curves, pieces, strict=True)
        for part in parts
    ]
    if o.cardinal_points:
        _cardinal_points(board, lens, o)
    marks, requests = _bodies(o, lens, seen, unit)
    more_marks, more = _star_labels(o, stars, x, y, visible, unit)
    marks, requests = marks + more_marks, requests + more
    more_marks, more = _poles(o, lens, site, when, unit)
    marks, requests = marks + more_marks, requests + more
    requests += _figure_names(o, lens, site, when) + _curve_labels(o, lens, curves)
    board.reserve([(m.x - m.radius_px, m.y - m.radius_px, m.x + m.radius_px, m.y + m.radius_px)
                   for m in marks if m.kind in ("sun", "moon", "planet", "pole")])  # fmt: skip
    bright = visible & (stars.v_mag <= _AVOIDED_V)
    spots = [np.stack([x, y], axis=1)[bright], _rings(marks)]
    placed = place_all(board, requests, cover_of(board, [line.points for line in lines], spots))
    named = {(r.kind, r.x, r.y) for r in placed}
    # a ring without a name would only puzzle
    marks = [
        m for m in marks if m.kind not in ("star", "designation") or (m.kind, m.x, m.y) in named
    ]
    order = {kind: i for i, kind in enumerate(STYLES)}
    return OverlayScene(
        lens.width,
        lens.height,
        unit * o.size,
        tuple(sorted(lines, key=lambda line: order[line.kind])),
        tuple(sorted(marks, key=lambda m: order[m.kind])),
        tuple(sorted(board.texts, key=lambda t: order[t.kind])),
    )


def unit_px(lens: LensModel) -> float:
    """Return a thousandth of the sky's width in the picture."""
    edge = np.radians(min(90.0, lens.max_theta_deg))
    across = 2.0 * float(lens.radius_px(edge))
    return min(across, float(max(lens.width, lens.height))) / 1000.0


def built_in_fields(site: Site, when: datetime, seen: Sequence[Body]) -> dict[str, Any]:
    """Return the fields every text block can use."""
    by_name = {b.name: b for b in seen}
    sun, moon = by_name["Sun"], by_name["Moon"]
    hours = sidereal_time_h(site, when)
    return {
        "site": site.name or None,
        "latitude_deg": site.latitude_deg,
        "longitude_deg": site.longitude_deg,
        "elevation_m": site.elevation_m,
        "time": when,
        "sidereal_time": f"{int(hours):02d}:{int(hours * 60 % 60):02d}",
        "sun_altitude_deg": sun.altitude_deg,
        "sun_azimuth_deg": sun.azimuth_deg,
        "moon_altitude_deg": moon.altitude_deg,
        "moon_azimuth_deg": moon.azimuth_deg,
        "moon_illumination": moon.illumination,
        "night_phase": night_phase(sun.altitude_deg),
    }


def _text_block(board: Board, o: OverlayOptions, fields: Mapping[str, Any]) -> None:
    lines = fill_template(o.text, fields)
    size = board.text_px("block")
    margin = 0.8 * size
    top = margin if "top" in o.text_corner else board.height - margin - 1.3 * size * len(lines)
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        half = width_px(line, size, STYLES["block"].bold) / 2
        x = margin + half if "left" in o.text_corner else board.width - 1 - margin - half
        board.put("block", line, x, top + (i + 0.5) * 1.3 * size)


def _stars(site: Site, when: datetime, o: OverlayOptions) -> tuple[Catalogue, Float, Float]:
    """Return the stars that may be labelled or end a line, with their apparent places."""
    stars = _drawn_stars(max(o.star_names_max_v, o.designations_max_v or -9.0, _AVOIDED_V))
    altitude, azimuth = apparent_altaz(stars, site, when)
    return stars, altitude, azimuth


@lru_cache(maxsize=4)
def _drawn_stars(max_v: float) -> Catalogue:
    whole = load_catalogue(_FAINTEST_FIGURE_V)
    figures = {hip for c in constellations() for path in c.lines for hip in path}
    return whole[(whole.v_mag <= max_v) | np.isin(whole.hip, list(figures))]


def _vertices(
    o: OverlayOptions, site: Site, when: datetime, stars: Catalogue, altitude: Float, azimuth: Float
) -> dict[int, Float]:
    """Return the apparent unit vector of every vertex of the figures, by Hipparcos number."""
    if not o.constellation_lines:
        return {}
    vectors = horizon_vectors(altitude, azimuth)
    found = dict(zip(stars.hip.tolist(), vectors, strict=True))
    loose = loose_points()
    places = np.array(list(loose.values())).reshape(-1, 2)
    true = unit_vectors(places[:, 0], places[:, 1]) @ horizon_matrix(site, when).T
    apparent = lifted(true, pressure_mbar(site.elevation_m))
    return found | dict(zip(loose, apparent, strict=True))


def _cardinal_points(board: Board, lens: LensModel, o: OverlayOptions) -> None:
    """Write the letters outside the horizon where there is room, else as low as they fit."""
    altitudes = o.horizon_deg + np.r_[0.0, 0.0, np.arange(1.0, 60.0)]
    for i, letter in enumerate(_CARDINALS):
        if len(letter) > 1:
            continue
        x, y, _ = lens.project(altitudes, 45.0 * i)
        higher_x, higher_y, _ = lens.project(altitudes + 1.0, 45.0 * i)
        outward = np.stack([x - higher_x, y - higher_y], axis=1)
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
        size = board.text_px("cardinal")
        centres = np.stack([x, y], axis=1)
        centres += outward * np.where(np.arange(len(x)) == 0, 0.8, -0.8)[:, None] * size
        boxes = board.boxes("cardinal", letter, np.nan_to_num(centres, nan=-1e9))
        free = np.flatnonzero(board.free(boxes) & board.in_frame(boxes))
        if free.size:
            board.put("cardinal", letter, *(float(v) for v in centres[free[0]]))


def _bodies(
    o: OverlayOptions, lens: LensModel, seen: Sequence[Body], unit: float
) -> tuple[list[Mark], list[Request]]:
    marks, requests = [], []
    for b in seen:
        big = b.name in ("Sun", "Moon")
        wanted = o.sun_moon if big else o.planets and b.v_mag <= o.planets_max_v
        if not wanted or b.altitude_deg < o.horizon_deg:
            continue
        x, y, visible = lens.project(b.altitude_deg, b.azimuth_deg)
        if not visible:
            continue
        kind = b.name.lower() if big else "planet"
        real = b.diameter_arcsec / 7200.0 / 57.29578 * lens.focal_px
        radius = max(real * 1.3, (11.0 if big else 6.5) * unit * o.size)
        marks.append(Mark(kind, float(x), float(y), radius, b.name))
        rank = -3.0 if big else -2.0 + 0.01 * b.v_mag
        requests.append(Request(kind, b.name, float(x), float(y), rank, radius))
    return marks, requests


def _star_labels(
    o: OverlayOptions, stars: Catalogue, x: Float, y: Float, visible: NDArray[np.bool_], unit: float
) -> tuple[list[Mark], list[Request]]:
    marks, requests = [], []
    faintest = max(
        o.star_names_max_v if o.star_names else -9.0,
        -9.0 if o.designations_max_v is None else o.designations_max_v,
    )
    for i in np.flatnonzero(visible & (stars.v_mag <= faintest)):
        star = star_names().get(int(stars.hip[i])) or star_name(int(stars.hip[i]))
        v = float(stars.v_mag[i])
        if o.star_names and star.proper and v <= o.star_names_max_v:
            kind, text = "star", star.proper
        elif o.designations_max_v is not None and star.designation and v <= o.designations_max_v:
            kind, text = "designation", star.designation
        else:
            continue
        radius = max(2.5, (6.0 - 0.8 * max(v, 0.0)) * unit * o.size)
        at = float(x[i]), float(y[i])
        marks.append(Mark(kind, *at, radius, star.label))
        requests.append(Request(kind, text, *at, v if kind == "star" else 10.0 + v, radius))
    return marks, requests


def _rings(marks: Sequence[Mark]) -> Float:
    """Return points on every mark's ring, ``(8 N, 2)``."""
    angle = np.arange(8) * np.pi / 4
    at = np.array([(m.x, m.y, m.radius_px) for m in marks]).reshape(-1, 3)
    x = at[:, :1] + at[:, 2:] * np.cos(angle)
    y = at[:, 1:2] + at[:, 2:] * np.sin(angle)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _poles(
    o: OverlayOptions, lens: LensModel, site: Site, when: datetime, unit: float
) -> tuple[list[Mark], list[Request]]:
    if not o.poles:
        return [], []
    axis = horizon_matrix(site, when, "equator")[:, 2]
    north, south = lifted(np.stack([axis, -axis]), pressure_mbar(site.elevation_m))
    marks, requests = [], []
    for name, vector in (
        ("Celestial north pole", north),
        ("Celestial south pole", south),
        ("Zenith", np.array([0.0, 0.0, 1.0])),
    ):
        altitude, azimuth = altaz_of(vector)
        x, y, visible = lens.project(altitude, azimuth)
        if altitude < o.horizon_deg or not visible:
            continue
        radius = 4.0 * unit * o.size
        marks.append(Mark("pole", float(x), float(y), radius, name))
        requests.append(Request("pole", name, float(x), float(y), -1.0, radius))
    return marks, requests


def _figure_names(o: OverlayOptions, lens: LensModel, site: Site, when: datetime) -> list[Request]:
    if not o.constellation_names:
        return []
    figures = constellations()
    centres = unit_vectors([c.centre_ra_deg for c in figures], [c.centre_dec_deg for c in figures])
    altitude, azimuth = altaz_of(centres @ horizon_matrix(site, when).T)
    x, y, visible = lens.project(altitude, azimuth)
    shown = visible & (altitude >= max(o.horizon_deg, 0.0) + _NAME_ABOVE_DEG)
    return [
        Request(
            "constellation",
            figures[i].name.upper(),
            float(x[i]),
            float(y[i]),
            3.0 + figures[i].rank,
            placement="centred",
        )
        for i in np.flatnonzero(shown)
    ]


def _curve_labels(o: OverlayOptions, lens: LensModel, curves: Sequence[Curve]) -> list[Request]:
    """Label grid lines at the visible one of their label places."""
    requests = []
    for curve in curves:
        if not curve.text:
            continue
        altitude, azimuth = altaz_of(curve.label_at)
        x, y, visible = lens.project(altitude, azimuth)
        good = np.flatnonzero(visible & (altitude > max(o.horizon_deg, 0.0) + 2.0))
        if good.size:
            i = good[0]
            at = float(x[i]), float(y[i])
            requests.append(Request(curve.kind, curve.text, *at, 8.0, placement="centred"))
    return requests
