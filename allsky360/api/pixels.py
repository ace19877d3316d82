"""What one pixel of a picture looks at."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np

from allsky360.api.geometry import View
from allsky360.api.maps import nearest_cell
from allsky360.api.models_sky import PixelInfo
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.archive import StoredRow
from allsky360.model import Site
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.constellations import constellation_at
from allsky360.sky.frames import horizon_matrix
from allsky360.sky.refraction import pressure_mbar, unrefraction_deg

_STATES: dict[int, Literal["clear", "cloudy", "unknown"]] = {0: "clear", 1: "cloudy", -1: "unknown"}


def pixel_info(
    service: Service, frame: FrameInfo, view: View, x: float, y: float, size: tuple[int, int]
) -> PixelInfo:
    """Read out a pixel of a frame's picture at a size; x and y count from the corner."""
    lens = view.sized(*size)
    alt, az = (float(v) for v in lens.unproject(x - 0.5, y - 0.5))
    if not (math.isfinite(alt) and x <= size[0] and y <= size[1]):
        alt = az = math.nan
    above = math.isfinite(alt) and alt >= 0.0
    ra = dec = math.nan
    if above:
        ra, dec = celestial(view, alt, az)
    values = {
        name: _value(service.store.row(frame, name), alt, az) if above else None
        for name in (
            "cell_brightness_mag_arcsec2",
            "cloud_state",
            "cloud_chance",
            "cell_transparency",
        )
    }
    state = values["cloud_state"]
    return PixelInfo(
        x=x,
        y=y,
        width=size[0],
        height=size[1],
        altitude_deg=_rounded(alt, 3),
        azimuth_deg=_rounded(az, 3),
        ra_deg=_rounded(ra, 4),
        dec_deg=_rounded(dec, 4),
        constellation=constellation_at(ra, dec) if above else None,
        sky_brightness_mag_arcsec2=_rounded(values["cell_brightness_mag_arcsec2"], 2),
        cloud_state=None if state is None else _STATES.get(round(state)),
        cloud_chance=_rounded(values["cloud_chance"], 3),
        transparency=_rounded(values["cell_transparency"], 3),
    )


def celestial(view: View, altitude_deg: float, azimuth_deg: float) -> tuple[float, float]:
    """Return ICRS right ascension and declination of an apparent direction, degrees.

    Refraction is taken off; aberration (20 arcsec) is left in.
    """
    lift = unrefraction_deg(altitude_deg, pressure_mbar=pressure_mbar(view.site.elevation_m))
    seen = horizon_vectors(np.asarray(altitude_deg - lift), np.asarray(azimuth_deg))
    x, y, z = _to_icrs(view.site, view.when.isoformat()) @ np.ravel(seen)
    return float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arcsin(z)))


@lru_cache(maxsize=64)
def _to_icrs(site: Site, when: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    from datetime import datetime

    return horizon_matrix(site, datetime.fromisoformat(when)).T


def _value(row: StoredRow | None, alt: float, az: float) -> float | None:
    if row is None:
        return None
    cell = nearest_cell(row, alt, az)
    if cell is None or not math.isfinite(float(row.values[cell])):
        return None
    return float(row.values[cell])


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
