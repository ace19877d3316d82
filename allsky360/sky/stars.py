"""Finding stars on the measurement plane.

A coarse grid of background and noise, a matched filter (a Gaussian of the stars' own width), local
maxima, and measurement on small patches with neighbours taken off (:mod:`stars_measure`); then all
of it once more on what is left, for stars that brighter ones hid. Width and profile of the stars'
images are measured on the frame itself, the width by region: a fisheye is not equally sharp
everywhere. What decides is the light under the filter against the noise there, or against the
spread of the ring around it where that is larger: along horizons, cloud edges and glare.

On a device the plane stays there; grids, lists of pixels and patches come down.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import gaussian, starfield
from allsky360.sky.background import Background, background_and_noise, noise_on_grid
from allsky360.sky.stars_measure import (
    Measured,
    gaussian_profile,
    measure,
    neighbours,
    profile_of,
    subtract,
    touched,
)
from allsky360.sky.stars_noise import without_confusion

Array = Any
Double = NDArray[np.float64]
Ints = NDArray[np.int64]

SATURATED = 1
HOT = 2
EDGE = 4
TRAILED = 8
BLENDED = 16

FWHM_PER_SIGMA = 2.3548200450309493
FIRST_FWHM_PX = 2.2
FILTER_SHARE = 0.88
"""Width of the filter over that of the stars: a little less than what is best for one star alone
costs it 1 % and tells crowded ones apart."""
REDETECT_ABOVE = 0.15
PSF_CELLS = 8
PROFILE_ABOVE = 40.0
PROFILE_STARS = 12
MISMATCH = 0.1
TWIN_SIGMAS = 1.0
HIDDEN_SHARE = 0.9
WIDE, WIDE_FAINT, WIDE_ABOVE, WIDE_SATURATED = 1.7, 1.3, 8.0, 5.0
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
        ``flux / flux_sigma``: against the background's noise, and the star's own photons where
        ``electrons_per_unit`` was given.
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
    sigma: float = 4.7,
    clipped: Array | None = None,
    mask: Array | None = None,
    fwhm_px: float | None = None,
    background: Background | None = None,
    electrons_per_unit: float | None = None,
    max_stars: int = 50_000,
) -> StarList:
    """Find stars, brightest first.

    Star-like light only: what is wider than about two star images is seen as its own surroundings.
    A defect of one pixel that the chain left is listed and flagged :data:`HOT`.

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
    electrons_per_unit
        Electrons of one plane unit (full well times the electrons of an ADU): adds the stars' own
        photon noise to ``flux_sigma`` and ``snr``.
    max_stars
        Of more, the brightest are kept.
    """
    background = background or background_and_noise(plane, mask)
    background = without_confusion(background)
    flat = starfield.flatten(plane, background.level, background.box, mask)
    fwhm = FILTER_SHARE * fwhm_px if fwhm_px else FIRST_FWHM_PX
    found = _detected(flat, background, fwhm, sigma, max_stars)
    if fwhm_px is None:
        seen = _typical_fwhm(found)
        best = None if seen is None else FILTER_SHARE * seen
        if best is not None and abs(np.log(best / FIRST_FWHM_PX)) > REDETECT_ABOVE:
            found = _detected(flat, background, best, sigma, max_stars)
    found = _refined(flat, found, fwhm_px)
    found = found.taken(_starlike(found, clipped))
    found = _completed(flat, background, found, sigma, max_stars)
    found = found.taken((found.significance >= sigma) & _starlike(found, clipped))
    return _listed(plane, found, background, clipped, mask, electrons_per_unit)


@dataclass(frozen=True, eq=False)
class _Found:
    """Measured maxima, and what is known of the noise and of the stars' images at each.

    ``noise`` is that of the plane filtered with ``filter_sigma``, ``pixel_noise`` the plane's.
    """

    stars: Measured
    x: Ints
    y: Ints
    noise: Double
    pixel_noise: Double
    psf_sigma: Double
    filter_sigma: float
    profile: Double
    shape: tuple[int, int]
    widths: Background | None = None

    @property
    def significance(self) -> Double:
        """Filtered light over its noise; the ring's spread counts as noise where it is larger."""
        excess = np.maximum(1.0, self.stars.spread / self.pixel_noise)
        # White noise under a window falls as its width.
        noise = self.noise * excess * self.filter_sigma / self.psf_sigma
        return np.asarray(self.stars.filtered / noise)

    def taken(self, index: Any) -> _Found:
        """Return part of the stars."""
        return replace(
            self,
            stars=self.stars.taken(index),
            x=self.x[index],
            y=self.y[index],
            noise=self.noise[index],
            pixel_noise=self.pixel_noise[index],
            psf_sigma=self.psf_sigma[index],
        )


