"""The Milky Way as a filter sees it that knows neither time nor place: a band on a great circle.

Found by a matched filter: a band about each of ``POLES`` great circles is held against what a
smooth sky (natural, with domes of three harmonics of the azimuth) leaves of the background above
``LOWEST_DEG``. The circles are those that rise higher than 40 degrees: a band that lies along the
horizon cannot be told from a dome. Where the best fits well enough, it is given to the fit of the
sky in pieces along the circle, so that the domes need not take its light.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.filters.sky_shapes import EXTINCTIONS, bumps, directions, natural_rise

Floats = NDArray[np.float64]

POLES = 1000
LEAST_RISE_DEG = 40.0
LOWEST_DEG = 20.0
"""Altitude above which the band is looked for."""
WIDTH_DEG = 8.0
ALIKE = 0.65
"""Correlation from which something is a band. Skies without the Milky Way stay below 0.55, with it
they reach 0.8, whatever domes there are."""
WIDTHS_DEG = (3.0, 6.0, 12.0)
PIECES = 12
EXTINCTION = 0.16


def band_terms(light: Floats, zenith_distances_deg: tuple[float, ...], rays: int) -> Floats:
    """Return the pieces of the band that is seen.

    Parameters
    ----------
    light
        ``(rings * rays,)`` background, 0 where it is not known.
    zenith_distances_deg, rays
        The polar grid.

    Returns
    -------
    Floats
        ``(rings * rays, K)``; no column where no band is seen.
    """
    pole = find_pole(light, zenith_distances_deg, rays)
    if pole is None:
        return np.zeros((light.size, 0))
    search = _search(zenith_distances_deg, rays)
    across = np.degrees(np.arcsin(np.clip(search.toward @ pole, -1.0, 1.0)))
    side = np.cross(pole, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    along = np.degrees(np.arctan2(search.toward @ np.cross(pole, side), search.toward @ side))
    pieces = bumps(along, PIECES) * search.dimming[:, None]
    bands = [pieces * np.exp(-np.abs(across) / w)[:, None] for w in WIDTHS_DEG]
    found = np.concatenate(bands, axis=1)
    return found[:, found.max(axis=0) > 0.05]


def find_pole(light: Floats, zenith_distances_deg: tuple[float, ...], rays: int) -> Floats | None:
    """Return the pole of the band, ``(3,)``, or None where none is seen; see :func:`band_terms`."""
    search = _search(zenith_distances_deg, rays)
    known = light > 0
    if not known.any():
        return None
    relative = light / search.natural
    rest = np.where(known, relative / np.median(relative[known]), 1.0) * search.weight
    rest = np.where(known, rest - search.smooth @ (search.smooth.T @ rest), 0.0)
    size = float(np.linalg.norm(rest))
    if size <= 1e-9 * float(np.linalg.norm(search.weight)):
        return None
    alike = search.bands @ rest.astype(np.float32) / size
    best = int(np.argmax(alike))
    return search.poles[best] if alike[best] >= ALIKE else None


@dataclass(frozen=True, eq=False)
class _Search:
    """What depends on the polar grid alone; ``n`` is its number of places."""

    toward: Floats  # (n, 3)
    natural: Floats  # (n,)
    dimming: Floats  # (n,)
    weight: Floats  # (n,)
    smooth: Floats  # (n, k) orthonormal
    poles: Floats  # (POLES, 3)
    bands: NDArray[np.float32]  # (POLES, n), without their smooth part, of unit length


@lru_cache(maxsize=2)
def _search(zenith_distances_deg: tuple[float, ...], rays: int) -> _Search:
    z = np.repeat(zenith_distances_deg, rays)
    altitude = 90.0 - z
    turn = np.tile(2.0 * np.pi * np.arange(rays) / rays, len(zenith_distances_deg))
    natural = natural_rise(z)
    weight = np.sqrt(np.sin(np.radians(z)) + 0.05) * (altitude > LOWEST_DEG)
    columns = [natural_rise(z, k) / natural for k in EXTINCTIONS]
    for height in (6.0, 12.0, 25.0):
        glow = np.exp(-altitude / height) / natural
        columns.append(glow)
        for m in (1, 2, 3):
            columns += [glow * np.cos(m * turn), glow * np.sin(m * turn)]
    smooth, _ = np.linalg.qr(np.stack(columns, axis=-1) * weight[:, None])
    airmass = 1.0 / np.maximum(np.cos(np.radians(z)), 0.1)
    dimming = 10.0 ** (-0.4 * EXTINCTION * (airmass - 1.0))
    toward, poles = directions(zenith_distances_deg, rays), _poles()
    across = np.degrees(np.arcsin(np.clip(toward @ poles.T, -1.0, 1.0)))
    bands = np.exp(-np.abs(across) / WIDTH_DEG) * (dimming * weight)[:, None]
    bands -= smooth @ (smooth.T @ bands)
    bands /= np.linalg.norm(bands, axis=0)
    return _Search(toward, natural, dimming, weight, smooth, poles, bands.T.astype(np.float32))


def _poles() -> Floats:
    """Evenly spread poles (a Fibonacci spiral) of circles that rise high enough."""
    i = np.arange(POLES) + 0.5
    up = np.cos(np.radians(LEAST_RISE_DEG)) * i / POLES
    turn = np.pi * (1.0 + np.sqrt(5.0)) * i
    out = np.sqrt(1.0 - up**2)
    return np.stack([out * np.cos(turn), out * np.sin(turn), up], axis=-1)
