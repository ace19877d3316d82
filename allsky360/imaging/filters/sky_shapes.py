"""What the models of the sky are made of, on a grid of rings about the zenith and rays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXTINCTIONS = (0.16, 0.35, 0.7)
"""Magnitudes an airmass: pure air on a mountain, clear, hazy."""


def natural_rise(zenith_distance_deg: Floats, extinction: float = 0.16) -> Floats:
    """Return the brightness of the natural moonless sky over that of the zenith.

    Airglow of a layer at 90 km and starlight, dimmed by extinction in magnitudes an airmass (van
    Rhijn 1921; Leinert et al. 1998, A&AS 127, 1).
    """
    z = np.radians(np.minimum(zenith_distance_deg, 88.0))
    airmass = 1.0 / (np.cos(z) + 0.50572 * (96.07995 - np.degrees(z)) ** -1.6364)
    van_rhijn = 1.0 / np.sqrt(1.0 - (np.sin(z) / 1.0141) ** 2)
    return np.asarray((0.6 * van_rhijn + 0.4) * 10.0 ** (-0.4 * extinction * (airmass - 1.0)))


def directions(zenith_distances_deg: tuple[float, ...], rays: int) -> Floats:
    """``(rings * rays, 3)`` unit vectors of a polar grid; the third component is up."""
    z = np.radians(zenith_distances_deg)[:, None]
    turn = 2.0 * np.pi * np.arange(rays) / rays
    up = np.broadcast_to(np.cos(z), (z.size, rays))
    found = np.stack([np.sin(z) * np.cos(turn), np.sin(z) * np.sin(turn), up], axis=-1)
    return found.reshape(-1, 3)


def bumps(turn_deg: Floats, count: int) -> Floats:
    """``(…, count)`` periodic cubic B-splines, evenly spaced; they add up to 1 everywhere."""
    place = turn_deg[..., None] * (count / 360.0) - np.arange(count)
    t = np.abs((place + count / 2.0) % count - count / 2.0)
    inner = 2.0 / 3.0 - t**2 + 0.5 * t**3
    return np.asarray(np.where(t < 1.0, inner, np.maximum(2.0 - t, 0.0) ** 3 / 6.0))
