"""Light domes: a model of the sky's background in altitude and azimuth, and its fit.

The background at zenith distance ``z`` and azimuth ``a`` is taken to be a natural sky, the same all
round, a veil, and the Milky Way::

    B(z, a) = sum n_k rise_k(z) + sum v_jk D_jk(z, a) + band(z, a),     n, v >= 0

* ``rise_k``: the brightness of the natural sky for several extinctions (:func:`.natural_rise`).
* ``D_jk``: glows of two shapes, each in several sizes, spread evenly round the horizon.
  ``exp(-altitude / h)`` times a bump in azimuth is a long bank of haze or many towns, and
  ``exp(-angle / t)`` with the angle from a point of the horizon is one town. Sums of exponentials
  with positive weights are the functions that fall, and whose every derivative falls, as scattered
  light does; the higher a glow, the wider it is. Nothing of it is narrower than 20 degrees, and all
  of it falls with altitude, so that the Moon, clouds and the band do not fit.
* ``band``: light along a great circle, where one is seen (:mod:`.milky_way`).

The fit is of non-negative least squares in relative units, robust from one side: what stands in a
sky is nearly always brighter than it, so what lies above the model counts for ``ABOVE``, and what
lies below it in full (asymmetric least squares, Newey & Powell 1987, Econometrica 55, 819). The
veil pays a small price (an L1 penalty), so that a sky that does without gets none.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.filters import milky_way
from allsky360.imaging.filters.filter import State
from allsky360.imaging.filters.nonnegative import solve_nonnegative
from allsky360.imaging.filters.sky_shapes import EXTINCTIONS, bumps, directions, natural_rise
from allsky360.imaging.scene import luminance_of

Floats = NDArray[np.float64]

BANKS = ((3.0, 24), (6.0, 20), (10.0, 12), (17.0, 6))
"""Height in degrees, and how many round the horizon."""
TOWNS = ((10.0, 18), (20.0, 12), (45.0, 6))
ABOVE = 0.08
PRICE = 3e-4
ROUNDS = 12


def fit(polar: Floats, known: NDArray[np.bool_], zenith_distances_deg: tuple[float, ...]) -> Floats:
    """Fit the model to a background.

    Parameters
    ----------
    polar
        ``(rings, rays, C)`` background.
    known
        ``(rings, rays)``: where it is sky.
    zenith_distances_deg
        Of the rings.

    Returns
    -------
    Floats
        ``(K, C)`` coefficients of the natural sky and the veil, natural sky first.
    """
    _, rays, channels = polar.shape
    light = luminance_of(polar).ravel()
    use = known.ravel() & (light > 0)
    design = terms(zenith_distances_deg, rays)
    count = design.shape[1]
    if use.sum() < 4 * len(EXTINCTIONS):
        return np.zeros((count, channels))
    band = milky_way.band_terms(np.where(use, light, 0.0), zenith_distances_deg, rays)
    design = np.concatenate([design, band], axis=1)[use]
    values = light[use]
    area = np.repeat(np.sin(np.radians(zenith_distances_deg)) + 0.05, rays)[use]
    exact = area / values**2
    price = np.zeros(design.shape[1])
    price[len(EXTINCTIONS) : count] = PRICE
    keep = 1.0 - price
    weight = exact
    normal, found = _normal(design, weight), np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        found = solve_nonnegative(normal, keep * (design.T @ (weight * values)), found)
        wanted = np.where(values > design @ found, ABOVE * exact, exact)
        moved = wanted != weight
        if not moved.any():
            break
        normal = normal + _normal(design[moved], (wanted - weight)[moved])
        weight = wanted
    planes = design.T @ (weight[:, None] * polar.reshape(-1, channels)[use])
    return np.stack(
        [solve_nonnegative(normal, keep * plane, found)[:count] for plane in planes.T], axis=-1
    )


def _normal(design: Floats, weight: Floats) -> Floats:
    return np.asarray((design * weight[:, None]).T @ design)


def evaluate(
    state: State, zenith_distances_deg: tuple[float, ...], rays: int, channels: int
) -> tuple[Floats, Floats]:
    """Return the natural sky and the veil of a fit, each ``(rings, rays, C)``."""
    design = terms(zenith_distances_deg, rays)
    split = len(EXTINCTIONS)
    shape = (len(zenith_distances_deg), rays, channels)
    natural = design[:, :split] @ np.asarray(state["natural"]).reshape(split, channels)
    veil = design[:, split:] @ np.asarray(state["veil"]).reshape(-1, channels)
    return natural.reshape(shape), veil.reshape(shape)


@lru_cache(maxsize=4)
def terms(zenith_distances_deg: tuple[float, ...], rays: int) -> Floats:
    """``(rings * rays, K)``: natural skies and glows at every place of a polar grid."""
    z = np.array(zenith_distances_deg)
    azimuth = np.arange(rays) * 360.0 / rays
    shape = (z.size, rays)
    columns = [np.broadcast_to(natural_rise(z, k)[:, None, None], (*shape, 1)) for k in EXTINCTIONS]
    columns += [
        np.exp((z - 90.0) / height)[:, None, None] * bumps(azimuth, count)
        for height, count in BANKS
    ]
    toward = directions(zenith_distances_deg, rays)
    for size, count in TOWNS:
        at = directions((90.0,), count)
        angle = np.degrees(np.arccos(np.clip(toward @ at.T, -1.0, 1.0)))
        columns.append(np.exp(-angle / size).reshape(*shape, count))
    return np.concatenate(columns, axis=-1).reshape(z.size * rays, -1)