def _maxima(
    flat: Array, background: Background, s: float, sigma: float, most: int
) -> tuple[Ints, Ints, Double]:
    """Return maxima of the filtered plane and its noise there."""
    smooth = gaussian(flat, s)
    noise = _noise_of(smooth, background, s)
    x, y = starfield.local_maxima(smooth, noise.sigma, noise.box, sigma)
    if x.size > most:
        height = starfield.patches(smooth, x, y, 0)[:, 0, 0]
        keep = np.sort(np.argsort(-height)[:most])
        x, y = x[keep], y[keep]
    return x, y, np.maximum(noise.evaluate(x, y)[1].astype(np.float64), 1e-30)


def _detected(
    flat: Array, background: Background, fwhm_px: float, sigma: float, most: int
) -> _Found:
    """Find maxima of the filtered plane and measure them with one width for all."""
    s = fwhm_px / FWHM_PER_SIGMA
    x, y, noise = _maxima(flat, background, s, sigma, most)
    psf, profile = np.full(x.size, s), gaussian_profile()
    stars = measure(starfield.patches(flat, x, y, _radius(s)), x, y, psf, profile, rounds=1)
    pixel_noise = _pixel_noise(background, x, y)
    return _Found(stars, x, y, noise, pixel_noise, psf, s, profile, background.shape)


def _noise_of(smooth: Array, background: Background, s: float) -> Background:
    """Return the noise of the filtered plane at the plane's level."""
    sigma = noise_on_grid(smooth, background.box)
    return without_confusion(replace(background, sigma=sigma), 4.0 * np.pi * s * s)


def _pixel_noise(background: Background, x: Ints, y: Ints) -> Double:
    return np.maximum(background.evaluate(x, y)[1].astype(np.float64), 1e-30)


def _refined(flat: Array, found: _Found, fwhm_px: float | None) -> _Found:
    """Measure again with the width and profile that stars have in each part of the frame."""
    if not found.x.size:
        return found
    x, y = found.x, found.y
    widths = _widths(found) if fwhm_px is None else _one_width(fwhm_px, found.shape)
    psf = found.psf_sigma if widths is None else widths.evaluate(x, y)[0].astype(np.float64)
    patches = starfield.patches(flat, x, y, _radius(float(np.median(psf))))
    found = replace(found, psf_sigma=psf, widths=widths)
    profile = found.profile
    bright = np.flatnonzero(_clear(found) & (found.significance > PROFILE_ABOVE))
    if bright.size >= PROFILE_STARS:
        part = found.stars.taken(bright)
        profile = profile_of(patches[bright], part, psf[bright], x[bright], y[bright])
    stars = measure(patches, x, y, psf, profile, start=found.stars, rounds=2)
    return replace(found, stars=stars, profile=profile)


