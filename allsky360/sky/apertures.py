"""Forced aperture photometry: every star's circle sized, its noise and its losses known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.arrays.apertures import ApertureShape, ApertureSums, aperture_sums
from allsky360.sky.crowding import light_within
from allsky360.sky.uneven_sky import SkyLevels, sky_levels

Float = NDArray[np.float64]

TYPICAL_CORRECTION_MAG = 0.06
"""Light outside the circle where no star is bright enough to tell."""

_BLANKS = 500
_NOISE_RANGE = (0.7, 4.0)


@dataclass(frozen=True, eq=False)
class ForcedFluxes:
    """Fluxes of the targets, corrected to all of the star's light; ``(N,)``.

    Attributes
    ----------
    sums
        As measured, less what empty circles hold.
    flux, flux_sigma
        Plane units; the flux of what is not there scatters about 0.
    correction_mag, correction_sigma
        Light lost outside the circle.
    noise_factor
        Noise of an empty circle over that of as many independent pixels (debayering correlates
        neighbours; unseen stars add to it).
    shape
        Radii used.
    """

    sums: ApertureSums
    flux: Float
    flux_sigma: Float
    correction_mag: float
    correction_sigma: float
    noise_factor: float
    shape: ApertureShape


def shape_for(fwhm_px: float) -> ApertureShape:
    """Return radii for stars of a width: 1.2 FWHM holds most of a star, little of others."""
    fwhm = float(np.clip(fwhm_px, 1.2, 12.0))
    radius = max(1.2 * fwhm, 2.2)
    wide = max(2.5 * fwhm, radius + 2.0)
    inner = wide + 1.5
    outer = max(math.sqrt(inner**2 + 300.0 / math.pi), inner + 3.0)
    return ApertureShape(
        radius=radius,
        wide_radius=wide,
        ring_inner=inner,
        ring_outer=outer,
        window_sigma=max(fwhm / 2.355, 0.8),
        max_shift=max(0.5 * fwhm, 0.8),
    )


def forced_fluxes(
    plane: Array,
    x: Float,
    y: Float,
    *,
    sources: tuple[Float, Float, Float],
    own: Float,
    fwhm_px: float,
    clipped: Array | None = None,
    blocked: Array | None = None,
    electrons_per_unit: float | None = None,
) -> ForcedFluxes:
    """Measure the targets at ``(x, y)``.

    Parameters
    ----------
    sources
        x, y, brightness of every known star in the picture, for finding empty sky and lone stars.
    own
        ``(N,)`` brightness of the targets in the same unit.
    blocked
        ``(H, W)`` uint8: see :func:`allsky360.sky.star_mask.star_mask`.
    electrons_per_unit
        Electrons of one plane unit, for the star's own shot noise; None leaves it out.
    """
    shape = shape_for(fwhm_px)
    bx, by = _blank_places(x, y, sources, shape, fwhm_px)
    both = aperture_sums(
        plane, np.concatenate([x, bx]), np.concatenate([y, by]), shape,
        clipped=clipped, blocked=blocked,
    )  # fmt: skip
    levels = sky_levels(plane, both, shape, blocked)
    area = _area(shape.radius)
    both = _on_levels(both, levels, area, _area(shape.wide_radius))
    both_variance = area * np.maximum(both.sky_sigma, 1e-12) ** 2 + (area * levels.level_sigma) ** 2
    sums, blank = _split(both, x.size)
    variance, blank_variance = both_variance[: x.size], both_variance[x.size :]
    good = blank.inside & ~blank.saturated & (blank.sky_sigma > 0)
    factor, lifted = 1.3, 0.0
    if np.count_nonzero(good) >= 30:
        ratio = blank.flux[good] / np.sqrt(blank_variance[good])
        factor = 1.4826 * float(np.median(np.abs(ratio - np.median(ratio))))
        lifted = float(np.median(blank.flux[good] / (area * blank.sky_sigma[good])))
    # Unseen stars lift the rings; empty circles tell by how much of the noise.
    sums = replace(
        sums,
        flux=sums.flux - lifted * area * sums.sky_sigma,
        wide_flux=sums.wide_flux - lifted * _area(shape.wide_radius) * sums.sky_sigma,
    )
    factor = float(np.clip(factor, *_NOISE_RANGE))
    sigma = factor * np.sqrt(variance)
    near, far = (
        light_within(x, y, sources, r, fwhm_px) / own for r in (shape.radius, shape.wide_radius)
    )
    correction, correction_sigma = _correction(sums, sigma, near, far)
    gain = 10.0 ** (0.4 * correction)
    if electrons_per_unit is not None and electrons_per_unit > 0:
        sigma = np.sqrt(sigma**2 + np.maximum(sums.flux, 0.0) / electrons_per_unit)
    return ForcedFluxes(
        sums, sums.flux * gain, sigma * gain, correction, correction_sigma, factor, shape
    )


def _on_levels(
    sums: ApertureSums, levels: SkyLevels, area: float, wide_area: float
) -> ApertureSums:
    """Return the sums above other levels of the sky."""
    return replace(
        sums,
        flux=sums.flux + area * (sums.sky - levels.near),
        wide_flux=sums.wide_flux + wide_area * (sums.sky - levels.wide),
        sky=levels.near,
        sky_sigma=levels.pixel_sigma,
    )


def _area(radius: float) -> float:
    """Return the effective area of a soft circle, sum of its weights."""
    return math.pi * (radius**2 + 1.0 / 12.0)


def _blank_places(
    x: Float, y: Float, sources: tuple[Float, Float, Float], shape: ApertureShape, fwhm_px: float
) -> tuple[Float, Float]:
    """Return the emptiest places beside the targets: they sample the same sky."""
    if x.size == 0:
        return np.empty(0), np.empty(0)
    stride = max(1, x.size // (3 * _BLANKS))
    turn = np.arange(0, x.size, stride) * 2.399963  # the golden angle
    step = shape.ring_outer + shape.radius
    bx, by = x[::stride] + step * np.cos(turn), y[::stride] + step * np.sin(turn)
    light = light_within(bx, by, sources, shape.radius + 1.0, fwhm_px)
    keep = np.argsort(light, kind="stable")[: max(1, bx.size // 3)]
    return bx[keep], by[keep]


def _split(sums: ApertureSums, n: int) -> tuple[ApertureSums, ApertureSums]:
    names = sums.__dataclass_fields__
    return (
        ApertureSums(**{k: getattr(sums, k)[:n] for k in names}),
        ApertureSums(**{k: getattr(sums, k)[n:] for k in names}),
    )


def _correction(sums: ApertureSums, sigma: Float, near: Float, far: Float) -> tuple[float, float]:
    """Return the light outside the circle in magnitudes, from bright and rather lonely stars.

    ``near`` and ``far`` are the content of both circles over the star's own light. What the
    neighbours add is only partly seen, since faint ones lift the sky ring as well; how much, is
    fitted: the correction is the intercept, where there are no neighbours.
    """
    bright = sums.inside & ~sums.saturated & (sums.flux > 40.0 * sigma) & (sums.wide_flux > 0)
    good = bright & (far < 1.4)
    if np.count_nonzero(good) < 8:
        return TYPICAL_CORRECTION_MAG, 0.03
    lost = 2.5 * np.log10(sums.wide_flux[good] / sums.flux[good])
    added = 2.5 * np.log10(far[good] / near[good])
    design = np.stack([np.ones_like(added), added], axis=1)
    held = np.diag([0.0, 0.05**2 / 0.3**2])  # the slope is 0.5 +- 0.3
    weight = np.ones_like(added)
    answer, spread = np.zeros(2), 0.05
    covariance: Float = np.eye(2)
    for _ in range(10):
        covariance = np.asarray(
            np.linalg.inv(design.T @ (weight[:, None] * design) + held), dtype=np.float64
        )
        answer = covariance @ (design.T @ (weight * lost) + held @ np.array([0.0, 0.5]))
        rest = lost - design @ answer
        spread = max(1.4826 * float(np.median(np.abs(rest))), 1e-3)
        weight = 1.0 / (1.0 + (rest / (2.0 * spread)) ** 2)
    sigma_0 = spread * 1.25 * math.sqrt(float(covariance[0, 0]))
    return float(np.clip(answer[0], -0.05, 0.5)), sigma_0
