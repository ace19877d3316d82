"""Centroid, flux and shape of stars on patches, neighbours taken off.

Every star's neighbours are removed, with the profile that the frame's stars show, before it is
measured again: a few rounds for all stars together. A round takes the median of a ring as
background, moves the centroid to where the mean under a Gaussian window stands still (the windowed
centroid of SExtractor, Bertin & Arnouts 1996, A&AS 117, 393), fits the profile's amplitude under
that window, and takes second moments under it (adaptive moments, Bernstein & Jarvis 2002, AJ 123,
583).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands

Floats = NDArray[np.float32]
Double = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH = 6.0
"""A star's image ends here, in PSF sigmas."""

_STEPS = 360  # of the profile's table, even in the squared distance
_COLUMNS = 13


@dataclass(frozen=True, eq=False)
class Measured:
    """What the patches tell of each star; every array ``(N,)`` float64.

    Attributes
    ----------
    x, y
        Centroid, pixels.
    flux
        Of the fitted profile.
    filtered
        The patch under the normalised Gaussian window: what the matched filter sees, neighbours
        and background taken off.
    background
        Median of the ring.
    spread
        Half the distance of the ring's 16 % and 84 % quantiles: noise, and what is no noise.
    peak
        Highest pixel within 1.4 px of the centroid above the background.
    shift
        How far the centroid is from the whole pixel of the patch, pixels.
    mxx, myy, mxy
        Second moments, the window divided out; NaN where the light is wider than any star.
    near
        Light of neighbours under the window as a share of the star's.
    weight
        Pixels of the window that could be used, as a share of all.
    """

    x: Double
    y: Double
    flux: Double
    filtered: Double
    background: Double
    spread: Double
    peak: Double
    shift: Double
    mxx: Double
    myy: Double
    mxy: Double
    near: Double
    weight: Double

    def taken(self, index: Any) -> Measured:
        """Return part of the stars."""
        return Measured(*(getattr(self, f.name)[index] for f in fields(self)))

    def extended(self, x: Ints, y: Ints) -> Measured:
        """Return these stars and others of which nothing but a place is known."""
        none = np.zeros(x.size)
        parts = {"x": x.astype(np.float64), "y": y.astype(np.float64)}
        return Measured(
            *(np.append(getattr(self, f.name), parts.get(f.name, none)) for f in fields(self))
        )


def gaussian_profile() -> Double:
    """Return the table of a Gaussian's light for :func:`measure`."""
    return np.append(np.exp(-0.5 * _squares()) / (2.0 * np.pi), 0.0)


def profile_of(patches: Floats, stars: Measured, psf_sigma: Double, x: Ints, y: Ints) -> Double:
    """Return the median profile of bright stars as a table for :func:`measure`.

    Light per area over the total, in units of the PSF sigma, at squared distances 0 to
    ``REACH ** 2``; falls to zero there, never rises outward, holds all the light.
    """
    radius = patches.shape[1] // 2
    side = np.arange(-radius, radius + 1)
    dx = side[None, None, :] - (stars.x - x)[:, None, None]
    dy = side[None, :, None] - (stars.y - y)[:, None, None]
    scale = psf_sigma[:, None, None]
    distance = np.hypot(dx, dy) / scale
    light = (patches - stars.background[:, None, None]) * scale**2 / stars.flux[:, None, None]
    fine = np.isfinite(light)
    nodes: list[float] = []
    middle: list[float] = []
    for node in (*np.arange(0.0, 3.0, 0.25), *np.arange(3.0, REACH + 0.1, 0.5)):
        ring = fine & (np.abs(distance - node) < (0.15 if node < 3.0 else 0.3))
        if np.count_nonzero(ring) < 8:
            continue
        at = float(np.median(distance[ring]))
        if nodes and at <= nodes[-1] + 0.05:
            continue
        nodes.append(at)
        middle.append(float(np.median(light[ring])))
    if len(nodes) < 8:
        return gaussian_profile()
    shape = np.asarray(middle) - middle[-1]
    shape = np.minimum.accumulate(np.maximum(shape, 0.0))
    # Even in the logarithm between the nodes, as a bell is nearly even in the square.
    tiny = 1e-9
    squares, logs = np.square(nodes), np.log(shape + tiny)
    rise = max((logs[0] - logs[1]) / (squares[1] - squares[0]), 0.0)
    squares, logs = np.append(0.0, squares), np.append(logs[0] + rise * squares[0], logs)
    logs = np.interp(_squares(), squares, logs)
    table = np.append(np.maximum(np.exp(logs) - tiny, 0.0), 0.0)
    total = float(np.pi * REACH**2 / _STEPS * (table.sum() - 0.5 * table[0]))
    return table / total if total > 0.0 else gaussian_profile()


def _squares() -> Double:
    return np.asarray(np.arange(_STEPS) * (REACH**2 / _STEPS))


