"""The sky under a star where it is not even: cloud lit by the Moon or by lamps, glare, landscape.

A ring's median stands for the sky in its middle as long as the sky is flat or slopes evenly. Clouds
bend: under a full Moon what a bent sky leaves in a star's circle is ten times the photon noise. So
a surface of second order is fitted to the pixels around each circle as well. It knows less of a
flat sky than the ring does (it reaches into the middle, where it has no pixels), so how far it is
believed depends on how uneven the sky really is there: the scatter between both levels among the
faint stars and empty places around, beyond what noise explains, is the ring's error. This is the
weighting of two measurements by their variances, one of which is learned from the frame itself
(empirical Bayes, Efron & Morris 1973, J. Am. Stat. Assoc. 68, 117).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, starfield
from allsky360.arrays.apertures import ApertureShape, ApertureSums
from allsky360.arrays.bands import compiled, in_bands

Float = NDArray[np.float64]

_CUT_SIGMA = 3.0
_FEWEST_PIXELS = 40
_QUIET_SIGMA, _QUIET_PLACES = 6.0, 600
_AROUND_SHARE = 0.04
"""Reach of the average over places around, a share of the frame's longer side."""

_WORTH = 8.0
"""Unevenness that is let pass, over the noise that photons leave in the mean of a circle. Unseen
stars of the Milky Way make some, and a surface takes a little of a star's own wings for sky; lit
cloud makes a hundred."""

_FEWEST_PLACES = 20
_GRID = 18  # cells of the map of unevenness along each side


