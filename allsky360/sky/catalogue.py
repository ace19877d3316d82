"""The packaged star catalogue and where its stars stand in the sky."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site, as_utc
from allsky360.sky.ephemeris import horizon_rotation, observer, skyfield_time
from allsky360.sky.refraction import pressure_mbar, refraction_deg

Float = NDArray[np.float64]

EPOCH = datetime(1991, 4, 2, 13, 30, tzinfo=UTC)  # J1991.25
_JULIAN_YEAR_S = 365.25 * 86400.0
_LIGHT_AU_PER_DAY = 173.1446326846693
_MAS = np.radians(1.0 / 3.6e6)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Stars, brightest first; every field ``(N,)``.

    Attributes
    ----------
    hip
        Hipparcos numbers, int32.
    ra_deg, dec_deg
        ICRS at epoch J1991.25, degrees.
    pm_ra_mas_yr, pm_dec_mas_yr
        Proper motion, mas a year; right ascension times cos(dec).
    parallax_mas
        Parallax, mas.
    v_mag, bv
        Johnson V and B-V.
    """

    hip: NDArray[np.int32]
    ra_deg: Float
    dec_deg: Float
    pm_ra_mas_yr: Float
    pm_dec_mas_yr: Float
    parallax_mas: Float
    v_mag: Float
    bv: Float

    def __len__(self) -> int:
        return int(self.hip.size)

    def __getitem__(self, index: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Catalogue:
        """Return a part of the catalogue, in the order of ``index``."""
        return Catalogue(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})

    @cached_property
    def vectors(self) -> tuple[Float, Float]:
        """Unit vectors ``(N, 3)`` at the epoch and their motion in radians a year ``(N, 3)``."""
        ra, dec = np.radians(self.ra_deg), np.radians(self.dec_deg)
        cr, sr, cd, sd = np.cos(ra), np.sin(ra), np.cos(dec), np.sin(dec)
        toward = np.stack([cr * cd, sr * cd, sd], axis=1)
        east = np.stack([-sr, cr, np.zeros_like(ra)], axis=1)
        north = np.stack([-cr * sd, -sr * sd, cd], axis=1)
        motion = _MAS * (self.pm_ra_mas_yr[:, None] * east + self.pm_dec_mas_yr[:, None] * north)
        return toward, motion


@lru_cache(maxsize=1)
def _whole() -> Catalogue:
    with (
        files("allsky360.sky").joinpath("data/stars.npz").open("rb") as stream,
        np.load(stream) as z,
    ):
        return Catalogue(
            hip=z["hip"],
            ra_deg=z["ra_1e7deg"] * 1e-7,
            dec_deg=z["dec_1e7deg"] * 1e-7,
            pm_ra_mas_yr=z["pm_ra_100uas"] * 0.1,
            pm_dec_mas_yr=z["pm_dec_100uas"] * 0.1,
            parallax_mas=z["parallax_100uas"] * 0.1,
            v_mag=z["v_mmag"] * 0.001,
            bv=z["bv_mmag"] * 0.001,
        )


@lru_cache(maxsize=8)
def load_catalogue(max_v: float = 8.0) -> Catalogue:
    """Return the stars to a V magnitude (the package holds V <= 8), brightest first."""
    whole = _whole()
    return whole[: int(np.searchsorted(whole.v_mag, max_v, side="right"))]


def apparent_altaz(
    catalogue: Catalogue, site: Site, when: datetime, *, refracted: bool = True
) -> tuple[Float, Float]:
    """Return where the stars stand, degrees; azimuth from north through east.

    Proper motion, annual parallax, aberration (annual and diurnal), precession, nutation and
    Earth rotation are applied; light deflection (below 0.01 arcsec away from the Sun) is not.

    Parameters
    ----------
    refracted
        Lift the stars by standard refraction at the site's height.

    Returns
    -------
    altitude_deg, azimuth_deg
        ``(N,)`` float64 each; stars below the horizon have negative altitudes.
    """
    toward, motion = catalogue.vectors
    years = (as_utc(when) - EPOCH).total_seconds() / _JULIAN_YEAR_S
    here = observer(site).at(skyfield_time(when))
    position = np.asarray(here.position.au)
    velocity = np.asarray(here.velocity.au_per_d) / _LIGHT_AU_PER_DAY
    parallax = np.maximum(catalogue.parallax_mas, 0.0)[:, None] * _MAS
    u = toward + motion * years - parallax * position
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    u = aberrated(u, velocity)
    altitude, azimuth = altaz_of(u @ horizon_rotation(site, when).T)
    if refracted:
        altitude = altitude + refraction_deg(
            altitude, pressure_mbar=pressure_mbar(site.elevation_m)
        )
    return altitude, azimuth


def aberrated(u: Float, beta: Float) -> Float:
    """Turn unit vectors ``(N, 3)`` toward the observer's velocity (in units of c).

    Relativistic aberration, Explanatory Supplement (2013), eq. 7.40.
    """
    inverse_gamma = np.sqrt(1.0 - beta @ beta)
    along = (u @ beta)[:, None]
    turned = (inverse_gamma * u + (1.0 + along / (1.0 + inverse_gamma)) * beta) / (1.0 + along)
    return np.asarray(turned)


def altaz_of(vectors: Float) -> tuple[Float, Float]:
    """Return altitude and azimuth in degrees of (north, east, up) unit vectors ``(..., 3)``."""
    north, east, up = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    altitude = np.degrees(np.arctan2(up, np.hypot(north, east)))
    return altitude, np.degrees(np.arctan2(east, north)) % 360.0


def horizon_vectors(altitude_deg: Float, azimuth_deg: Float) -> Float:
    """Return (north, east, up) unit vectors ``(..., 3)`` of a direction in degrees."""
    alt, az = np.radians(altitude_deg), np.radians(azimuth_deg)
    return np.stack([np.cos(alt) * np.cos(az), np.cos(alt) * np.sin(az), np.sin(alt)], axis=-1)
