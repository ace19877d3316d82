"""Dehaze: the veil of light pollution and haze comes off, and what it dimmed comes back.

The sky is what is seen through the air, plus light the air itself sends (the haze model of
Koschmieder; Narasimhan & Nayar 2002, IJCV 48, 233; He, Sun & Tang 2011, IEEE TPAMI 33, 2341)::

    I = N + S t + V,      V = A (1 - t)

with the natural night sky ``N``, everything that stands out of it ``S`` (stars, Milky Way, the
drawing of clouds), the airlight's colour and brightness ``A``, the veil's transmission ``t`` and
the veil ``V``. At night there is no dark channel that could be taken for zero as He et al. do by
day; what is known instead:

* ``B``, the large-scale background: the opening (smallest, then largest value within some four
  degrees) of block means, free of stars and of noise.
* ``N`` is the same all round and falls towards the horizon no faster than a hazy air makes it, and
  ``V`` falls with altitude and changes slowly along the horizon. The Moon, the Milky Way and single
  clouds do neither. :mod:`.domes` has the model of both, and fits it to ``B`` on a polar grid.

``V`` is refined by a guided filter along the edges of the frame (obstacles have no veil), ``A`` is
its brightest large-scale level with ``N``, and ``t = 1 - opacity V / A``, at least ``LEAST``. The
result is::

    I' = I - amount V + amount (1 / t - 1) (I - B)

so that the background becomes ``N`` and the structure ``S``; it is never brought below ``HOLE`` of
``N``. By day ``N`` is the blue of the zenith, and the same arithmetic takes the whitish haze over
the horizon.

Zenith and horizon are the middle and the edge of the mask (without one, of the frame): no lens
model is needed, and a tilt of some degrees does not matter at this scale.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.arrays.blocks import scale_and_shift
from allsky360.arrays.generic import on_device_of
from allsky360.imaging.filters import domes
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.sky_model import Blocks, block_size, reduce_sky
from allsky360.imaging.filters.sky_shapes import EXTINCTIONS
from allsky360.imaging.scene import luminance_of

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

RINGS, RAYS = 24, 72
"""The polar grid that is fitted; the veil is drawn on one of half the step."""
ZENITH_QUANTILE = 0.3
EDGE_DEG = 86.0
"""Zenith distance of the edge of the mask: few horizons are free to 0 degrees."""
ZENITH = 40.0
"""Zenith distance in degrees within which the natural sky's level is looked for."""
OBSTACLE = 0.5
"""Blocks darker than this share of the zenith's level are no sky, nor are their neighbours."""
HOLE = 0.85
"""The background is never brought below this share of the natural sky."""
LEAST = 0.4
"""The veil is never taken to be more opaque than this transmission."""


