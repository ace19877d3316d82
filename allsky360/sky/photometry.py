"""Photometry of one frame: the light of every catalogue star where the lens says it must be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.model import Site
from allsky360.sky.airmass import airmass
from allsky360.sky.apertures import ForcedFluxes, forced_fluxes
from allsky360.sky.catalogue import apparent_altaz, horizon_vectors, load_catalogue
from allsky360.sky.crowding import light_within
from allsky360.sky.lens import LensModel
from allsky360.sky.refraction import pressure_mbar
from allsky360.sky.star_mask import like, star_mask
from allsky360.sky.vignetting import Vignetting
from allsky360.sky.zero_point import (
    COLOUR_PRIOR,
    SEA_LEVEL_EXTINCTION,
    SECOND_ORDER_PRIOR,
    StarRows,
    ZeroPointFit,
    ZeroPointPrior,
    fit_zero_point,
)

Float = NDArray[np.float64]

DETECTED_SIGMA = 5.0
BLEND_MAG = 0.15
"""Neighbours that add more than this to a star's circle make it a blend."""

FIT_SNR, FIT_BLEND_MAG = 12.0, 0.05
"""A star takes part in the fit if clear air would show it this well, and it is this lonely."""

_CATALOGUE_V = 8.0


class StarFlag(IntFlag):
    """Why a star's flux is not to be trusted."""

    SATURATED = 1
    BLENDED = 2
    EDGE = 4
    """The circle or its sky ring leaves the frame."""
    MASKED = 8
    """Behind the landscape, by the mask given."""
    PLANET = 16
    """The Moon or a planet is close; set by the caller's exclusions."""


@dataclass(frozen=True, eq=False)
class Photometry:
    """The stars of one frame and what they say about lens, air and camera.

    Attributes
    ----------
    zero_point_mag, zero_point_sigma
        V magnitude of one plane unit a second, see :mod:`allsky360.sky.zero_point`; NaN if none.
    zero_point_source
        "fit" from this frame; "prior" where it shows too little clear sky; "none".
    extinction, extinction_sigma
        Magnitudes an airmass.
    colour, colour_sigma
        c1 (magnitudes per B-V) and c2 (per B-V squared).
    vignetting
        As given, or as fitted where none was.
    scatter_mag
        1.48 x median absolute residual of clear, unblended, unsaturated stars of SNR > 20; NaN.
    fit_stars, clear_share
        Clear stars in the fit, and their share of the stars that were bright enough for it.
    limiting_mag, limiting_sigma
        V of a B-V = 0.6 star near the zenith (airmass 1) that would stand 5 sigma out; NaN.
    fit
        The whole fit, for :func:`allsky360.sky.zero_point.remember`.
    aperture_px, correction_mag, noise_factor
        Of the circles: see :class:`allsky360.sky.apertures.ForcedFluxes`.
    exposure_s, fwhm_px
        Of the frame, as given.
    sources
        x, y and light (zero-magnitude stars) of every catalogue star in the picture, for masks.
    index
        ``(N,)`` into ``load_catalogue(8.0)``.
    v_mag, bv
        Of the catalogue, ``(N,)``; ``content_mag`` is V of all catalogue stars in the circle.
    x, y
        Places measured, pixels.
    altitude_deg, azimuth_deg, theta_deg, airmass
        Apparent direction, angle off the lens's axis.
    flux, flux_sigma
        Plane units summed over the whole star; non-detections stay, also negative.
    expected_flux
        Flux of the circle's content in clear air; NaN without a zero point.
    detected
        flux > 5 sigma.
    delta_mag, delta_sigma
        Light lost: expected over measured in magnitudes; a lower limit where not detected.
    flags
        :class:`StarFlag` bits, uint16.
    clear
        Chance that the star is in clear air, from the fit; NaN where it was not in it.
    """

    zero_point_mag: float
    zero_point_sigma: float
    zero_point_source: Literal["fit", "prior", "none"]
    extinction: float
    extinction_sigma: float
    colour: tuple[float, float]
    colour_sigma: tuple[float, float]
    vignetting: Vignetting
    scatter_mag: float
    fit_stars: int
    clear_share: float
    limiting_mag: float
    limiting_sigma: float
    fit: ZeroPointFit | None
    aperture_px: float
    correction_mag: float
    noise_factor: float
    exposure_s: float
    fwhm_px: float
    sources: tuple[Float, Float, Float]
    index: NDArray[np.intp]
    v_mag: Float
    bv: Float
    content_mag: Float
    x: Float
    y: Float
    altitude_deg: Float
    azimuth_deg: Float
    theta_deg: Float
    airmass: Float
    flux: Float
    flux_sigma: Float
    expected_flux: Float
    detected: NDArray[np.bool_]
    delta_mag: Float
    delta_sigma: Float
    flags: NDArray[np.uint16]
    clear: Float

    def __len__(self) -> int:
        return int(self.index.size)


