"""Which lines are drawn on the sky: grids, ecliptic, meridian, figures, boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.overlay.options import OverlayOptions
from allsky360.overlay.paths import great_circles, half_meridian, lifted, parallel
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.constellations import boundaries, constellations
from allsky360.sky.frames import horizon_matrix, unit_vectors
from allsky360.sky.refraction import pressure_mbar

Float = NDArray[np.float64]

_NONE = np.empty((0, 3))
_AROUND = np.arange(0.0, 361.0, 2.0)


@dataclass(frozen=True, eq=False)
class Curve:
    """A line as apparent (north, east, up) vectors ``(N, 3)``, and where its label may go."""

    kind: str
    vectors: Float
    text: str = ""
    label_at: Float = field(default_factory=lambda: _NONE)


def sky_curves(
    o: OverlayOptions, site: Site, when: datetime, vertices: Mapping[int, Float]
) -> list[Curve]:
    """Return every line the options ask for.

    Parameters
    ----------
    vertices
        Apparent unit vectors of the stars of the figures, by Hipparcos number.
    """
    curves: list[Curve] = []
    if o.constellation_boundaries:
        curves += _boundaries(site, when)
    if o.altaz_grid:
        curves += _altaz_grid()
    if o.equatorial_grid:
        curves += _equatorial_grid(site, when)
    if o.meridian:
        curves.append(_meridian())
    if o.ecliptic:
        curves.append(_ecliptic(site, when))
    if o.cardinal_points or o.altaz_grid:
        curves.append(
            Curve("horizon", horizon_vectors(np.full_like(_AROUND, o.horizon_deg), _AROUND))
        )
    if o.constellation_lines:
        curves += _figures(vertices)
    return curves


def _altaz_grid() -> list[Curve]:
    curves = [
        Curve(
            "altaz",
            horizon_vectors(np.full_like(_AROUND, altitude), _AROUND),
            f"{altitude:.0f}°",
            horizon_vectors(np.full(4, altitude), np.array([22.5, 112.5, 202.5, 292.5])),
        )
        for altitude in (15.0, 30.0, 45.0, 60.0, 75.0)
    ]
    altitudes = np.linspace(0.0, 75.0, 40)
    for azimuth in np.arange(0.0, 360.0, 30.0):
        curves.append(
            Curve(
                "altaz",
                horizon_vectors(altitudes, np.full_like(altitudes, azimuth)),
                f"{azimuth:.0f}°",
                horizon_vectors(np.array([5.0, 10.0, 20.0]), np.full(3, azimuth)),
            )
        )
    return curves


def _equatorial_grid(site: Site, when: datetime) -> list[Curve]:
    matrix, air = horizon_matrix(site, when, "equator"), pressure_mbar(site.elevation_m)

    def seen(vectors: Float) -> Float:
        return lifted(vectors @ matrix.T, air)

    curves = [
        Curve(
            "equatorial",
            seen(half_meridian(15.0 * hour, -85.0, 85.0)),
            f"{hour} h",
            seen(unit_vectors(15.0 * hour, np.array([0.0, 15.0, -15.0, 45.0, -45.0, 70.0, -70.0]))),
        )
        for hour in range(0, 24, 2)
    ]
    for declination in (-80.0, -60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0, 80.0):
        at = unit_vectors(np.arange(15.0, 360.0, 30.0), declination) @ matrix.T
        # the place nearest the zenith comes first
        at = at[np.argsort(-at[:, 2], kind="stable")]
        curves.append(
            Curve(
                "equatorial",
                seen(parallel(declination)),
                f"{declination:+.0f}°".replace("-", "−").replace("+0", "0"),
                lifted(at, air),
            )
        )
    return curves


def _meridian() -> Curve:
    angle = np.linspace(0.0, 180.0, 91)
    vectors = horizon_vectors(np.minimum(angle, 180.0 - angle), np.where(angle <= 90.0, 0.0, 180.0))
    return Curve("meridian", vectors, "meridian", vectors[[60, 30, 75, 15]])


def _ecliptic(site: Site, when: datetime) -> Curve:
    matrix = horizon_matrix(site, when, "ecliptic")
    vectors = lifted(parallel(0.0) @ matrix.T, pressure_mbar(site.elevation_m))
    highest = int(np.argmax(vectors[:, 2]))
    n = len(vectors)
    return Curve(
        "ecliptic", vectors, "ecliptic", vectors[[(highest + s) % n for s in (12, -12, 25)]]
    )


def _figures(vertices: Mapping[int, Float]) -> list[Curve]:
    paths = [
        np.stack([vertices[hip] for hip in path]) for c in constellations() for path in c.lines
    ]
    up = [p for p in paths if (p[:, 2] > -0.05).any()]
    return [Curve("constellation", p) for p in great_circles(up)]


def _boundaries(site: Site, when: datetime) -> list[Curve]:
    matrix, air = horizon_matrix(site, when), pressure_mbar(site.elevation_m)
    pieces = boundaries()
    whole = np.concatenate(pieces)
    vectors = lifted(unit_vectors(whole[:, 0], whole[:, 1]) @ matrix.T, air)
    ends = np.cumsum([len(p) for p in pieces])[:-1]
    return [Curve("boundary", v) for v in np.split(vectors, ends)]
