"""Finding stars on the measurement plane."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import gaussian, starfield
from allsky360.sky.background import Background, background_and_noise, bilinear
from allsky360.sky.stars_measure import Measured, measure

Array = Any
Double = NDArray[np.float64]

SATURATED = 1
HOT = 2
EDGE = 4
TRAILED = 8
BLENDED = 16

FWHM_PER_SIGMA = 2.3548200450309493
FIRST_FWHM_PX = 2.6
REDETECT_ABOVE = 0.15
PSF_CELLS = 6
SATURATED_ABOVE = 127.0
HOT_BELOW = 0.6
TRAILED_RATIO = 1.6
BLENDED_ABOVE = 0.1
NARROWEST_FWHM_PX, WIDEST_FWHM_PX = 1.2, 12.0


@dataclass(frozen=True, eq=False)
class StarList:
    """Stars of one frame, brightest first; arrays ``(N,)``.

    Attributes
    ----------
    x, y
        Centroid, float64 pixels; pixel centres are whole numbers.
    flux, flux_sigma
        Light above the background, plane unit summed over pixels, and its standard deviation.
    peak
        Highest pixel within 1.4 px of the centroid above the background, plane unit.
    fwhm_px
        Full width at half maximum (geometric mean of both axes), pixels.
    snr
        Of the fitted flux against the background's noise.
    background
        Local level, plane unit.
    flags
        uint16 bits :data:`SATURATED`, :data:`HOT`, :data:`EDGE`, :data:`TRAILED`, :data:`BLENDED`.
    """

    x: Double
    y: Double
    flux: Double
    flux_sigma: Double
    peak: Double
    fwhm_px: Double
    snr: Double
    background: Double
    flags: NDArray[np.uint16]

    def __len__(self) -> int:
        return int(self.x.size)

    def taken(self, index: Any) -> StarList:
        """Return part of the list: a mask, an index array or a slice."""
        return StarList(*(getattr(self, f.name)[index] for f in fields(self)))


def find_stars(
    plane: Array,
    *,
    sigma: float = 5.0,
    clipped: Array | None = None,
    mask: Array | None = None,
    fwhm_px: float | None = None,
    background: Background | None = None,
    max_stars: int = 50_000,
) -> StarList:
    """Find stars.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 (:func:`allsky360.sky.plane.measurement_plane`) of any array library.
    sigma
        Detection limit on the matched-filtered plane, in its local noise.
    clipped
        ``(H, W)`` uint8, 255 = saturated, as :func:`allsky360.imaging.hdr.merge` gives it.
    mask
        ``(H, W)`` bool, True = sky.
    fwhm_px
        Width of the stars' images; measured on the frame when None.
    background
        Of this plane and mask, where the caller has it.
    max_stars
        Of more, the brightest are kept.
    """
    background = background or background_and_noise(plane, mask)
    flat = starfield.flatten(plane, background.level, background.box, mask)
    found = _detected(flat, background, fwhm_px or FIRST_FWHM_PX, sigma, max_stars)
    if fwhm_px is None:
        seen = _typical_fwhm(found)
        if seen is not None and abs(np.log(seen / FIRST_FWHM_PX)) > REDETECT_ABOVE:
            found = _detected(flat, background, seen, sigma, max_stars)
    found = _refined(flat, found)
    return _listed(plane, found, background, clipped, mask)


@dataclass(frozen=True, eq=False)
class _Found:
    """Measured maxima of one pass, and the noise of the filtered plane at each."""

    stars: Measured
    noise: Double
    psf_sigma: Double
    px: NDArray[np.int64]
    py: NDArray[np.int64]

    @property
    def significance(self) -> Double:
        """Filtered peak over the filtered plane's noise."""
        per_flux = 1.0 / (4.0 * np.pi * self.psf_sigma**2)
        return self.stars.fit * per_flux / self.noise

    def taken(self, index: Any) -> _Found:
        rest = (getattr(self, f.name)[index] for f in fields(self)[1:])
        return _Found(self.stars.taken(index), *rest)


def _detected(
    flat: Array, background: Background, fwhm_px: float, sigma: float, most: int
) -> _Found:
    """Find maxima of the filtered plane and measure them with one width for all."""
    s = fwhm_px / FWHM_PER_SIGMA
    smooth = gaussian(flat, s)
    noise = replace(background, sigma=background_and_noise(smooth, box=background.box).sigma)
    x, y = starfield.local_maxima(smooth, noise.sigma, noise.box, sigma)
    if x.size > most:
        height = starfield.patches(smooth, x, y, 0)[:, 0, 0]
        keep = np.sort(np.argsort(-height)[:most])
        x, y = x[keep], y[keep]
    here = np.maximum(noise.evaluate(x, y)[1].astype(np.float64), 1e-30)
    psf = np.full(x.size, s)
    patches = starfield.patches(flat, x, y, _radius(s))
    return _Found(measure(patches, x, y, psf, rounds=2), here, psf, x, y)