def measure(
    patches: Floats,
    x: Ints,
    y: Ints,
    psf_sigma: Double,
    profile: Double,
    *,
    rounds: int = 4,
    start: Measured | None = None,
    settled: NDArray[np.bool_] | None = None,
) -> Measured:
    """Measure every star on the patch around its whole-pixel place.

    Parameters
    ----------
    patches
        ``(N, k, k)`` float32; NaN marks what is not to be used.
    x, y
        ``(N,)`` pixel on which each patch is centred.
    psf_sigma
        ``(N,)`` width of the stars' images there, pixels.
    profile
        Table from :func:`gaussian_profile` or :func:`profile_of`.
    start
        Centroids and fluxes to begin with; default the patches' centres without light.
    settled
        ``(N,)`` bool: stars of ``start`` to leave as they are.
    """
    n, k, _ = patches.shape
    out = np.zeros((_COLUMNS, n))
    out[0], out[1] = x, y
    if start is not None:
        out[:] = [getattr(start, f.name) for f in fields(start)]
    which = np.arange(n) if settled is None else np.flatnonzero(~settled)
    if not which.size:
        return Measured(*out)
    first, others = neighbours(x, y, k // 2 + 3.0)
    for _ in range(rounds):
        before = out.copy()
        in_bands(
            _round, which.size, which, patches, x, y, psf_sigma, profile, first, others, before, out
        )
    return Measured(*out)


def touched(x: Ints, y: Ints, changed: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Return which points lie within ``radius`` of a changed one, those included."""
    first, others = neighbours(x, y, radius)
    of = np.repeat(np.arange(x.size), np.diff(first))
    near = changed.copy()
    near[of[changed[others]]] = True
    return near


def subtract(image: Floats, stars: Measured, psf_sigma: Double, profile: Double) -> None:
    """Take the light of all stars off a host image, in place."""
    _draw(image, stars.x, stars.y, -stars.flux, psf_sigma, profile)


def neighbours(x: Ints | Double, y: Ints | Double, radius: float) -> tuple[Ints, Ints]:
    """Return, for each point, the others within ``radius``: ``others[first[k] : first[k + 1]]``."""
    order = np.lexsort((x, y))
    first, others = _pairs(x[order].astype(np.float64), y[order].astype(np.float64), float(radius))
    back = np.argsort(order)
    counts = np.diff(first)[back]
    total = np.concatenate([[0], np.cumsum(counts)])
    index = np.repeat(first[:-1][back] - total[:-1], counts) + np.arange(total[-1])
    return total, order[others[index]]


@compiled
def _pairs(x: Double, y: Double, radius: float) -> tuple[Ints, Ints]:
    n = x.size
    first = np.zeros(n + 1, np.int64)
    found = np.empty(max(8 * n, 16), np.int64)
    total = low = 0
    for k in range(n):
        while y[low] < y[k] - radius:
            low += 1
        j = low
        while j < n and y[j] <= y[k] + radius:
            dx, dy = x[j] - x[k], y[j] - y[k]
            if j != k and dx * dx + dy * dy <= radius * radius:
                if total == found.size:
                    longer = np.empty(2 * total, np.int64)
                    longer[:total] = found
                    found = longer
                found[total] = j
                total += 1
            j += 1
        first[k + 1] = total
    return first, found[:total].copy()


@compiled
def _light(profile: Double, u: float) -> float:
    """Profile at the squared distance ``u``, in PSF sigmas."""
    position = u * (_STEPS / (REACH * REACH))
    index = int(position)
    if index >= _STEPS:
        return 0.0
    value: float = profile[index] + (position - index) * (profile[index + 1] - profile[index])
    return value


@compiled
def _draw(out: Floats, x: Double, y: Double, flux: Double, psf: Double, profile: Double) -> None:
    h, w = out.shape
    for k in range(x.size):
        s = psf[k]
        if not flux[k] < 0.0:
            continue
        reach, each = REACH * s, 1.0 / (s * s)
        for j in range(max(0, int(np.ceil(y[k] - reach))), min(h - 1, int(y[k] + reach)) + 1):
            for i in range(max(0, int(np.ceil(x[k] - reach))), min(w - 1, int(x[k] + reach)) + 1):
                u = ((i - x[k]) ** 2 + (j - y[k]) ** 2) * each
                out[j, i] += np.float32(flux[k] * each * _light(profile, u))


@compiled
def _without_neighbours(
    work: Double,
    k: int,
    px: int,
    py: int,
    s: float,
    psf: Double,
    profile: Double,
    others: Ints,
    before: Double,
) -> float:
    """Take the neighbours' light off a patch; return how much of it lies under the star."""
    size = work.shape[0]
    radius = size // 2
    cx, cy = before[0, k] - px + radius, before[1, k] - py + radius
    near = 0.0
    for o in others:
        flux = before[2, o]
        if not flux > 0.0:
            continue
        so = psf[o]
        ox, oy = before[0, o] - px + radius, before[1, o] - py + radius
        reach, each = REACH * so, 1.0 / (so * so)
        i0, i1 = max(0, int(np.ceil(ox - reach))), min(size - 1, int(np.floor(ox + reach)))
        j0, j1 = max(0, int(np.ceil(oy - reach))), min(size - 1, int(np.floor(oy + reach)))
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                u = ((i - ox) ** 2 + (j - oy) ** 2) * each
                work[j, i] -= flux * each * _light(profile, u)
        d2 = (ox - cx) ** 2 + (oy - cy) ** 2
        near += flux * np.exp(-0.25 * d2 / (s * s))
    return near


@compiled
def _round(
    k0: int,
    k1: int,
    which: Ints,
    patches: Floats,
    px: Ints,
    py: Ints,
    psf: Double,
    profile: Double,
    first: Ints,
    others: Ints,
    before: Double,
    out: Double,
) -> None:
    size = patches.shape[1]
    radius = size // 2
    work = np.empty((size, size), np.float64)
    ring = np.empty(size * size, np.float64)
    gx = np.empty(size, np.float64)
    for k in which[k0:k1]:
        s = psf[k]
        for j in range(size):
            for i in range(size):
                work[j, i] = patches[k, j, i]
        near = _without_neighbours(
            work, k, px[k], py[k], s, psf, profile, others[first[k] : first[k + 1]], before
        )
        x, y = before[0, k] - px[k] + radius, before[1, k] - py[k] + radius
        # Background: the median of a ring.
        inner, outer = min(3.2 * s, radius - 2.0), radius + 0.5
        n = 0
        for j in range(size):
            for i in range(size):
                r2 = (i - x) ** 2 + (j - y) ** 2
                if inner * inner <= r2 <= outer * outer and np.isfinite(work[j, i]):
                    ring[n] = work[j, i]
                    n += 1
        level = spread = 0.0
        if n:
            ordered = np.sort(ring[:n])
            level = ordered[n // 2]
            spread = 0.5 * (ordered[int(0.8413 * (n - 1))] - ordered[int(0.1587 * (n - 1))])
        # The windowed centroid; a step of twice the mean is right for equal widths.
        scale = -0.5 / (s * s)
        reach = min(3.0 * s, radius + 0.5)
        for _ in range(6):
            i0, i1 = max(0, int(x - reach)), min(size, int(x + reach) + 2)
            j0, j1 = max(0, int(y - reach)), min(size, int(y + reach) + 2)
            for i in range(i0, i1):
                gx[i] = np.exp(scale * (i - x) ** 2)
            total = mx = my = 0.0
            for j in range(j0, j1):
                line = first_moment = 0.0
                for i in range(i0, i1):
                    v = work[j, i]
                    if np.isfinite(v):
                        w = gx[i] * (v - level)
                        line += w
                        first_moment += w * (i - x)
                gy = np.exp(scale * (j - y) ** 2)
                total += gy * line
                mx += gy * first_moment
                my += gy * line * (j - y)
            if total <= 0.0:
                break
            dx, dy = 2.0 * mx / total, 2.0 * my / total
            length = np.sqrt(dx * dx + dy * dy)
            if length > 0.7:  # a limit keeps noise tame
                dx, dy = 0.7 * dx / length, 0.7 * dy / length
            x, y = x + dx, y + dy
            if length < 2e-3:
                break
        shift = np.sqrt((x - radius) ** 2 + (y - radius) ** 2)
        if shift > 2.0:  # ran away: to a neighbour or along an edge
            x, y = float(radius), float(radius)
        # Amplitude and second moments under the same window.
        num = den = used = whole = mxx = myy = mxy = 0.0
        peak = -np.inf
        each = 1.0 / (s * s)
        for i in range(size):
            gx[i] = np.exp(scale * (i - x) ** 2)
        for j in range(max(0, int(y - reach)), min(size, int(y + reach) + 2)):
            dy = j - y
            gy = np.exp(scale * dy * dy)
            for i in range(max(0, int(x - reach)), min(size, int(x + reach) + 2)):
                dx = i - x
                r2 = dx * dx + dy * dy
                if r2 > reach * reach:
                    continue
                g = gx[i] * gy
                whole += g
                v = work[j, i]
                if not np.isfinite(v):
                    continue
                v -= level
                used += g
                w = g * v
                num += w
                den += g * _light(profile, r2 * each)
                mxx += w * dx * dx
                myy += w * dy * dy
                mxy += w * dx * dy
                if r2 <= 2.0:
                    peak = max(peak, v)
        out[0, k], out[1, k] = x - radius + px[k], y - radius + py[k]
        out[2, k] = num * s * s / den if den > 0.0 else 0.0
        out[3, k] = num / whole if whole > 0.0 else 0.0
        out[4, k], out[5, k], out[6, k], out[7, k] = level, spread, peak, shift
        out[8, k] = out[9, k] = out[10, k] = np.nan
        if num > 0.0:
            # Inverse of the measured moment matrix minus that of the window.
            a, b, c = mxx / num, myy / num, mxy / num
            det = a * b - c * c
            if det > 0.0:
                ia, ib, ic = b / det - 1.0 / (s * s), a / det - 1.0 / (s * s), -c / det
                det = ia * ib - ic * ic
                if det > 1e-6 and ia > 0.0 and ib > 0.0:
                    out[8, k], out[9, k], out[10, k] = ib / det, ia / det, -ic / det
        out[11, k] = near / out[2, k] if out[2, k] > 0.0 else np.inf
        out[12, k] = used / whole if whole > 0.0 else 0.0
