"""Pictures of the catalogue's stars at an instant through a lens, with where they truly are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.products.light import codes_of_light
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensModel

Float = NDArray[np.float64]
_REACH = 6


@dataclass(frozen=True, eq=False)
class Stars:
    """Stars on a picture: pixels, apparent altitude, V magnitude, ``(N,)`` each."""

    x: Float
    y: Float
    altitude_deg: Float
    v_mag: Float


def stars_at(lens: LensModel, site: Site, when: datetime, max_v: float = 6.0) -> Stars:
    """Return the stars above the horizon that the lens shows."""
    catalogue = load_catalogue(max_v)
    altitude, azimuth = apparent_altaz(catalogue, site, when)
    x, y, visible = lens.project(altitude, azimuth)
    seen = visible & (altitude > 0.5)
    return Stars(x[seen], y[seen], altitude[seen], catalogue.v_mag[seen])


def paint_sky(
    lens: LensModel,
    site: Site,
    when: datetime,
    *,
    seed: int = 0,
    max_v: float = 6.0,
    fwhm_px: float = 2.4,
    sky: float = 0.02,
    noise: float = 0.003,
    brightest: float = 0.9,
) -> NDArray[np.uint8]:
    """Paint Gaussian stars on a noisy sky inside the lens's circle, as sRGB.

    A star of V = 2 has its peak at ``brightest`` (light, 0 to 1).
    """
    stars = stars_at(lens, site, when, max_v)
    rng = np.random.default_rng(seed)
    light = np.full((lens.height, lens.width), sky, np.float32)
    sigma = fwhm_px / 2.3548
    amplitude = np.minimum(brightest * 10 ** (-0.4 * (stars.v_mag - 2.0)), 4.0)
    for x, y, a in zip(stars.x, stars.y, amplitude, strict=True):
        cx, cy = round(x), round(y)
        x0, x1 = max(cx - _REACH, 0), min(cx + _REACH + 1, lens.width)
        y0, y1 = max(cy - _REACH, 0), min(cy + _REACH + 1, lens.height)
        if x0 >= x1 or y0 >= y1:
            continue
        gx = np.exp(-0.5 * ((np.arange(x0, x1) - x) / sigma) ** 2)
        gy = np.exp(-0.5 * ((np.arange(y0, y1) - y) / sigma) ** 2)
        light[y0:y1, x0:x1] += (a * gy[:, None] * gx).astype(np.float32)
    light = light + rng.standard_normal(light.shape, np.float32) * np.float32(noise)
    y, x = np.ogrid[: lens.height, : lens.width]
    outside = np.hypot(x - lens.cx, y - lens.cy) > float(lens.radius_px(np.radians(90.0)))
    light[outside] = 0.0
    grey = codes_of_light(light)
    return np.repeat(grey[..., None], 3, axis=2)


def centroid(
    image: NDArray[np.float32], x: float, y: float, reach: int = 5
) -> tuple[float, float, float]:
    """Return a star's measured x, y and FWHM (second moments in a Gaussian window)."""
    cx, cy = round(x), round(y)
    patch = image[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1].astype(np.float64)
    border = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
    patch = patch - np.median(border)
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    mx = my = 0.0
    window_sigma = 2.0
    sxx = 1.0
    for _ in range(20):
        w = np.exp(-0.5 * ((xx - mx) ** 2 + (yy - my) ** 2) / window_sigma**2) * patch
        total = w.sum()
        # a windowed centroid moves half the way for a Gaussian as wide as the window: go on
        mx, my = mx + 2 * ((w * (xx - mx)).sum() / total), my + 2 * ((w * (yy - my)).sum() / total)
        mx, my = float(np.clip(mx, -2, 2)), float(np.clip(my, -2, 2))
        sxx = 0.5 * (w * ((xx - mx) ** 2 + (yy - my) ** 2)).sum() / total
    true = 1.0 / max(1.0 / sxx - 1.0 / window_sigma**2, 1e-3)  # take the window's width out
    return cx + mx, cy + my, 2.3548 * float(np.sqrt(true))