def _refined(flat: Array, found: _Found) -> _Found:
    """Measure again with the width that stars have in each part of the frame."""
    psf = _psf_sigma(found)
    x, y = found.px, found.py
    patches = starfield.patches(flat, x, y, _radius(float(np.median(psf)) if psf.size else 1.0))
    return replace(found, stars=measure(patches, x, y, psf), psf_sigma=psf)


def _radius(psf_sigma: float) -> int:
    return int(np.clip(np.ceil(6.0 * psf_sigma), 5, 24))


def _clear(found: _Found) -> NDArray[np.bool_]:
    """Stars that show the width of the frame's star images: bright and alone."""
    return np.asarray(
        (found.significance > 15.0) & np.isfinite(_fwhm(found.stars)) & (found.stars.near < 0.05)
    )


def _typical_fwhm(found: _Found) -> float | None:
    """Return the median width of clear stars; None where there are too few."""
    width = _fwhm(found.stars)[_clear(found)]
    if width.size < 5:
        return None
    return float(np.clip(np.median(width), NARROWEST_FWHM_PX, WIDEST_FWHM_PX))


def _psf_sigma(found: _Found) -> Double:
    """Return the width of star images at each star: the median of the clear ones nearest to it."""
    typical = _typical_fwhm(found)
    if typical is None:
        return found.psf_sigma
    clear = np.flatnonzero(_clear(found))
    width = np.clip(_fwhm(found.stars)[clear], 0.6 * typical, 2.0 * typical)
    x, y = found.stars.x, found.stars.y
    size = max(np.ptp(x), np.ptp(y), 1.0) / PSF_CELLS * 1.0001
    left, top = x.min(), y.min()
    cells = PSF_CELLS
    grid = np.empty((cells, cells))
    for j in range(cells):
        for i in range(cells):
            dx = x[clear] - left - (i + 0.5) * size
            dy = y[clear] - top - (j + 0.5) * size
            near = np.hypot(dx, dy) < size
            few = near.sum() < 8
            grid[j, i] = typical if few else float(np.median(width[near]))
    local = bilinear(grid.astype(np.float32), (x - left) / size - 0.5, (y - top) / size - 0.5)
    return np.asarray(local, np.float64) / FWHM_PER_SIGMA


def _fwhm(stars: Measured) -> Double:
    area = stars.mxx * stars.myy - stars.mxy**2
    return FWHM_PER_SIGMA * np.sqrt(np.sqrt(np.maximum(area, 0.0)))


def _listed(
    plane: Array,
    found: _Found,
    background: Background,
    clipped: Array | None,
    mask: Array | None,
) -> StarList:
    usable = (found.stars.fit > 0) & np.isfinite(found.stars.peak)
    order = np.flatnonzero(usable)[np.argsort(-found.stars.fit[usable])]
    found = found.taken(order)
    stars, snr = found.stars, found.significance
    level, _ = background.evaluate(stars.x, stars.y)
    return StarList(
        x=stars.x,
        y=stars.y,
        flux=stars.fit,
        flux_sigma=stars.fit / snr,
        peak=stars.peak,
        fwhm_px=_fwhm(stars),
        snr=snr,
        background=level + stars.background,
        flags=_flags(found, plane, clipped, mask),
    )


def _flags(
    found: _Found, plane: Array, clipped: Array | None, mask: Array | None
) -> NDArray[np.uint16]:
    stars = found.stars
    fwhm_px = found.psf_sigma * FWHM_PER_SIGMA
    x, y = np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)
    radius = max(2, round(float(np.median(fwhm_px)))) if x.size else 2
    flags = np.zeros(x.size, np.uint16)
    if clipped is not None:
        around = starfield.patches(clipped, x, y, radius)
        flags[np.nanmax(around, axis=(1, 2), initial=0.0) > SATURATED_ABOVE] |= SATURATED
    height, width = plane.shape
    edge = (x < radius) | (y < radius) | (x >= width - radius) | (y >= height - radius)
    if mask is not None:
        edge |= np.nanmin(starfield.patches(mask, x, y, radius), axis=(1, 2), initial=1.0) < 1.0
    flags[edge] |= EDGE
    fwhm = _fwhm(stars)
    flags[(fwhm < HOT_BELOW * fwhm_px) & ~edge] |= HOT
    half = 0.5 * (stars.mxx + stars.myy)
    stretch = np.hypot(0.5 * (stars.mxx - stars.myy), stars.mxy)
    with np.errstate(invalid="ignore"):
        long, short = np.sqrt(half + stretch), np.sqrt(np.maximum(half - stretch, 1e-6))
        flags[(long > TRAILED_RATIO * short) & (long * FWHM_PER_SIGMA > fwhm_px)] |= TRAILED
    flags[stars.near > BLENDED_ABOVE] |= BLENDED
    return flags
