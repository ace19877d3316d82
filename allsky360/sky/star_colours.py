"""White balance from star colours: gains of red and blue that make a Sun-like star white.

The magnitude of a star in red, less that in green, is a line in its B-V with a little bend::

    m_R - m_G = a + b (B-V - 0.65) + c (B-V - 0.65)^2 + k X

``k X`` is the reddening by the air (red is dimmed less than green, blue more), X the airmass; so
``a`` is the colour of a star like the Sun (B-V = 0.65: Ramirez et al. 2012, ApJ 752, 5) above the
atmosphere, and ``10^(0.4 a)`` is the gain of red that makes its light white; the same for blue.
Above the atmosphere, because by day what the air takes from sunlight comes back as skylight.

Light is summed over the photosites of each colour, never over interpolated values: debayering
invents the colour of small stars. Photosites of a colour stand on a lattice of two pixels, so each
weighs four (green: two) pixels' worth; the circle ends softly, over two pixels, so that its sum
hardly depends on where the lattice lies. Clouds are grey and vignetting is nearly so: both cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.model import BayerPattern
from allsky360.sky.crowding import light_within
from allsky360.sky.photometry import Photometry

Float = NDArray[np.float64]

SUN_BV = 0.65
BV_RANGE = (-0.3, 1.7)
"""Redder and bluer stars are few and leave the line."""

LEAST_SNR = 20.0
MAX_AIRMASS = 3.0
BLEND = 0.10
"""Largest share of a star's light that its neighbours may add."""

MIN_STARS, MAX_STARS = 12, 400
TRUSTED = 0.08
"""Standard error, as a share of a gain, above which nobody should use it."""

AIR = ((-0.045, 0.03), (0.09, 0.05))
"""Reddening, magnitudes an airmass: red less green and blue less green, mean and width."""

SLOPE = ((-0.5, 0.5), (0.6, 0.5))
BEND_SIGMA = 0.08
SCATTER_MAG = 0.02
"""Scatter of real stars of one B-V."""
LENS_MAG = 0.015
"""Error common to all stars: the share of each colour's light that the circle holds differs."""

DRIFT_MAG = 0.002
"""By which the truth may change from frame to frame: filters age, dew comes and goes."""


@dataclass(frozen=True)
class StarBalance:
    """Gains, green = 1, that make a Sun-like star white, with their standard errors.

    ``frames`` is how many frames they come from.
    """

    red: float
    red_sigma: float
    blue: float
    blue_sigma: float
    stars: int
    frames: int = 1

    @property
    def gains(self) -> tuple[float, float] | None:
        """Red and blue; None while they are too uncertain to be used."""
        errors = (self.red_sigma / self.red, self.blue_sigma / self.blue)
        return (self.red, self.blue) if max(errors) < TRUSTED else None


def measure_star_balance(
    image: Array, pattern: BayerPattern | None, photometry: Photometry
) -> StarBalance | None:
    """Measure the gains on one frame; None where too few stars tell.

    Parameters
    ----------
    image
        ``(H, W, 3)`` float32 linear frame on any device, camera colours, not white balanced.
    pattern
        Colours of the top-left 2x2 cell, whose photosites are still in the image as they were
        read; None where each pixel has all three.
    photometry
        Of the same frame: which stars are there, alone, and not saturated.
    """
    if image.shape[2] != 3:
        return None
    p = photometry
    radius = max(1.4 * p.fwhm_px, 2.8)
    own = 10.0 ** (-0.4 * p.v_mag)
    usable = (
        (p.flags == 0)
        & p.detected
        & (p.flux > LEAST_SNR * p.flux_sigma)
        & (p.airmass < MAX_AIRMASS)
        & (p.bv > BV_RANGE[0])
        & (p.bv < BV_RANGE[1])
    )
    some = np.flatnonzero(usable)
    content = light_within(p.x[some], p.y[some], p.sources, radius + 1.0, p.fwhm_px)
    some = some[content < (1.0 + BLEND) * own[some]]
    some = some[np.argsort(-p.flux[some], kind="stable")[:MAX_STARS]]
    if some.size < MIN_STARS:
        return None
    flux, noise = colour_sums(image, pattern, p.x[some], p.y[some], radius)
    good = np.isfinite(flux).all(axis=1) & (flux > 5.0 * noise).all(axis=1)
    if np.count_nonzero(good) < MIN_STARS:
        return None
    magnitude = -2.5 * np.log10(flux[good])
    error = 1.0857 * noise[good] / flux[good]
    bv, air = p.bv[some][good], p.airmass[some][good]
    found = []
    for channel, reddening, slope in zip((0, 2), AIR, SLOPE, strict=True):
        colour = magnitude[:, channel] - magnitude[:, 1]
        sigma = np.hypot(error[:, channel], error[:, 1])
        found.append(_fit(colour, sigma, bv, air, reddening, slope))
    (red, red_sigma), (blue, blue_sigma) = ((10.0 ** (0.4 * a), s) for a, s in found)
    return StarBalance(
        red, red * red_sigma / 1.0857, blue, blue * blue_sigma / 1.0857, int(good.sum())
    )


def remember_balance(old: StarBalance | None, new: StarBalance | None) -> StarBalance | None:
    """Return the memory after one more clear frame: a Kalman filter on a slowly drifting truth."""
    if old is None or new is None:
        return old if new is None else new
    red, red_sigma = _mean(old.red, old.red_sigma, new.red, new.red_sigma)
    blue, blue_sigma = _mean(old.blue, old.blue_sigma, new.blue, new.blue_sigma)
    return StarBalance(red, red_sigma, blue, blue_sigma, new.stars, old.frames + 1)