@dataclass(frozen=True, eq=False)
class _Targets:
    """Stars to be measured, and all stars of the picture as (x, y, light)."""

    index: NDArray[np.intp]
    v_mag: Float
    bv: Float
    x: Float
    y: Float
    altitude: Float
    azimuth: Float
    theta: Float
    sources: tuple[Float, Float, Float]


@dataclass(frozen=True, eq=False)
class StarFluxes:
    """What a frame shows at the places of the catalogue's stars; no other frame has a part in it.

    Made by :func:`measure_fluxes`, made magnitudes of by :func:`calibrate_fluxes`.

    Attributes
    ----------
    stars, forced
        The stars and their light.
    content_mag
        V of all catalogue stars in a star's circle, ``(N,)``.
    flags
        :class:`StarFlag` bits, ``(N,)`` uint16.
    airmass
        ``(N,)``.
    exposure_s, fwhm_px
        As given.
    thin
        Air pressure at the site as a share of that at sea level.
    """

    stars: _Targets
    forced: ForcedFluxes
    content_mag: Float
    flags: NDArray[np.uint16]
    airmass: Float
    exposure_s: float
    fwhm_px: float
    thin: float


def measure_photometry(
    plane: Array,
    lens: LensModel,
    site: Site,
    when: datetime,
    exposure_s: float,
    *,
    clipped: Array | None = None,
    mask: NDArray[np.bool_] | None = None,
    fwhm_px: float = 2.5,
    electrons_per_unit: float | None = None,
    vignetting: Vignetting | None = None,
    prior: ZeroPointPrior | None = None,
    max_v: float = 6.5,
    min_altitude_deg: float = 8.0,
) -> Photometry:
    """Measure every catalogue star of a frame and calibrate the frame with them.

    See :func:`measure_fluxes` and :func:`calibrate_fluxes` for the parameters.
    """
    fluxes = measure_fluxes(
        plane,
        lens,
        site,
        when,
        exposure_s,
        clipped=clipped,
        mask=mask,
        fwhm_px=fwhm_px,
        electrons_per_unit=electrons_per_unit,
        max_v=max_v,
        min_altitude_deg=min_altitude_deg,
    )
    return calibrate_fluxes(fluxes, vignetting=vignetting, prior=prior)


def measure_fluxes(
    plane: Array,
    lens: LensModel,
    site: Site,
    when: datetime,
    exposure_s: float,
    *,
    clipped: Array | None = None,
    mask: NDArray[np.bool_] | None = None,
    fwhm_px: float = 2.5,
    electrons_per_unit: float | None = None,
    max_v: float = 6.5,
    min_altitude_deg: float = 8.0,
) -> StarFluxes:
    """Measure the light at the place of every catalogue star of a frame.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 measurement plane (1.0 = full well of the longest exposure), on any
        device.
    lens, site
        Where the camera looks, and from where.
    when
        UTC instant of mid-exposure.
    exposure_s
        Of the longest exposure of the bracket.
    clipped
        ``(H, W)`` uint8, 255 = saturated.
    mask
        ``(H, W)`` host bool, True = sky; stars elsewhere are flagged and not used.
    fwhm_px
        Of the stars in this frame.
    electrons_per_unit
        Electrons of one plane unit, for shot noise; None leaves it to the fitted scatter.
    max_v, min_altitude_deg
        Which stars.
    """
    stars = _targets(lens, site, when, max_v, min_altitude_deg)
    light = 10.0 ** (-0.4 * stars.v_mag)
    blocked = star_mask(plane.shape, *stars.sources, fwhm_px=fwhm_px)
    forced = forced_fluxes(
        plane,
        stars.x,
        stars.y,
        sources=stars.sources,
        own=light,
        fwhm_px=fwhm_px,
        clipped=clipped,
        blocked=like(blocked, plane),
        electrons_per_unit=electrons_per_unit,
    )
    content = light_within(stars.x, stars.y, stars.sources, forced.shape.radius, fwhm_px)
    content_mag = -2.5 * np.log10(np.maximum(content, light))
    return StarFluxes(
        stars,
        forced,
        content_mag,
        _flags(forced, stars, content_mag, mask),
        airmass(stars.altitude),
        exposure_s,
        fwhm_px,
        pressure_mbar(site.elevation_m) / 1013.25,
    )