def _completed(
    flat: Array, background: Background, found: _Found, sigma: float, most: int
) -> _Found:
    """Look again with the stars taken off: what they hid, and noise without them."""
    if not found.x.size:
        return found
    s = found.filter_sigma
    rest = starfield.changed(
        flat, lambda image: subtract(image, found.stars, found.psf_sigma, found.profile)
    )
    smooth = gaussian(rest, s)
    noise = _noise_of(smooth, background, s)
    x, y = starfield.local_maxima(smooth, noise.sigma, noise.box, HIDDEN_SHARE * sigma)
    height = starfield.patches(smooth, x, y, 0)[:, 0, 0]
    light = starfield.patches(flat, x, y, 1) - starfield.patches(rest, x, y, 1)
    light = light.max(axis=(1, 2), initial=0.0)
    new = np.flatnonzero(height > MISMATCH * light)
    new = new[np.argsort(-height[new])[: max(most - found.x.size, 0)]]
    x, y = np.concatenate([found.x, x[new]]), np.concatenate([found.y, y[new]])
    psf = np.full(x.size, s)
    if found.widths is not None:
        psf = found.widths.evaluate(x, y)[0].astype(np.float64)
    else:
        psf[: found.x.size] = found.psf_sigma
    begin = found.stars.extended(x[found.x.size :], y[found.y.size :])
    patches = starfield.patches(flat, x, y, _radius(float(np.median(psf))))
    reach = patches.shape[1] // 2 + 3.0
    old = np.arange(x.size) < found.x.size
    settled = ~touched(x, y, ~old, reach)
    stars = measure(patches, x, y, psf, found.profile, start=begin, settled=settled, rounds=2)
    here = np.maximum(noise.evaluate(x, y)[1].astype(np.float64), 1e-30)
    pixel_noise = _pixel_noise(background, x, y)
    all_ = replace(found, stars=stars, x=x, y=y, psf_sigma=psf, noise=here, pixel_noise=pixel_noise)
    keep = (all_.significance >= 0.8 * sigma) & ~_twins(all_)
    settled = ~touched(x, y, ~keep, reach)[keep]
    all_ = all_.taken(keep)
    stars = measure(patches[keep], all_.x, all_.y, all_.psf_sigma, found.profile,
                    start=all_.stars, settled=settled, rounds=1)  # fmt: skip
    return replace(all_, stars=stars)


def _starlike(found: _Found, clipped: Array | None) -> NDArray[np.bool_]:
    """Sources that may be stars: narrow across their trail, or faint, or saturated and not vast."""
    _, short = _axes(found.stars)
    ratio = short / found.psf_sigma
    wide = ~(ratio < np.where(found.significance > WIDE_ABOVE, WIDE, WIDE_FAINT))
    if clipped is not None and wide.any():
        wide &= ~(_saturated(found, clipped) & (ratio < WIDE_SATURATED))
    return np.asarray(~wide)


def _saturated(found: _Found, clipped: Array) -> NDArray[np.bool_]:
    around = starfield.patches(clipped, *_pixels(found.stars), _core(found))
    return np.asarray(np.nanmax(around, axis=(1, 2), initial=0.0) > SATURATED_ABOVE)


def _pixels(stars: Measured) -> tuple[Ints, Ints]:
    return np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)


def _core(found: _Found) -> int:
    """Radius of a star's image in whole pixels."""
    if not found.x.size:
        return 2
    return max(2, round(FWHM_PER_SIGMA * float(np.median(found.psf_sigma))))


def _axes(stars: Measured) -> tuple[Double, Double]:
    """Return the long and the short sigma of each star's light; NaN where not measurable."""
    half = 0.5 * (stars.mxx + stars.myy)
    stretch = np.hypot(0.5 * (stars.mxx - stars.myy), stars.mxy)
    return np.sqrt(half + stretch), np.sqrt(np.maximum(half - stretch, 1e-6))


def _twins(found: _Found) -> NDArray[np.bool_]:
    """Fainter ones of stars that came to lie on the same place."""
    first, others = neighbours(found.x, found.y, 6.0)
    of = np.repeat(np.arange(found.x.size), np.diff(first))
    stars = found.stars
    distance = np.hypot(stars.x[of] - stars.x[others], stars.y[of] - stars.y[others])
    fainter = (stars.flux[of] < stars.flux[others]) | (
        (stars.flux[of] == stars.flux[others]) & (of > others)
    )
    twin = np.zeros(found.x.size, bool)
    twin[of[fainter & (distance < TWIN_SIGMAS * found.psf_sigma[of])]] = True
    return twin


