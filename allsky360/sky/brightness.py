"""Surface brightness of the sky in V magnitudes per square arcsecond, from between the stars.

What reaches the camera is reported: light is not corrected for the air it crossed, as every sky
quality meter has it, while the zero point is that of stars above the atmosphere. The camera's band
is carried to V with the colour term and a colour of the sky that the caller may state. It is not
measured: debayering distorts the colours of point sources, so that stars do not calibrate it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.arrays.block_level import LARGEST_SAMPLE, block_level
from allsky360.sky.lens import LensModel
from allsky360.sky.photometry import Photometry
from allsky360.sky.star_mask import like, star_mask

Float = NDArray[np.float64]

ARCSEC2_PER_SR = (180.0 * 3600.0 / math.pi) ** 2
SKY_BV = (0.7, 0.3)
"""B-V of a moonless sky, and how far others (moonlit 0.1, town 1.1) lie from it."""

ZENITH_RADIUS_DEG = 7.5
_BLOCKS_ACROSS = 90


@dataclass(frozen=True, eq=False)
class SkyBrightness:
    """A map in blocks, ``(rows, columns)`` float64, NaN off the sky, and the zenith.

    Attributes
    ----------
    block_px
        Side of a block; block (r, c) covers rows from ``r * block_px`` on.
    altitude_deg, azimuth_deg
        Of the block centres.
    mag_arcsec2
        V magnitudes per square arcsecond; NaN also where the sky is not above the pedestal.
    sigma_mag
        Statistical error of each block.
    zenith_mag, zenith_sigma
        Median within ``ZENITH_RADIUS_DEG`` of the zenith and its total error; NaN if not measured.
    zenith_sigma_stat, systematic_mag
        Scatter of the mean; zero point, colour and pedestal, which all blocks share.
    zenith_blocks
        Blocks the zenith value comes from.
    """

    block_px: int
    altitude_deg: Float
    azimuth_deg: Float
    mag_arcsec2: Float
    sigma_mag: Float
    zenith_mag: float
    zenith_sigma: float
    zenith_sigma_stat: float
    systematic_mag: float
    zenith_blocks: int


def sky_brightness(
    plane: Array,
    lens: LensModel,
    photometry: Photometry,
    *,
    pedestal: float = 0.0,
    pedestal_sigma: float = 0.0,
    sky_bv: tuple[float, float] = SKY_BV,
    mask: NDArray[np.bool_] | None = None,
    min_altitude_deg: float = 10.0,
) -> SkyBrightness:
    """Measure the sky between the stars of a frame.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 measurement plane, on any device.
    photometry
        Of the same frame: zero point, colour, vignetting, exposure time, places of the stars.
    pedestal, pedestal_sigma
        What is left of the black level, in plane units, e.g. from the dark border of the frame.
    sky_bv
        B-V of the sky and its error.
    mask
        ``(H, W)`` host bool, True = sky.
    min_altitude_deg
        Blocks lower than this are left out.
    """
    size = _block_size(lens)
    blocked = like(star_mask(plane.shape, *photometry.sources, fwhm_px=photometry.fwhm_px), plane)
    level, noise = (
        np.asarray(to_host(v), dtype=np.float64) for v in block_level(plane, size, blocked=blocked)
    )
    rows, columns = level.shape
    x = np.arange(columns)[None, :] * size + (size - 1) / 2 + np.zeros((rows, 1))
    y = np.arange(rows)[:, None] * size + (size - 1) / 2 + np.zeros((1, columns))
    altitude, azimuth = lens.unproject(x, y)
    theta = np.degrees(lens.theta(np.hypot(x - lens.cx, y - lens.cy)))
    with np.errstate(invalid="ignore"):
        sky = altitude >= min_altitude_deg
    if mask is not None:
        share = mask[: rows * size, : columns * size].reshape(rows, size, columns, size)
        sky &= share.mean(axis=(1, 3)) > 0.9
    light = level - pedestal
    area = lens.solid_angle_sr(x, y) * ARCSEC2_PER_SR
    bv, bv_sigma = sky_bv
    c1, c2 = photometry.colour
    loss = photometry.vignetting.loss_mag(theta) + c1 * bv + c2 * bv * bv
    to_v = photometry.zero_point_mag - loss
    samples = (size / -(-size // LARGEST_SAMPLE)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = to_v - 2.5 * np.log10(light / photometry.exposure_s / area)
        sigma = 1.0857 * 1.25 * photometry.noise_factor * noise / math.sqrt(samples) / light
        good = sky & (light > 2.0 * pedestal_sigma) & np.isfinite(mag)
    mag, sigma = np.where(good, mag, np.nan), np.where(good, sigma, np.nan)
    near = good & (altitude > 90.0 - ZENITH_RADIUS_DEG)
    count = int(np.count_nonzero(near))
    zenith = stat = pedestal_mag = float("nan")
    if count:
        zenith = float(np.median(mag[near]))
        spread = 1.4826 * float(np.median(np.abs(mag[near] - zenith)))
        stat = max(spread, float(np.median(sigma[near]))) * 1.25 / math.sqrt(count)
        pedestal_mag = 1.0857 * pedestal_sigma / float(np.median(light[near]))
    colour_sigma = abs(c1 + 2 * c2 * bv) * bv_sigma
    systematic = math.sqrt(
        photometry.zero_point_sigma**2
        + colour_sigma**2
        + (0.0 if math.isnan(pedestal_mag) else pedestal_mag) ** 2
    )
    return SkyBrightness(
        block_px=size,
        altitude_deg=altitude,
        azimuth_deg=azimuth,
        mag_arcsec2=mag,
        sigma_mag=sigma,
        zenith_mag=zenith,
        zenith_sigma=math.hypot(stat, systematic),
        zenith_sigma_stat=stat,
        systematic_mag=systematic,
        zenith_blocks=count,
    )


def _block_size(lens: LensModel) -> int:
    """Return an even block size: about two degrees."""
    short = min(lens.width, lens.height)
    return max(4, min(2 * round(short / _BLOCKS_ACROSS / 2), short))
