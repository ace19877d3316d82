"""How bright the sky is: night, moonlit, twilight, day, Milky Way, light domes.

Every function returns radiance in zero-magnitude stars per steradian (see ``photometry``) for
directions given as (north, east, up) unit vectors ``(..., 3)`` float32 or altitudes in degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.simulator.photometry import radiance
from allsky360.sky.moonlight import K_V, mag_of_nanolamberts, moonlight_nanolamberts

Array = NDArray[np.float32]

# Zenith brightness of scattered sunlight alone against the Sun's altitude. From 5 to 15 degrees
# below the horizon: Patat, Ugolnikov & Postylyakov (2006), A&A 455, 385, V, minus a 21.6 night.
# Above: zenith luminance of a clear sky (CIE S 011, about 4 kcd/m2 for a high Sun, 100 cd/m2 at
# sunset), 12.58 - 2.5 log10(cd/m2); a smooth bridge between.
ZENITH_MAG_OF_SUN: tuple[tuple[float, float], ...] = (
    *((-90, 40), (-19, 27.5), (-18, 26), (-16, 23.9), (-15, 22.9), (-14, 21.9), (-12, 19.87)),
    *((-10, 18.1), (-8, 15.9), (-6, 13.3), (-5, 11.84), (-4, 10.6), (-3, 9.55), (-2, 8.65)),
    *((-1, 7.9), (0, 7.25), (2, 6.3), (5, 5.5), (10, 4.9), (20, 4.3), (40, 3.7), (90, 3.2)),
)
_SUN_ALTITUDE_DEG, _ZENITH_MAG = zip(*ZENITH_MAG_OF_SUN, strict=True)

SUN_BV, MOON_BV, NIGHT_BV, TOWN_BV, MILKY_WAY_BV = 0.65, 0.92, 0.70, 1.10, 0.70
MOONLIT_SKY_BV = 0.10


@dataclass(frozen=True)
class LightDome:
    """Skyglow of a town.

    ``strength`` is its radiance at the horizon over that of the zenith sky.
    """

    azimuth_deg: float
    strength: float
    width_deg: float = 35.0
    height_deg: float = 11.0


def sun_zenith_mag(sun_altitude_deg: float) -> float:
    """Return the zenith brightness of scattered sunlight, V mag per square arcsec."""
    return float(np.interp(sun_altitude_deg, _SUN_ALTITUDE_DEG, _ZENITH_MAG))


def night_sky(
    up: Array, airmass: Array, azimuth_deg: Array, zenith_mag: float, domes: Sequence[LightDome]
) -> tuple[Array, Array]:
    """Return the moonless sky: airglow and starlight, and light domes.

    Airglow brightens toward the horizon by the van Rhijn function of a layer at 90 km, starlight
    does not; both are dimmed by extinction. The zenith has exactly ``zenith_mag``.
    """
    sine2 = np.maximum(1.0 - up * up, 0.0)
    van_rhijn = 1.0 / np.sqrt(1.0 - sine2 / (1.0 + 90.0 / 6371.0) ** 2)
    dimming = 10.0 ** (-0.4 * K_V * (airmass - 1.0))
    zenith = float(radiance(zenith_mag))
    natural = zenith * (0.6 * van_rhijn + 0.4) * dimming
    altitude = np.degrees(np.arcsin(np.clip(up, -1.0, 1.0)))
    glow = np.zeros_like(up)
    for dome in domes:
        turn = (azimuth_deg - dome.azimuth_deg + 180.0) % 360.0 - 180.0
        glow += dome.strength * np.exp(
            -np.maximum(altitude, 0) / dome.height_deg - 0.5 * (turn / dome.width_deg) ** 2
        )
    return natural.astype(np.float32), (zenith * glow).astype(np.float32)


def moonlit_sky(
    cos_to_moon: Array, airmass: Array, moon_altitude_deg: float, phase_angle_deg: float
) -> Array:
    """Return moonlight scattered by clear air: Krisciunas & Schaefer (1991), PASP 103, 1033.

    Parameters
    ----------
    cos_to_moon
        Cosine of the angle to the Moon.
    phase_angle_deg
        0 at full Moon.
    """
    fade = float(np.clip((moon_altitude_deg + 1.5) / 3.0, 0.0, 1.0))
    fade = fade * fade * (3 - 2 * fade)
    if fade == 0.0:
        return np.zeros_like(airmass)
    light = moonlight_nanolamberts(cos_to_moon, airmass, moon_altitude_deg, phase_angle_deg)
    mag = mag_of_nanolamberts(light)
    return (fade * radiance(mag)).astype(np.float32)


def sunlit_sky(
    up: Array, cos_to_sun: Array, cos_azimuth_to_sun: Array, sun_altitude_deg: float
) -> tuple[Array, Array]:
    """Return scattered sunlight by day and twilight, and its B-V.

    By day the CIE standard clear sky (type 12) relative to its zenith; in twilight an arch that
    is brightest over the Sun's azimuth and a little brighter all along the horizon; a smooth
    mixture around sunset. Scaled to :func:`sun_zenith_mag`.
    """
    zenith = float(radiance(sun_zenith_mag(sun_altitude_deg)))
    day = float(np.clip((sun_altitude_deg + 4.0) / 10.0, 0.0, 1.0))
    day = day * day * (3 - 2 * day)
    sine2 = np.maximum(1.0 - up * up, 0.0)
    toward = ((1.0 + cos_azimuth_to_sun) / 2.0) ** 2
    low = sine2 * sine2
    relative = np.zeros_like(up)
    if day > 0.0:
        gamma = np.arccos(np.clip(cos_to_sun, -1.0, 1.0))
        indicatrix = 1.0 + 10.0 * (np.exp(-3.0 * gamma) - np.exp(-1.5 * np.pi))
        indicatrix += 0.45 * cos_to_sun**2
        sun_z = np.radians(90.0 - np.clip(sun_altitude_deg, 0.0, 90.0))
        at_zenith = 1.0 + 10.0 * (np.exp(-3.0 * sun_z) - np.exp(-1.5 * np.pi))
        at_zenith += 0.45 * np.cos(sun_z) ** 2
        gradation = (1.0 - np.exp(-0.32 / np.maximum(up, 0.01))) / (1.0 - np.exp(-0.32))
        relative += day * indicatrix / at_zenith * gradation
    if day < 1.0:
        relative += (1.0 - day) * 10.0 ** (0.4 * low * (0.5 + 3.0 * toward))
    # Blue overhead, paler to the horizon, orange over a low Sun, with the blue of ozone between.
    low_sun = float(np.clip(1.0 - abs(sun_altitude_deg + 3.0) / 14.0, 0.0, 1.0))
    bv = -0.30 + 0.15 * low_sun + low * (0.55 + 1.5 * low_sun * toward)
    if day > 0.0:
        near = np.exp(-4.0 * np.arccos(np.clip(cos_to_sun, -1.0, 1.0)))
        bv = bv + day * near * np.maximum(SUN_BV - bv, 0.0)
    return (zenith * relative).astype(np.float32), bv.astype(np.float32)


# ICRS to galactic (Hipparcos Catalogue, vol. 1, eq. 1.5.11).
TO_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)
_MAP_STEP_DEG = 0.25


@lru_cache(maxsize=1)
def _milky_way_map() -> Array:
    """Return the galaxy's unresolved light over galactic l, b, ``(721, 1441)``.

    A smooth model: a disc whose width and brightness grow toward the centre, the bulge, the dark
    rift along the plane from Cygnus to Centaurus, fixed mottling, and both Magellanic Clouds.
    Peak about 20.3, anticentre about 22.2 mag per square arcsec (compare Leinert et al. 1998).
    """
    lon = np.arange(0, 360.0 + _MAP_STEP_DEG, _MAP_STEP_DEG)[None, :]
    lat = np.arange(-90, 90.0 + _MAP_STEP_DEG, _MAP_STEP_DEG)[:, None]
    to_centre = np.abs((lon + 180) % 360 - 180)
    width = 5.0 + 5.0 * np.exp(-((to_centre / 50.0) ** 2))
    plane = np.exp(-np.abs(lat) / width)
    disc = float(radiance(21.9)) * plane * (0.8 + 2.0 * np.exp(-((to_centre / 65.0) ** 2)))
    cygnus = np.exp(-(((lon - 78) / 14) ** 2) - ((lat - 1) / 5) ** 2)
    carina = np.exp(-(((((lon - 287) + 180) % 360 - 180) / 16) ** 2) - ((lat + 1) / 4) ** 2)
    disc += float(radiance(22.0)) * (1.0 * cygnus + 1.3 * carina)
    bulge = float(radiance(20.9)) * np.exp(-((to_centre / 11.0) ** 2) - (lat / 7.0) ** 2)
    noise = _mottling(lat.size, lon.size)
    ridge = 1.2 + 0.9 * noise * np.exp(-((to_centre / 90.0) ** 2))
    reach = (2.3 + 0.7 * np.roll(noise, 200, axis=1)).clip(0.8, 4.0)
    torn = np.clip(1.0 + 0.45 * np.roll(noise, 500, axis=1), 0.1, 1.15)
    rift = np.clip(1.2 * np.exp(-((to_centre / 62.0) ** 2)), 0.0, 0.75) * torn
    rift = rift * np.exp(-(((lat - ridge) / reach) ** 2))
    light = (disc * (1.0 + 0.30 * noise * np.exp(-np.abs(lat) / 15.0)) + bulge) * (1.0 - rift)
    for l0, b0, size, mag in ((280.5, -32.9, 2.6, 22.0), (302.8, -44.3, 1.2, 22.6)):
        away2 = ((lon - l0) * np.cos(np.radians(b0))) ** 2 + (lat - b0) ** 2
        light = light + float(radiance(mag)) * np.exp(-away2 / (2 * size**2))
    return np.asarray(np.maximum(light, 0.0), dtype=np.float32)


def _mottling(rows: int, columns: int) -> Array:
    """Return smooth fixed noise of unit variance that wraps in longitude."""
    rng = np.random.default_rng(20_000_101)
    small = (rows // 4 + 1, columns // 4)
    total = np.zeros((rows, columns), dtype=np.float32)
    for sigma, weight in ((1.5, 0.4), (4.0, 0.7), (11.0, 1.0)):
        white = rng.standard_normal(small, dtype=np.float32)
        wide = cv2.GaussianBlur(np.hstack([white] * 3), (0, 0), sigma)
        layer = wide[:, small[1] : 2 * small[1] + 1]
        total += weight * cv2.resize(layer, (columns, rows)) / layer.std()
    return np.asarray(total / total.std(), dtype=np.float32)


def milky_way(toward_icrs: Array) -> Array:
    """Return the galaxy's unresolved light above the atmosphere for ICRS vectors ``(H, W, 3)``."""
    g = toward_icrs @ TO_GALACTIC.T.astype(np.float32)
    lon = np.degrees(np.arctan2(g[..., 1], g[..., 0])) % 360.0
    lat = np.degrees(np.arcsin(np.clip(g[..., 2], -1.0, 1.0)))
    return np.asarray(
        cv2.remap(
            _milky_way_map(),
            (lon / _MAP_STEP_DEG).astype(np.float32),
            ((lat + 90.0) / _MAP_STEP_DEG).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