def _mean(old: float, old_sigma: float, new: float, new_sigma: float) -> tuple[float, float]:
    """Weigh two gains, in magnitudes; what is common to all frames does not average out."""
    lens = LENS_MAG**2
    before = max((1.0857 * old_sigma / old) ** 2 - lens, 0.0) + DRIFT_MAG**2
    fresh = max((1.0857 * new_sigma / new) ** 2 - lens, 0.005**2)
    share = before / (before + fresh)
    gain = old * (new / old) ** share
    return gain, gain * math.sqrt((1.0 - share) * before + lens) / 1.0857


def colour_sums(
    image: Array, pattern: BayerPattern | None, x: Float, y: Float, radius: float
) -> tuple[Float, Float]:
    """Sum each colour's photosites in circles about ``(x, y)``, the sky about them taken off.

    Returns
    -------
    flux, sigma
        ``(N, 3)`` float64 each, in the image's unit summed over pixels; NaN where the circle or
        its sky ring leaves the image.
    """
    inner = radius + 3.0
    outer = inner + 6.0
    reach = math.ceil(outer + 0.5)
    height, width = image.shape[:2]
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    fits = (np.minimum(column, row) >= reach) & (column < width - reach) & (row < height - reach)
    flux, sigma = np.full((x.size, 3), np.nan), np.full((x.size, 3), np.nan)
    dy, dx = (g.ravel() for g in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    away = np.hypot(dy, dx)
    cell = _colours(pattern)
    for j, i in np.ndindex(2, 2):
        # Stars on one place of the 2x2 cell have the same photosites of a colour about them.
        mine = np.flatnonzero(fits & (row % 2 == j) & (column % 2 == i))
        if not mine.size:
            continue
        pixels = _gather(image, (row[mine, None] + dy) * width + column[mine, None] + dx)
        for c in range(3):
            sites = cell[(j + dy) % 2, (i + dx) % 2, c]
            near, ring = sites & (away < radius + 2.0), sites & (away > inner) & (away < outer)
            r = np.hypot(
                column[mine, None] + dx[near] - x[mine, None],
                row[mine, None] + dy[near] - y[mine, None],
            )
            light = pixels[..., c].astype(np.float64)
            flux[mine, c], sigma[mine, c] = _sum(light[:, near], r, light[:, ring], radius)
            share = float(np.mean(cell[..., c]))
            flux[mine, c] /= share
            sigma[mine, c] /= share
    return flux, sigma


def _colours(pattern: BayerPattern | None) -> NDArray[np.bool_]:
    """Return which colours the photosites of the 2x2 cell have measured, ``(2, 2, 3)``."""
    if pattern is None:
        return np.ones((2, 2, 3), dtype=bool)
    letters = np.array(list(pattern)).reshape(2, 2, 1)
    return np.asarray(letters == np.array(["R", "G", "B"]))


def _gather(image: Array, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Bring some pixels to the host: ``(N, K, 3)`` for ``(N, K)`` indices of the flat image."""
    xp = array_api_compat.array_namespace(image)
    where = xp.asarray(index.reshape(-1), device=array_api_compat.device(image))
    taken = xp.take(xp.reshape(image, (-1, 3)), where, axis=0)
    return np.asarray(to_host(taken)).reshape(*index.shape, 3)


def _sum(values: Float, r: Float, ring: Float, radius: float) -> tuple[Float, Float]:
    """Return sum over a soft circle less the sky, and its noise.

    ``values`` and ``r`` ``(N, K)`` are the sites about each star and their distances, ``ring``
    ``(N, M)`` what the sky is taken from.
    """
    ring = np.sort(ring, axis=1)
    size = ring.shape[1]
    sky = ring[:, size // 2]
    spread = sky - ring[:, int(0.1587 * size)]
    # Stars in the ring lie above it: the median of what is left without them.
    count = np.sum(ring <= (sky + 2.5 * spread)[:, None], axis=1)
    sky = ring[np.arange(count.size), count // 2]
    t = np.clip((radius + 1.0 - r) / 2.0, 0.0, 1.0)
    weight = t * t * (3.0 - 2.0 * t)
    area = np.sum(weight, axis=1)
    total = np.sum(weight * values, axis=1) - area * sky
    variance = np.sum(weight**2, axis=1) + 1.57 * area**2 / count
    return total, spread * np.sqrt(variance)


def _fit(
    colour: Float,
    sigma: Float,
    bv: Float,
    air: Float,
    reddening: tuple[float, float],
    slope: tuple[float, float],
) -> tuple[float, float]:
    """Return the colour of a Sun-like star above the air and its error, magnitudes.

    Least squares with Gaussian priors on all but the colour itself, made robust by Cauchy weights.
    """
    t = bv - SUN_BV
    design = np.stack([np.ones_like(t), t, t**2, air], axis=1)
    centre = np.array([0.0, slope[0], 0.0, reddening[0]])
    held = np.diag([0.0, slope[1] ** -2, BEND_SIGMA**-2, reddening[1] ** -2])
    sigma = np.hypot(sigma, SCATTER_MAG)
    weight = np.ones_like(t)
    answer = centre
    covariance: Float = np.eye(4)
    spread = 1.0
    for _ in range(12):
        w = weight / (sigma * spread) ** 2
        normal = design.T @ (w[:, None] * design) + held
        covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
        answer = covariance @ (design.T @ (w * colour) + held @ centre)
        rest = (colour - design @ answer) / sigma
        spread = max(1.4826 * float(np.median(np.abs(rest))), 1.0)
        weight = 1.0 / (1.0 + (rest / (2.0 * spread)) ** 2)
    return float(answer[0]), math.sqrt(float(covariance[0, 0]) + LENS_MAG**2)
