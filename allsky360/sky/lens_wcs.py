"""A lens as a FITS world coordinate system that other software reads.

The zenithal polynomial projection ZPN (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.7) has
the radius as a polynomial of the angle from the axis, which is what the lens model is. In
horizontal coordinates the two differ only by what an odd polynomial of degree 15 leaves of the
base, below a hundredth of a pixel. In equatorial coordinates, valid at one instant, refraction and
aberration bend the sky; a ZPN with its axis, matrix and polynomial fitted takes up most of it, and
the error that is left is measured and stated in the header.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.model import Site, as_utc
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensModel

Float = NDArray[np.float64]
Card = tuple[str, str | int | float, str]

_POWERS = np.arange(1, 16, 2)
_FITTED_ABOVE_DEG = 5.0
STATED_ABOVE_DEG = 20.0
_DEGREE = 180.0 / np.pi


class WcsError(AllskyError):
    """A lens that cannot be written as a world coordinate system."""


@dataclass(frozen=True, eq=False)
class _Zpn:
    """Pixel offset = matrix @ P(d) (sin A, cos A), A the position angle about (lon, lat)."""

    lon_deg: float
    lat_deg: float
    cx: float
    cy: float
    matrix: Float  # (2, 2), pixels per radian
    coefficients: Float  # of _POWERS; the first is 1

    def offsets(self, lon_deg: Float, lat_deg: Float) -> Float:
        """Return pixel offsets from (cx, cy), ``(2, N)``."""
        return np.asarray(self.matrix @ self.plane(lon_deg, lat_deg))

    def plane(self, lon_deg: Float, lat_deg: Float) -> Float:
        """Return P(d) (sin A, cos A), ``(2, N)``."""
        d, s, c = _about(lon_deg, lat_deg, self.lon_deg, self.lat_deg)
        return np.asarray(_powers(d) @ self.coefficients * np.stack([s, c]))


def horizontal_wcs(lens: LensModel) -> list[Card]:
    """Return header cards ``(keyword, value, comment)`` of apparent azimuth and altitude.

    CTYPE is ``AZLN-ZPN``, ``AZLT-ZPN``: a general longitude (azimuth from north through east) and
    latitude (altitude).
    """
    altitude, azimuth = np.meshgrid(np.arange(0.0, 90.0, 3.0), np.arange(0.0, 360.0, 10.0))
    lat, lon = lens.unproject(lens.cx, lens.cy)
    theta = np.linspace(0.0, np.radians(lens.max_theta_deg), 400)
    radial = _polynomial(theta, lens.radius_px(theta) / lens.focal_px, np.ones_like(theta))
    x, y, _ = lens.project(altitude, azimuth)
    inside = np.isfinite(x)
    start = _Zpn(float(lon), float(lat), lens.cx, lens.cy, lens.focal_px * np.eye(2), radial)
    zpn = _with_matrix(start, azimuth[inside], altitude[inside], x[inside], y[inside])
    return [*_cards(zpn, "AZLN-ZPN", "AZLT-ZPN"), ("WCSNAME", "horizontal", "apparent, refracted")]


def equatorial_wcs(lens: LensModel, site: Site, when: datetime) -> tuple[list[Card], float]:
    """Return header cards of ICRS right ascension and declination at one instant.

    Returns
    -------
    cards
        ``(keyword, value, comment)``; the comment of ``WCSNAME`` states the error.
    error_px
        Largest distance from the lens model's place, catalogue stars above 20 degrees of altitude.

    Raises
    ------
    WcsError
        When the lens shows too little sky.
    """
    catalogue = load_catalogue(6.0)
    altitude, azimuth = apparent_altaz(catalogue, site, when)
    x, y, _ = lens.project(altitude, azimuth)
    used = np.isfinite(x) & (altitude > _FITTED_ABOVE_DEG)
    if np.count_nonzero(used) < 60:
        raise WcsError("the lens shows too little sky above 5 degrees for a WCS.")
    # Of date, so that the catalogue's own motion does not count as an error of the WCS.
    years = (as_utc(when).timestamp() - 670599000.0) / (365.25 * 86400.0)  # since J1991.25
    per_year = 1.0 / 3.6e6
    dec = catalogue.dec_deg + years * per_year * catalogue.pm_dec_mas_yr
    ra = catalogue.ra_deg + years * per_year * catalogue.pm_ra_mas_yr / np.cos(np.radians(dec))
    lon, lat, x, y, altitude = ra[used], dec[used], x[used], y[used], altitude[used]
    weight = np.where(altitude > STATED_ABOVE_DEG, 1.0, 0.1)

    nearest = int(np.argmin(np.hypot(x - lens.cx, y - lens.cy)))
    theta = np.linspace(0.0, np.radians(lens.max_theta_deg), 400)
    radial = _polynomial(theta, lens.radius_px(theta) / lens.focal_px, np.ones_like(theta))
    place = np.array([lon[nearest], lat[nearest], lens.cx, lens.cy])

    def inner(values: Float) -> _Zpn:
        at = [float(v) for v in values]
        zpn = _Zpn(at[0], at[1], at[2], at[3], lens.focal_px * np.eye(2), radial)
        for _ in range(4):
            zpn = _with_matrix(zpn, lon, lat, x, y, weight)
            back = np.linalg.solve(zpn.matrix, np.stack([x - zpn.cx, y - zpn.cy]))
            d, s, c = _about(lon, lat, zpn.lon_deg, zpn.lat_deg)
            zpn = replace(zpn, coefficients=_polynomial(d, back[0] * s + back[1] * c, weight))
        return zpn

    def residual(values: Float) -> Float:
        zpn = inner(values)
        miss = np.stack([x - zpn.cx, y - zpn.cy]) - zpn.offsets(lon, lat)
        return np.asarray((miss * weight).ravel())

    # The Gauss-Newton steps move axis and centre; matrix and polynomial follow.
    steps = np.array([1e-3, 1e-3, 1e-2, 1e-2])
    for _ in range(10):
        now = residual(place)
        columns = [(residual(place + steps * unit) - now) / steps[k] for k, unit in _units(4)]
        delta, *_ = np.linalg.lstsq(np.stack(columns, axis=1), -now, rcond=1e-8)
        place = place + delta
        if np.max(np.abs(delta)) < 1e-5:
            break
    zpn = inner(place)
    miss = np.stack([x - zpn.cx, y - zpn.cy]) - zpn.offsets(lon, lat)
    error = float(np.max(np.hypot(*miss)[altitude > STATED_ABOVE_DEG]))
    cards: list[Card] = [
        *_cards(zpn, "RA---ZPN", "DEC--ZPN"),
        ("RADESYS", "ICRS", ""),
        ("WCSNAME", "equatorial", f"error to {error:.3f} px above {STATED_ABOVE_DEG:.0f} deg"),
        ("DATE-AVG", as_utc(when).strftime("%Y-%m-%dT%H:%M:%S.%f"), "UTC, valid at this instant"),
    ]
    return cards, error


def _units(n: int) -> list[tuple[int, Float]]:
    return list(enumerate(np.eye(n)))


def _about(
    lon_deg: Float, lat_deg: Float, lon0_deg: float, lat0_deg: float
) -> tuple[Float, Float, Float]:
    """Return distance (radians) from a point, and sine and cosine of the position angle there."""
    lon, lat = np.radians(np.asarray(lon_deg) - lon0_deg), np.radians(lat_deg)
    lat0 = np.radians(lat0_deg)
    east = np.cos(lat) * np.sin(lon)
    north = np.sin(lat) * np.cos(lat0) - np.cos(lat) * np.sin(lat0) * np.cos(lon)
    toward = np.sin(lat) * np.sin(lat0) + np.cos(lat) * np.cos(lat0) * np.cos(lon)
    across = np.hypot(east, north)
    safe = np.maximum(across, 1e-15)
    return np.arctan2(across, toward), east / safe, north / safe


def _powers(d: Float) -> Float:
    return np.asarray(np.asarray(d)[..., None] ** _POWERS)


def _polynomial(d: Float, radius: Float, weight: Float) -> Float:
    """Return the odd polynomial of ``d`` nearest to ``radius``, scaled to begin with ``d``."""
    top = float(np.max(d))
    columns = (np.asarray(d) / top)[:, None] ** _POWERS
    solution, *_ = np.linalg.lstsq(columns * weight[:, None], radius * weight, rcond=1e-12)
    coefficients = solution / top**_POWERS
    return np.asarray(coefficients / coefficients[0])


def _with_matrix(
    zpn: _Zpn, lon: Float, lat: Float, x: Float, y: Float, weight: Float | None = None
) -> _Zpn:
    """Return it with the matrix that brings the plane nearest to the pixels."""
    w = np.ones_like(x) if weight is None else weight
    plane = (zpn.plane(lon, lat) * w).T
    pixels = (np.stack([x - zpn.cx, y - zpn.cy]) * w).T
    solution, *_ = np.linalg.lstsq(plane, pixels, rcond=None)
    return replace(zpn, matrix=np.asarray(solution.T))


def _cards(zpn: _Zpn, lon_type: str, lat_type: str) -> list[Card]:
    cd = _DEGREE * np.linalg.inv(zpn.matrix)
    cards: list[Card] = [
        ("WCSAXES", 2, ""),
        ("CTYPE1", lon_type, ""),
        ("CTYPE2", lat_type, ""),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRPIX1", zpn.cx + 1.0, "pixel 1 is the first"),
        ("CRPIX2", zpn.cy + 1.0, "row 1 is the first row of the array"),
        ("CRVAL1", zpn.lon_deg % 360.0, "optical axis"),
        ("CRVAL2", zpn.lat_deg, "optical axis"),
        ("CD1_1", float(cd[0, 0]), ""),
        ("CD1_2", float(cd[0, 1]), ""),
        ("CD2_1", float(cd[1, 0]), ""),
        ("CD2_2", float(cd[1, 1]), ""),
        ("LONPOLE", 180.0, ""),
    ]
    for power, value in zip(_POWERS, zpn.coefficients, strict=True):
        cards.append((f"PV2_{power}", float(value), f"theta^{power}"))
    return cards