def dehaze(
    image: Array,
    *,
    amount: float = 0.7,
    opacity: float = 0.3,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Take the veil away.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear, of a whole sky.
    amount
        0 (identity) to 1.
    opacity
        How much of the light behind the thickest veil it is taken to hide, 0 to 1. 0 subtracts
        only, as is right for light pollution in clear air.
    state
        What :func:`measure` gave.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if amount == 0:
        return image
    blocks = reduce_sky(image, mask)
    if not blocks.sky.any():
        return image
    place = _Place(blocks)
    background = _background(blocks, place)
    state = state or _measure(blocks, place, background)
    veil = _veil(blocks, place, background, state)
    thickness = luminance_of(veil) / max(state["airlight"][0], 1e-9)
    transmission = np.maximum(1.0 - opacity * thickness, LEAST)
    extra = amount * (1.0 / transmission - 1.0)
    offset = -amount * veil - extra[..., None] * background
    return scale_and_shift(
        image,
        on_device_of(image, 1.0 + extra) if opacity > 0 else None,
        on_device_of(image, offset),
        block_size(image.shape),
        mask,
    )


def measure(image: Array, *, mask: Array | None = None) -> State:
    """Fit natural sky and veil (coefficients of :mod:`.domes`), and measure the airlight."""
    blocks = reduce_sky(image, mask)
    if not blocks.sky.any():
        return {"natural": [], "veil": [], "airlight": [1.0]}
    place = _Place(blocks)
    return _measure(blocks, place, _background(blocks, place))


class _Place:
    """Where each block lies about the zenith, and a polar grid of the sky."""

    def __init__(self, blocks: Blocks) -> None:
        sky = blocks.sky
        rows, columns = np.nonzero(sky)
        self.x0, self.y0 = float(columns.mean()), float(rows.mean())
        # Half a block: centres of the outermost blocks lie inside the edge.
        self.radius = max(math.sqrt(rows.size / math.pi), 1.0)
        y, x = np.mgrid[: sky.shape[0], : sky.shape[1]]
        self.distance = np.hypot(x - self.x0, y - self.y0) / self.radius
        self.angle = np.arctan2(y - self.y0, x - self.x0)

    def polar(self, rings: int, rays: int) -> tuple[Plane, Plane]:
        """Return where the places of a polar grid lie: ``(rings, rays)`` x and y."""
        turn = 2.0 * np.pi * np.arange(rays) / rays
        r = ((np.arange(rings) + 0.5) / rings * self.radius)[:, None]
        x, y = self.x0 + r * np.cos(turn), self.y0 + r * np.sin(turn)
        return x.astype(np.float32), y.astype(np.float32)

    def on_blocks(self, polar: Floats) -> Floats:
        """Lay values of a polar grid, ``(rings, rays, C)``, on the blocks."""
        rings, rays = polar.shape[:2]
        at = np.minimum(self.distance * rings - 0.5, rings - 1.0)
        turn = self.angle % (2.0 * np.pi) / (2.0 * np.pi) * rays
        closed = np.concatenate([polar, polar[:, :1]], axis=1).astype(np.float32)
        laid = cv2.remap(
            closed, turn.astype(np.float32), at.astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(laid.reshape(*self.distance.shape, -1), np.float64)


def zenith_distances_deg(rings: int) -> tuple[float, ...]:
    """Return the zenith distance of each ring of a polar grid."""
    return tuple(float(z) for z in EDGE_DEG * (np.arange(rings) + 0.5) / rings)


def _background(blocks: Blocks, place: _Place) -> Floats:
    """``(h, w, C)`` opening of the block means, continued where there is no sky."""
    radius = max(1, round(place.radius * 4.0 / 90.0 / 2.0))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    planes = []
    for c in range(blocks.means.shape[-1]):
        plane = blocks.means[..., c].astype(np.float32)
        low = cv2.erode(np.where(blocks.sky, plane, np.float32(np.inf)), kernel)
        low = np.where(blocks.sky, low, np.float32(-np.inf))
        opened = cv2.dilate(low, kernel)
        planes.append(_spread(np.where(blocks.sky, opened, 0.0), blocks.sky, radius))
    return np.stack(planes, axis=-1)


def _spread(plane: NDArray[np.float32], sky: NDArray[np.bool_], radius: int) -> Floats:
    """Smooth over what is sky, and continue it some blocks beyond; farther out it is 0."""
    weight = sky.astype(np.float32)
    filled, known = plane * weight, weight
    result = np.zeros(plane.shape, np.float64)
    done = np.zeros(plane.shape, bool)
    sigma = max(radius / 1.5, 0.8)
    for wider in (1.0, 2.0):
        total, count = (cv2.GaussianBlur(a, (0, 0), wider * sigma) for a in (filled, known))
        fresh = ~done & (count > 1e-3)
        result[fresh] = total[fresh] / count[fresh]
        done |= fresh
    return result


def _level(blocks: Blocks, place: _Place, background: Floats) -> Floats:
    """``(C,)`` natural sky near the zenith."""
    zenith = blocks.sky & (place.distance * EDGE_DEG < ZENITH)
    chosen = zenith if zenith.any() else blocks.sky
    return np.asarray(np.quantile(background[chosen], ZENITH_QUANTILE, axis=0))


def _usable(blocks: Blocks, place: _Place, background: Floats) -> NDArray[np.bool_]:
    """Blocks of sky that neither are nor touch an obstacle."""
    least = OBSTACLE * float(luminance_of(_level(blocks, place, background)[None])[0])
    dark = blocks.sky & ((blocks.luminance < least) | (luminance_of(background) < least))
    near = cv2.dilate(dark.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(blocks.sky & (near == 0))


def _measure(blocks: Blocks, place: _Place, background: Floats) -> State:
    usable = _usable(blocks, place, background)
    px, py = place.polar(RINGS, RAYS)
    known = cv2.remap(usable.astype(np.float32), px, py, cv2.INTER_LINEAR) > 0.99
    plane = background.astype(np.float32)
    polar = cv2.remap(plane, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    polar = polar.reshape(RINGS, RAYS, -1).astype(np.float64)
    found = domes.fit(polar, known, zenith_distances_deg(RINGS))
    light = luminance_of(background)
    airlight = float(np.quantile(light[usable], 0.995)) if usable.any() else 1.0
    split = len(EXTINCTIONS)
    return {
        "natural": [float(v) for v in found[:split].ravel()],
        "veil": [float(v) for v in found[split:].ravel()],
        "airlight": [airlight],
    }


def _veil(blocks: Blocks, place: _Place, background: Floats, state: State) -> Floats:
    """``(h, w, C)`` light of the veil; none on obstacles."""
    usable = _usable(blocks, place, background)
    channels = background.shape[-1]
    rings, rays = 2 * RINGS, 2 * RAYS
    natural, veil = domes.evaluate(state, zenith_distances_deg(rings), rays, channels)
    lit, least = place.on_blocks(veil), place.on_blocks(natural)
    lit = np.minimum(lit, np.maximum(background - HOLE * least, 0.0))
    light = luminance_of(background)
    guide = np.where(blocks.sky, np.minimum(blocks.luminance, light), light)
    share = _guided(usable.astype(np.float32), guide.astype(np.float32), 3)
    return lit * np.where(blocks.sky, np.clip(share, 0.0, 1.0), 1.0)[..., None]


def _guided(
    plane: NDArray[np.float32], guide: NDArray[np.float32], radius: int
) -> NDArray[np.float32]:
    """He, Sun & Tang (2013): smooth a plane along the edges of another."""
    side = (2 * radius + 1, 2 * radius + 1)
    edge2 = 0.05**2 * float(np.mean(guide)) ** 2 + 1e-12
    mean_g, mean_p = cv2.blur(guide, side), cv2.blur(plane, side)
    variance = cv2.blur(guide * guide, side) - mean_g * mean_g
    a = (cv2.blur(guide * plane, side) - mean_g * mean_p) / (variance + edge2)
    b = mean_p - a * mean_g
    return np.asarray(cv2.blur(a, side) * guide + cv2.blur(b, side))


FILTER = Filter("dehaze", 2, "linear", dehaze, measure=measure)