def calibrate_fluxes(
    fluxes: StarFluxes,
    *,
    vignetting: Vignetting | None = None,
    prior: ZeroPointPrior | None = None,
) -> Photometry:
    """Fit zero point, extinction and colour to a frame's fluxes.

    Parameters
    ----------
    fluxes
        Of one frame.
    vignetting
        Known loss of the lens; None fits it, held by a broad prior.
    prior
        Zero point remembered from clear frames; without it the clearest part of the frame counts
        as clear.
    """
    stars, forced, content_mag, flags = (
        fluxes.stars, fluxes.forced, fluxes.content_mag, fluxes.flags,
    )  # fmt: skip
    air, thin, exposure_s = fluxes.airmass, fluxes.thin, fluxes.exposure_s
    known = vignetting or Vignetting()
    loss = known.loss_mag(stars.theta)

    usable = flags == 0
    rows, chosen = _rows(forced, stars, content_mag, air, loss, usable, exposure_s, thin, prior)
    fit = fit_zero_point(rows, thin=thin, prior=prior, fit_vignetting=vignetting is None)
    if fit is not None and vignetting is None:
        known = Vignetting(*fit.vignetting, float(fit.sigma[4]), float(fit.sigma[5]), 1)
        loss = known.loss_mag(stars.theta)
    zp, zp_sigma, source, k, k_sigma, colour, colour_sigma = _parameters(
        fit, prior, thin, forced.correction_sigma
    )
    k2 = fit.second_order if fit is not None else SECOND_ORDER_PRIOR[0] * thin
    air_loss = (k + k2 * stars.bv) * air
    clear_inst = content_mag - zp + air_loss + colour[0] * stars.bv + colour[1] * stars.bv**2 + loss
    expected = exposure_s * 10.0 ** (-0.4 * clear_inst)
    floor = np.maximum(forced.flux, forced.flux_sigma)
    delta = 2.5 * np.log10(expected / floor)
    clear = np.full(stars.index.size, np.nan)
    if fit is not None:
        clear[chosen] = fit.clear
    limit, limit_sigma = _limiting_mag(forced, stars, zp, zp_sigma, k, colour, exposure_s, usable)
    strong = usable & (clear > 0.5) & (forced.flux > 20.0 * forced.flux_sigma)
    scatter = 1.4826 * float(np.median(np.abs(delta[strong]))) if strong.sum() > 5 else float("nan")
    return Photometry(
        zero_point_mag=zp,
        zero_point_sigma=zp_sigma,
        zero_point_source=source,
        extinction=k,
        extinction_sigma=k_sigma,
        colour=colour,
        colour_sigma=colour_sigma,
        vignetting=known,
        scatter_mag=scatter,
        fit_stars=fit.stars if fit is not None else 0,
        clear_share=fit.clear_share if fit is not None else float("nan"),
        limiting_mag=limit,
        limiting_sigma=limit_sigma,
        fit=fit,
        aperture_px=forced.shape.radius,
        correction_mag=forced.correction_mag,
        noise_factor=forced.noise_factor,
        exposure_s=exposure_s,
        fwhm_px=fluxes.fwhm_px,
        sources=stars.sources,
        index=stars.index,
        v_mag=stars.v_mag,
        bv=stars.bv,
        content_mag=content_mag,
        x=forced.sums.x,
        y=forced.sums.y,
        altitude_deg=stars.altitude,
        azimuth_deg=stars.azimuth,
        theta_deg=stars.theta,
        airmass=air,
        flux=forced.flux,
        flux_sigma=forced.flux_sigma,
        expected_flux=expected,
        detected=usable & (forced.flux > DETECTED_SIGMA * forced.flux_sigma),
        delta_mag=delta,
        delta_sigma=1.0857 * forced.flux_sigma / floor,
        flags=flags,
        clear=clear,
    )


def _targets(
    lens: LensModel, site: Site, when: datetime, max_v: float, min_altitude_deg: float
) -> _Targets:
    catalogue = load_catalogue(_CATALOGUE_V)
    altitude, azimuth = apparent_altaz(catalogue, site, when)
    up = np.flatnonzero(altitude > max(min_altitude_deg - 3.0, -1.0))
    x, y, visible = lens.project(altitude[up], azimuth[up])
    up, x, y = up[visible], x[visible], y[visible]
    v = catalogue.v_mag[up]
    take = (v <= max_v) & (altitude[up] >= min_altitude_deg)
    index = up[take]
    tx, ty = x[take], y[take]
    theta = np.degrees(lens.theta(np.hypot(tx - lens.cx, ty - lens.cy)))
    return _Targets(
        index=index,
        v_mag=catalogue.v_mag[index],
        bv=np.clip(catalogue.bv[index], -0.4, 2.5),
        x=tx,
        y=ty,
        altitude=altitude[index],
        azimuth=azimuth[index],
        theta=theta,
        sources=(x, y, 10.0 ** (-0.4 * v)),
    )


