"""Centroid, flux and shape of stars on patches, neighbours taken off.

Every star's neighbours are removed as Gaussians of the frame's own width before it is measured
again, a few rounds for all stars together. A round takes the median of a ring as background, moves
the centroid to where the mean under a Gaussian window stands still (the windowed centroid of
SExtractor, Bertin & Arnouts 1996), fits the Gaussian's amplitude, and takes second moments under
the same window (adaptive moments, Bernstein & Jarvis 2002, AJ 123, 583).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands

Floats = NDArray[np.float32]
Double = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH_SIGMAS = 5.0
"""Neighbours farther than this many PSF sigmas beyond a star's own window leave it alone."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What the patches tell of each star; every array ``(N,)`` float64.

    ``fit`` is the total of the fitted Gaussian, ``fit_noise`` how many pixel sigmas of white noise
    that fit carries, ``sum`` the light in the aperture above the ring, ``background`` the
    ring's median, ``shift`` how far the centroid went from the first guess in pixels, ``mxx``,
    ``myy``, ``mxy`` the second moments with the window divided out (NaN where the light is wider
    than any star), ``floor`` the highest of the ring's octant medians, ``near`` the light of
    neighbours under the window as a share of the star's.
    """

    x: Double
    y: Double
    fit: Double
    fit_noise: Double
    sum: Double
    background: Double
    peak: Double
    shift: Double
    mxx: Double
    myy: Double
    mxy: Double
    floor: Double
    near: Double

    def taken(self, index: NDArray[np.bool_] | Ints) -> Measured:
        """Return part of the stars."""
        return Measured(*(getattr(self, f)[index] for f in self.__dataclass_fields__))


def measure(patches: Floats, x: Ints, y: Ints, psf_sigma: Double, *, rounds: int = 4) -> Measured:
    """Measure every star on the patch around its whole-pixel place.

    Parameters
    ----------
    patches
        ``(N, k, k)`` float32; NaN marks what is not to be used.
    x, y
        ``(N,)`` pixel on which each patch is centred.
    psf_sigma
        ``(N,)`` width of the stars' images there, pixels.
    """
    n, k, _ = patches.shape
    out = np.zeros((13, n))
    out[0], out[1] = x, y
    first, others = neighbours(x, y, k // 2 + 3.0)
    if not n:
        return Measured(*out)
    for _ in range(rounds):
        before = out.copy()
        in_bands(_round, n, patches, x, y, psf_sigma, first, others, before, out)
    return Measured(*out)


def neighbours(x: Ints, y: Ints, radius: float) -> tuple[Ints, Ints]:
    """Return, for each point, the others within ``radius``: ``others[first[k] : first[k + 1]]``."""
    order = np.lexsort((x, y))
    first, others = _pairs(x[order].astype(np.float64), y[order].astype(np.float64), float(radius))
    # Back to the caller's order.
    back = np.argsort(order)
    counts = np.diff(first)[back]
    starts = first[:-1][back]
    total = np.concatenate([[0], np.cumsum(counts)])
    index = np.repeat(starts - total[:-1], counts) + np.arange(total[-1])
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
def _round(
    k0: int,
    k1: int,
    patches: Floats,
    px: Ints,
    py: Ints,
    psf: Double,
    first: Ints,
    others: Ints,
    before: Double,
    out: Double,
) -> None:
    size = patches.shape[1]
    radius = size // 2
    work = np.empty((size, size), np.float64)
    ring = np.empty(size * size, np.float64)
    octant = np.empty((8, size * size), np.float64)
    counts = np.empty(8, np.int64)
    for k in range(k0, k1):
        s = psf[k]
        for j in range(size):
            for i in range(size):
                work[j, i] = patches[k, j, i]
        cx, cy = before[0, k] - px[k] + radius, before[1, k] - py[k] + radius
        near = 0.0
        for m in range(first[k], first[k + 1]):
            o = others[m]
            flux = before[2, o]
            if flux <= 0.0:
                continue
            so = psf[o]
            ox, oy = before[0, o] - px[k] + radius, before[1, o] - py[k] + radius
            reach = REACH_SIGMAS * so
            i0, i1 = max(0, int(np.ceil(ox - reach))), min(size - 1, int(np.floor(ox + reach)))
            j0, j1 = max(0, int(np.ceil(oy - reach))), min(size - 1, int(np.floor(oy + reach)))
            a, scale = flux / (2.0 * np.pi * so * so), -0.5 / (so * so)
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    work[j, i] -= a * np.exp(scale * ((i - ox) ** 2 + (j - oy) ** 2))
            d2 = (ox - cx) ** 2 + (oy - cy) ** 2
            near += flux * np.exp(-0.25 * d2 / (s * s))
        # Background: the median of a ring; its octants find edges and ridges.
        inner, outer = min(3.2 * s, radius - 2.0), radius + 0.5
        n = 0
        counts[:] = 0
        for j in range(size):
            for i in range(size):
                dx, dy = i - cx, j - cy
                r2 = dx * dx + dy * dy
                v = work[j, i]
                if inner * inner <= r2 <= outer * outer and np.isfinite(v):
                    ring[n] = v
                    n += 1
                    part = (1 if dx > 0 else 0) + (2 if dy > 0 else 0)
                    part += 4 if abs(dx) > abs(dy) else 0
                    octant[part, counts[part]] = v
                    counts[part] += 1
        level = 0.0
        if n:
            level = np.median(ring[:n])
        floor = level
        for part in range(8):
            if counts[part] >= 3:
                floor = max(floor, np.median(octant[part, : counts[part]]))
        # The windowed centroid.
        scale = -0.5 / (s * s)
        reach = min(3.0 * s, radius + 0.5)
        x, y = cx, cy
        for _ in range(6):
            total = mx = my = 0.0
            for j in range(max(0, int(y - reach)), min(size, int(y + reach) + 2)):
                for i in range(max(0, int(x - reach)), min(size, int(x + reach) + 2)):
                    v = work[j, i]
                    if np.isfinite(v):
                        w = np.exp(scale * ((i - x) ** 2 + (j - y) ** 2)) * (v - level)
                        total += w
                        mx += w * (i - x)
                        my += w * (j - y)
            if total <= 0.0:
                break
            # Half the way of a fixed-point step with equal widths is 2; a limit keeps noise tame.
            dx, dy = 2.0 * mx / total, 2.0 * my / total
            length = np.sqrt(dx * dx + dy * dy)
            if length > 0.7:
                dx, dy = 0.7 * dx / length, 0.7 * dy / length
            x, y = x + dx, y + dy
            if length < 1e-3:
                break
        guess_x, guess_y = float(radius), float(radius)
        shift = np.sqrt((x - guess_x) ** 2 + (y - guess_y) ** 2)
        if shift > 2.0:  # ran away: to a neighbour or along an edge
            x, y = guess_x, guess_y
        # Amplitude and second moments under the same window.
        num = den = total = mxx = myy = mxy = whole = 0.0
        peak = -np.inf
        aperture = min(4.0 * s, radius + 0.5)
        norm = 1.0 / (2.0 * np.pi * s * s)
        for j in range(size):
            for i in range(size):
                v = work[j, i]
                if not np.isfinite(v):
                    continue
                v -= level
                dx, dy = i - x, j - y
                r2 = dx * dx + dy * dy
                if r2 <= aperture * aperture:
                    whole += v
                if r2 > reach * reach:
                    continue
                g = np.exp(scale * r2)
                num += norm * g * v
                den += norm * g * norm * g
                total += g * v
                mxx += g * v * dx * dx
                myy += g * v * dy * dy
                mxy += g * v * dx * dy
                if r2 <= 2.0:
                    peak = max(peak, v)
        out[0, k], out[1, k] = x - radius + px[k], y - radius + py[k]
        out[2, k] = num / den if den > 0.0 else 0.0
        out[3, k] = 1.0 / np.sqrt(den) if den > 0.0 else np.inf
        out[4, k], out[5, k], out[6, k], out[7, k] = whole, level, peak, shift
        out[8, k] = out[9, k] = out[10, k] = np.nan
        if total > 0.0:
            # Inverse of the measured moment matrix minus that of the window.
            a, b, c = mxx / total, myy / total, mxy / total
            det = a * b - c * c
            if det > 0.0:
                ia, ib, ic = b / det - 1.0 / (s * s), a / det - 1.0 / (s * s), -c / det
                det = ia * ib - ic * ic
                if det > 1e-6 and ia > 0.0 and ib > 0.0:
                    out[8, k], out[9, k], out[10, k] = ib / det, ia / det, -ic / det
        out[11, k] = floor - level
        out[12, k] = near / out[2, k] if out[2, k] > 0.0 else np.inf
