"""Putting light onto the mosaic: stars exactly sub-pixel, discs, glare."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Ints = NDArray[np.int64]

RADIUS_PX = 9


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _edges(centre: float, first: int, sigma: float, out: Any) -> None:
    """Fill ``out`` with the share of a Gaussian that falls into each pixel from ``first`` on."""
    scale = 1.0 / (sigma * math.sqrt(2.0))
    below = math.erf((first - 0.5 - centre) * scale)
    for i in range(out.size):
        above = math.erf((first + i + 0.5 - centre) * scale)
        out[i] = 0.5 * (above - below)
        below = above


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _draw(
    image: Any, x: Any, y: Any, electrons: Any, cfa: Any, core: float, wing: float, share: float
) -> None:
    height, width = image.shape
    n = 2 * RADIUS_PX + 1
    cx, cy, wx, wy = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for k in range(x.size):
        i0, j0 = round(x[k]) - RADIUS_PX, round(y[k]) - RADIUS_PX
        if i0 + n <= 0 or j0 + n <= 0 or i0 >= width or j0 >= height:
            continue
        _edges(x[k], i0, core, cx)
        _edges(y[k], j0, core, cy)
        _edges(x[k], i0, wing, wx)
        _edges(y[k], j0, wing, wy)
        for j in range(max(0, -j0), min(n, height - j0)):
            a, b = (1.0 - share) * cy[j], share * wy[j]
            row = (j0 + j) & 1
            for i in range(max(0, -i0), min(n, width - i0)):
                e = electrons[k, cfa[row, (i0 + i) & 1]]
                image[j0 + j, i0 + i] += e * (a * cx[i] + b * wx[i])


def draw_points(
    image: Array,
    x: Float,
    y: Float,
    electrons: Float,
    cfa: Ints,
    *,
    fwhm_px: float = 2.3,
    wing_share: float = 0.12,
) -> None:
    """Add point sources to a mosaic in place.

    The point-spread function is a Gaussian core of ``fwhm_px`` plus a Gaussian wing 2.4 times as
    wide that holds ``wing_share`` of the light (close to a Moffat profile), both integrated over
    each pixel exactly.

    Parameters
    ----------
    image
        ``(H, W)`` float32 electrons.
    x, y
        ``(N,)`` pixel positions.
    electrons
        ``(N, bands)`` electrons of each source if every pixel had that band.
    cfa
        ``(2, 2)`` band of each pixel of the top-left cell.
    """
    core = fwhm_px / (2.0 * math.sqrt(2.0 * math.log(2.0)))
    _draw(
        image,
        np.ascontiguousarray(x, dtype=np.float64),
        np.ascontiguousarray(y, dtype=np.float64),
        np.ascontiguousarray(electrons, dtype=np.float64),
        cfa,
        core,
        2.4 * core,
        wing_share,
    )


def disc_profile(
    x: float, y: float, radius_px: float, lit_direction: tuple[float, float], phase_angle_deg: float
) -> tuple[Array, int, int]:
    """Return a unit-sum picture of a disc, and the column and row of its first pixel.

    Parameters
    ----------
    lit_direction
        Unit vector in the picture from the disc toward the Sun; the terminator is across it.
    phase_angle_deg
        0 fully lit, 180 dark.
    """
    reach = math.ceil(radius_px + 4)
    left, top = round(x) - reach, round(y) - reach
    n, fine = 2 * reach + 1, 8
    step = (np.arange(n * fine) + 0.5) / fine - 0.5
    u = (left + step[None, :] - x) / radius_px
    v = (top + step[:, None] - y) / radius_px
    along = u * lit_direction[0] + v * lit_direction[1]
    across = v * lit_direction[0] - u * lit_direction[1]
    lit = u * u + v * v <= 1.0
    terminator = -np.sqrt(np.maximum(1.0 - across**2, 0.0)) * math.cos(
        math.radians(phase_angle_deg)
    )
    lit &= along >= terminator
    profile = lit.reshape(n, fine, n, fine).mean(axis=(1, 3)).astype(np.float32)
    if profile.sum() <= 0:
        profile[reach, reach] = 1.0
    profile = cv2.GaussianBlur(profile, (0, 0), 1.0, borderType=cv2.BORDER_CONSTANT)
    return profile / profile.sum(), left, top


def glare_profile(x: float, y: float, reach: int) -> tuple[Array, int, int]:
    """Return the light a lens scatters around a bright body, as shares of the body's light.

    A Moffat wing (beta = 1.5) that sums to one, brought to zero at ``reach`` pixels.
    """
    left, top = round(x) - reach, round(y) - reach
    u = np.arange(left, left + 2 * reach + 1, dtype=np.float32)[None, :] - np.float32(x)
    v = np.arange(top, top + 2 * reach + 1, dtype=np.float32)[:, None] - np.float32(y)
    r2 = u * u + v * v
    core2 = 9.0
    moffat = 0.5 / (np.pi * core2) * (1.0 + r2 / core2) ** -1.5
    window = np.maximum(1.0 - r2 / float(reach * reach), 0.0) ** 2
    return (moffat * window).astype(np.float32), left, top


def add_profile(
    image: Array, profile: Array, left: int, top: int, electrons: Float, cfa: Ints
) -> None:
    """Add ``profile`` times the electrons of each band to a mosaic in place, clipped to it."""
    height, width = image.shape
    i0, j0 = max(left, 0), max(top, 0)
    i1, j1 = min(left + profile.shape[1], width), min(top + profile.shape[0], height)
    if i0 >= i1 or j0 >= j1:
        return
    part = profile[j0 - top : j1 - top, i0 - left : i1 - left]
    for j in (0, 1):
        for i in (0, 1):
            jj, ii = (j0 + j) & 1, (i0 + i) & 1
            image[j0 + j : j1 : 2, i0 + i : i1 : 2] += (
                part[j::2, i::2] * electrons[cfa[jj, ii]]
            ).astype(np.float32)