def _flags(
    forced: ForcedFluxes, stars: _Targets, content_mag: Float, mask: NDArray[np.bool_] | None
) -> NDArray[np.uint16]:
    flags = np.zeros(stars.index.size, dtype=np.uint16)
    flags[forced.sums.saturated] |= np.uint16(StarFlag.SATURATED)
    flags[stars.v_mag - content_mag > BLEND_MAG] |= np.uint16(StarFlag.BLENDED)
    flags[~forced.sums.inside] |= np.uint16(StarFlag.EDGE)
    if mask is not None and stars.index.size:
        row = np.clip(np.rint(stars.y).astype(int), 0, mask.shape[0] - 1)
        column = np.clip(np.rint(stars.x).astype(int), 0, mask.shape[1] - 1)
        flags[~mask[row, column]] |= np.uint16(StarFlag.MASKED)
    return flags


def _rows(
    forced: ForcedFluxes, stars: _Targets, content_mag: Float, air: Float, loss: Float,
    usable: NDArray[np.bool_], exposure_s: float, thin: float, prior: ZeroPointPrior | None,
) -> tuple[StarRows, NDArray[np.intp]]:  # fmt: skip
    """Return the stars that would be well measured in clear air, whether they were or not.

    Choosing by what was measured would keep the lucky and the unclouded only.
    """
    floor = np.maximum(forced.flux, 0.3 * forced.flux_sigma)
    y = content_mag + 2.5 * np.log10(floor / exposure_s) + loss
    dimming = SEA_LEVEL_EXTINCTION * thin * air + COLOUR_PRIOR[0][0] * stars.bv
    lonely = stars.v_mag - content_mag < FIT_BLEND_MAG
    bright = usable & (stars.v_mag < 4.5)
    if prior is not None:
        zp = prior.zero_point_mag
    elif np.count_nonzero(bright) >= 5:
        zp = float(np.quantile((y + dimming)[bright], 0.75))
    else:
        zp = float("nan")
    clear_flux = exposure_s * 10.0 ** (0.4 * (zp - content_mag - dimming - loss))
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = clear_flux / forced.flux_sigma
        chosen = np.flatnonzero(usable & lonely & (snr > FIT_SNR))
    rows = StarRows(
        y=y[chosen],
        noise_mag=1.0857 / snr[chosen],
        airmass=air[chosen],
        bv=stars.bv[chosen],
        theta_deg=stars.theta[chosen],
        vectors=horizon_vectors(stars.altitude[chosen], stars.azimuth[chosen]),
    )
    return rows, chosen


def _parameters(
    fit: ZeroPointFit | None, prior: ZeroPointPrior | None, thin: float, correction_sigma: float
) -> tuple[float, float, Literal["fit", "prior", "none"], float, float,
           tuple[float, float], tuple[float, float]]:  # fmt: skip
    standard = (SEA_LEVEL_EXTINCTION * thin, 0.08)
    colour = (COLOUR_PRIOR[0][0], COLOUR_PRIOR[1][0])
    colour_sigma = (COLOUR_PRIOR[0][1], COLOUR_PRIOR[1][1])
    if fit is not None:
        s = fit.sigma
        return (
            fit.zero_point_mag, float(np.hypot(s[0], correction_sigma)), "fit", fit.extinction,
            float(s[1]), fit.colour, (float(s[2]), float(s[3])),
        )  # fmt: skip
    if prior is None:
        return float("nan"), float("nan"), "none", *standard, colour, colour_sigma
    if prior.extinction is not None:
        standard = (prior.extinction, prior.extinction_sigma)
    if prior.colour is not None:
        colour, colour_sigma = prior.colour, prior.colour_sigma
    return prior.zero_point_mag, prior.sigma_mag, "prior", *standard, colour, colour_sigma


def _limiting_mag(
    forced: ForcedFluxes, stars: _Targets, zp: float, zp_sigma: float, k: float,
    colour: tuple[float, float], exposure_s: float, usable: NDArray[np.bool_],
) -> tuple[float, float]:  # fmt: skip
    """Return the limit and its error: that of the zero point, and how unlike the noise is."""
    high = usable & (stars.altitude > 60.0) & (stars.v_mag > 4.5)
    if np.count_nonzero(high) < 5:
        high = usable & (stars.v_mag > 4.5)
    if not np.isfinite(zp) or not high.any():
        return float("nan"), float("nan")
    noise = -2.5 * np.log10(5.0 * forced.flux_sigma[high] / exposure_s)
    middle = float(np.median(noise))
    spread = 1.4826 * float(np.median(np.abs(noise - middle)))
    error = math.hypot(zp_sigma, 1.25 * spread / math.sqrt(noise.size))
    return float(zp + middle - k - colour[0] * 0.6 - colour[1] * 0.36), error