def _radius(psf_sigma: float) -> int:
    return int(np.clip(np.ceil(5.2 * psf_sigma), 5, 24))


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


def _widths(found: _Found) -> Background | None:
    """Return the sigma of star images on a coarse grid: the median of the clear ones around."""
    typical = _typical_fwhm(found)
    if typical is None:
        return None
    clear = np.flatnonzero(_clear(found))
    width = np.clip(_fwhm(found.stars)[clear], 0.6 * typical, 2.0 * typical)
    x, y = found.stars.x[clear], found.stars.y[clear]
    height_px, width_px = found.shape
    box = -(-max(height_px, width_px) // PSF_CELLS)
    grid = np.full((-(-height_px // box), -(-width_px // box)), typical, np.float32)
    for j in range(grid.shape[0]):
        for i in range(grid.shape[1]):
            near = np.hypot(x - (i + 0.5) * box, y - (j + 0.5) * box) < box
            if near.sum() >= 8:
                grid[j, i] = np.median(width[near])
    return _width_grid(grid, box, found.shape)


def _one_width(fwhm_px: float, shape: tuple[int, int]) -> Background:
    return _width_grid(np.full((1, 1), fwhm_px, np.float32), max(shape), shape)


def _width_grid(fwhm_px: NDArray[np.float32], box: int, shape: tuple[int, int]) -> Background:
    sigma = np.asarray(fwhm_px / FWHM_PER_SIGMA, np.float32)
    return Background(sigma, sigma, np.ones(sigma.shape, bool), box, shape)


def _fwhm(stars: Measured) -> Double:
    area = stars.mxx * stars.myy - stars.mxy**2
    return FWHM_PER_SIGMA * np.sqrt(np.sqrt(np.maximum(area, 0.0)))


def _listed(
    plane: Array,
    found: _Found,
    background: Background,
    clipped: Array | None,
    mask: Array | None,
    electrons_per_unit: float | None,
) -> StarList:
    usable = (found.stars.flux > 0) & np.isfinite(found.stars.peak)
    order = np.flatnonzero(usable)[np.argsort(-found.stars.flux[usable])]
    found = found.taken(order)
    stars = found.stars
    variance = (stars.flux / found.significance) ** 2
    if electrons_per_unit:
        # Under a Gaussian window a star's own photons weigh 4/3 of their number.
        variance = variance + 4.0 / 3.0 * stars.flux / electrons_per_unit
    noise = np.sqrt(variance)
    level, _ = background.evaluate(stars.x, stars.y)
    return StarList(
        x=stars.x,
        y=stars.y,
        flux=stars.flux,
        flux_sigma=noise,
        peak=stars.peak,
        fwhm_px=_fwhm(stars),
        snr=stars.flux / noise,
        background=level + stars.background,
        flags=_flags(found, plane, clipped, mask),
    )


def _flags(
    found: _Found, plane: Array, clipped: Array | None, mask: Array | None
) -> NDArray[np.uint16]:
    stars = found.stars
    fwhm_px = found.psf_sigma * FWHM_PER_SIGMA
    (x, y), radius = _pixels(stars), _core(found)
    flags = np.zeros(x.size, np.uint16)
    if clipped is not None:
        flags[_saturated(found, clipped)] |= SATURATED
    height, width = plane.shape
    edge = (x < radius) | (y < radius) | (x >= width - radius) | (y >= height - radius)
    if mask is not None:
        edge |= np.nanmin(starfield.patches(mask, x, y, radius), axis=(1, 2), initial=1.0) < 1.0
    flags[edge] |= EDGE
    flags[(_fwhm(stars) < HOT_BELOW * fwhm_px) & ~edge] |= HOT
    long, short = _axes(stars)
    flags[(long > TRAILED_RATIO * short) & (long * FWHM_PER_SIGMA > fwhm_px)] |= TRAILED
    flags[stars.near > BLENDED_ABOVE] |= BLENDED
    return flags