@dataclass(frozen=True, eq=False)
class SkyLevels:
    """Levels of the sky in both circles of each place, ``(N,)`` float64.

    Attributes
    ----------
    near, wide
        Mean level of a pixel within the circle and within the wide circle.
    pixel_sigma
        Noise of a pixel.
    level_sigma
        Error of ``near``.
    surface_share
        Weight of the fitted surface; 0 where the ring's median is the level.
    """

    near: Float
    wide: Float
    pixel_sigma: Float
    level_sigma: Float
    surface_share: Float


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Surfaces fitted around each place: levels in the circles, noise, variance over noise^2."""

    near: Float
    wide: Float
    sigma: Float
    variance: Float
    good: NDArray[np.bool_]


def sky_levels(
    plane: Array, sums: ApertureSums, shape: ApertureShape, blocked: Array | None
) -> SkyLevels:
    """Return the sky's level under each circle.

    Parameters
    ----------
    plane
        ``(H, W)`` float32.
    sums
        As measured with ``shape``; rings and centres are taken from there.
    blocked
        ``(H, W)`` uint8, over 127 where a known star keeps a pixel out.
    """
    ring_variance = 1.57 * sums.sky_sigma**2 / np.maximum(sums.ring_pixels, 1.0)
    n = sums.x.size
    near, wide, share = sums.sky.copy(), sums.sky.copy(), np.zeros(n)
    pixel, error = sums.sky_sigma.copy(), ring_variance.copy()
    # A few places tell where the sky is uneven; most skies are even, and then that was all.
    first = _quiet(sums, shape)
    uneven = _uneven(sums, shape, first, _surfaces(plane, sums, first, shape, blocked), plane.shape)
    k = np.flatnonzero(sums.inside & (uneven > 0.0))
    if k.size:
        surfaces = _surfaces(plane, sums, k, shape, blocked)
        error_s = surfaces.variance * surfaces.sigma**2
        total = np.maximum(uneven[k] + ring_variance[k] + error_s, 1e-30)
        w = np.where(surfaces.good, uneven[k] / total, 0.0)
        share[k] = w
        near[k] += w * (surfaces.near - sums.sky[k])
        wide[k] += w * (surfaces.wide - sums.sky[k])
        pixel[k] = np.sqrt((1.0 - w) * pixel[k] ** 2 + w * surfaces.sigma**2)
        error[k] = (1.0 - w) ** 2 * (ring_variance[k] + uneven[k]) + w**2 * error_s
    return SkyLevels(near, wide, pixel, np.sqrt(error), share)


def _quiet(sums: ApertureSums, shape: ApertureShape) -> NDArray[np.intp]:
    """Return places without a bright star, whose wings would lift the surface."""
    noise = np.sqrt(np.pi * shape.radius**2) * sums.sky_sigma
    where = np.flatnonzero(sums.inside & (sums.flux < _QUIET_SIGMA * noise))
    return where[:: max(1, -(-where.size // _QUIET_PLACES))]


def _uneven(
    sums: ApertureSums,
    shape: ApertureShape,
    where: NDArray[np.intp],
    surfaces: _Surfaces,
    size: tuple[int, int],
) -> Float:
    """Return the variance of the ring's level about the truth, from the places around each.

    Less what is let pass; 0 in even skies, a few unseen stars in the rings included.
    """
    where = where[surfaces.good]
    if where.size < _FEWEST_PLACES:
        return np.zeros(sums.x.size)
    s2 = surfaces.sigma[surfaces.good] ** 2
    known = s2 * (1.57 / np.maximum(sums.ring_pixels[where], 1.0))
    known += s2 * surfaces.variance[surfaces.good]
    excess = (sums.sky[where] - surfaces.near[surfaces.good]) ** 2 - known
    excess = np.minimum(excess, np.quantile(excess, 0.97))
    height, width = size
    rows, columns = np.divmod(np.arange(_GRID * _GRID), _GRID)
    gx, gy = (columns + 0.5) * width / _GRID, (rows + 0.5) * height / _GRID
    reach = max(_AROUND_SHARE * max(size), 3.0 * shape.ring_outer)
    d2 = (gx[:, None] - sums.x[where]) ** 2 + (gy[:, None] - sums.y[where]) ** 2
    weight = np.exp(-0.5 * d2 / reach**2) + 1e-6
    passed = _WORTH * (weight @ s2) / (np.pi * shape.radius**2)
    around = np.maximum((weight @ excess - passed) / weight.sum(axis=1), 0.0)
    row, column = (
        np.clip(np.nan_to_num(v) / side * _GRID, 0, _GRID - 1).astype(np.int64)
        for v, side in ((sums.y, height), (sums.x, width))
    )
    return np.asarray(around[row * _GRID + column])


def _surfaces(
    plane: Array,
    sums: ApertureSums,
    which: NDArray[np.intp],
    shape: ApertureShape,
    blocked: Array | None,
) -> _Surfaces:
    """Fit a surface of second order to the free pixels around some of the circles."""
    inner = shape.radius + 1.0
    outer = inner + 2.2 * shape.window_sigma * 2.355
    reach = int(np.ceil(outer))
    x, y = sums.x[which], sums.y[which]
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    light = starfield.patches(plane, column, row, reach)
    if blocked is not None:
        light[starfield.patches(blocked, column, row, reach) > 127] = np.nan
    out = np.zeros((5, which.size))
    radii = (inner, outer, shape.radius, shape.wide_radius)
    in_bands(_fit, which.size, light, x - column, y - row, sums.sky[which], radii, out)
    near, wide, sigma, variance, pixels = out
    return _Surfaces(near, wide, sigma, variance, (pixels >= _FEWEST_PIXELS) & (sigma > 0))


@compiled
def _fit(
    first: int,
    last: int,
    light: NDArray[np.float32],
    dx: Float,
    dy: Float,
    sky: Float,
    radii: tuple[float, float, float, float],
    out: Float,
) -> None:
    """Least squares on each patch, pixels over three sigma left out the second time."""
    inner, outer, radius, wide = radii
    size = light.shape[1]
    reach = size // 2
    value = np.empty(size * size)
    basis = np.empty((size * size, 6))
    rest = np.empty(size * size)
    root, answer, mean = np.zeros((6, 6)), np.zeros(6), np.zeros(6)
    for k in range(first, last):
        out[0, k] = out[1, k] = sky[k]
        n = 0
        for j in range(size):
            for i in range(size):
                # About the star itself, so that a circle's mean is a sum of two terms.
                u, v = i - reach - dx[k], j - reach - dy[k]
                d2 = u * u + v * v
                if d2 < inner * inner or d2 > outer * outer or not np.isfinite(light[k, j, i]):
                    continue
                u, v = u / outer, v / outer
                value[n] = light[k, j, i] - sky[k]
                basis[n, 0], basis[n, 1], basis[n, 2] = 1.0, u, v
                basis[n, 3], basis[n, 4], basis[n, 5] = u * u, v * v, u * v
                n += 1
        if n < _FEWEST_PIXELS:
            continue
        _normal(basis, value, n, root, answer)
        for m in range(n):
            fitted = 0.0
            for a in range(6):
                fitted += answer[a] * basis[m, a]
            rest[m] = abs(value[m] - fitted)
        sigma = 1.4826 * np.sort(rest[:n])[n // 2]
        kept = 0
        for m in range(n):
            if rest[m] <= _CUT_SIGMA * sigma:
                value[kept] = value[m]
                basis[kept] = basis[m]
                kept += 1
        n = kept
        if n < _FEWEST_PIXELS:
            continue
        _normal(basis, value, n, root, answer)
        far = (wide / outer) ** 2 / 4.0
        spread = (radius / outer) ** 2 / 4.0
        mean[:] = 0.0
        mean[0], mean[3], mean[4] = 1.0, spread, spread
        out[0, k] = sky[k] + answer[0] + spread * (answer[3] + answer[4])
        out[1, k] = sky[k] + answer[0] + far * (answer[3] + answer[4])
        out[2, k] = sigma
        _forward(root, mean)
        for a in range(6):
            out[3, k] += mean[a] * mean[a]
        out[4, k] = n


@compiled
def _normal(basis: Float, value: Float, n: int, root: Float, answer: Float) -> None:
    """Solve the normal equations by Cholesky; ``root`` becomes the lower triangle."""
    root[:] = 0.0
    answer[:] = 0.0
    for m in range(n):
        for a in range(6):
            answer[a] += basis[m, a] * value[m]
            for b in range(a + 1):
                root[a, b] += basis[m, a] * basis[m, b]
    for a in range(6):
        for b in range(a):
            for c in range(b):
                root[a, b] -= root[a, c] * root[b, c]
            root[a, b] /= root[b, b]
        for c in range(a):
            root[a, a] -= root[a, c] * root[a, c]
        root[a, a] = np.sqrt(max(root[a, a], 1e-12))
    _forward(root, answer)
    for a in range(5, -1, -1):
        for b in range(a + 1, 6):
            answer[a] -= root[b, a] * answer[b]
        answer[a] /= root[a, a]


@compiled
def _forward(root: Float, x: Float) -> None:
    """Solve ``root y = x`` in place."""
    for a in range(6):
        for b in range(a):
            x[a] -= root[a, b] * x[b]
        x[a] /= root[a, a]
