"""The sky behind the stars: every glow added up, seen through and hidden by clouds."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.simulator import radiance as glow
from allsky360.simulator.photometry import radiance
from allsky360.simulator.scene import Scene
from allsky360.simulator.view import View
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.ephemeris import SunMoon, horizon_rotation
from allsky360.sky.moonlight import K_V, moon_phase_angle_deg

Array = NDArray[np.float32]


def sky_planes(
    view: View, when: datetime, lights: SunMoon, depth: Array
) -> tuple[list[Array], Array]:
    """Return the background radiance of each band and of V on the coarse grid.

    Parameters
    ----------
    depth
        Optical depth of the clouds on the coarse grid.
    """
    grid, c = view.scene.grid, view.conditions
    transmission = np.exp(-depth)
    sun = horizon_vectors(
        np.array(lights.sun_altitude_deg), np.array(lights.sun_azimuth_deg)
    ).astype(np.float32)
    moon = horizon_vectors(
        np.array(lights.moon_altitude_deg), np.array(lights.moon_azimuth_deg)
    ).astype(np.float32)
    turn = np.radians(grid.azimuth_deg - np.float32(lights.sun_azimuth_deg))
    natural, town = glow.night_sky(
        grid.up, grid.airmass, grid.azimuth_deg, c.zenith_mag_arcsec2, c.domes
    )
    parts: list[tuple[Array, float | Array]] = [(natural, glow.NIGHT_BV), (town, glow.TOWN_BV)]
    dark = float(radiance(c.zenith_mag_arcsec2))
    lit_from_below = max(0.0, 10 ** (0.4 * (21.9 - c.zenith_mag_arcsec2)) - 1.0)
    cloud: list[tuple[float | Array, float]] = [
        (0.5 * dark, glow.NIGHT_BV),
        (dark * min(lit_from_below, 20.0) + 0.6 * town, glow.TOWN_BV),
    ]
    if c.milky_way and lights.sun_altitude_deg < -6.0:
        icrs = grid.vectors @ horizon_rotation(view.site, when).astype(np.float32)
        dimming = 10.0 ** (-0.4 * K_V * grid.airmass)
        parts.append((glow.milky_way(icrs) * dimming, glow.MILKY_WAY_BV))
    if lights.moon_altitude_deg > -1.5:
        moonlit = glow.moonlit_sky(
            grid.vectors @ moon,
            grid.airmass,
            lights.moon_altitude_deg,
            moon_phase_angle_deg(lights),
        )
        parts.append((moonlit, glow.MOONLIT_SKY_BV))
        cloud.append((2.0 * float(np.median(moonlit)), 0.6))
    if lights.sun_altitude_deg > -19.0:
        sunlit, bv = glow.sunlit_sky(
            grid.up, grid.vectors @ sun, np.cos(turn), lights.sun_altitude_deg
        )
        parts.append((sunlit, bv))
        low = float(np.clip((lights.sun_altitude_deg + 6.0) / 12.0, 0.0, 1.0))
        cloud.append(
            (0.7 * sunlit + (0.4 + 2.4 * low) * float(np.median(sunlit)), 0.45 + 0.15 * low)
        )

    # Thick cloud is darker underneath; what it hides it replaces by its own light.
    body = (1.0 - transmission) * (0.55 + 0.45 * np.exp(-depth / 7.0))
    v_plane = transmission * sum(p for p, _ in parts) + body * sum(p for p, _ in cloud)
    planes = []
    for band in view.bands:
        clear = sum(p * band.colour_factor(bv).astype(np.float32) for p, bv in parts)
        hidden = sum(p * np.float32(band.colour_factor(bv)) for p, bv in cloud)
        planes.append(np.asarray(transmission * clear + body * hidden, dtype=np.float32))
    return planes, np.asarray(v_plane, dtype=np.float32)


def cloud_fraction(scene: Scene, depth: Array) -> float:
    """Return the share of the sky above 10 degrees with an optical depth over 0.3."""
    weight = scene.grid.solid_angle * (scene.grid.up > np.sin(np.radians(10.0)))
    return float(np.sum(weight * (depth > 0.3)) / np.sum(weight))
