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
* ``N`` has the same brightness all round at one zenith distance: a low quantile of ``B`` in a
  ring, but no more than airglow and starlight can make of the zenith ``N_0``, dimmed by extinction
  (van Rhijn 1921; Leinert et al. 1998, A&AS 127, 1)::

      N(z) <= N_0 (0.6 / sqrt(1 - (sin z / 1.0141)^2) + 0.4) 10^(-0.4 k (X(z) - 1)),   k = 0.16

* ``V`` grows with the airmass: from the zenith down to the horizon it never falls. So ``V`` is the
  smallest value of ``B - N`` from a place down to the horizon below it, both over the path through
  the air, ``1 / (cos z + 0.15)``. And it is wide: an opening along the azimuth leaves nothing
  narrower than 24 degrees. That keeps the Moon, the Milky Way and single clouds.

``V`` is refined by a guided filter along the edges of the frame (obstacles have no veil), ``A`` is
its brightest large-scale level with ``N``, and ``t = 1 - opacity V / A``, at least ``LEAST``. The
result is::

    I' = I - amount V + amount (1 / t - 1) (I - B)

so that the background becomes ``N`` and the structure ``S``. By day ``N`` is the blue of the rings'
darker parts, and the same arithmetic takes the whitish haze over the horizon.

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
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.sky_model import Blocks, block_size, reduce_sky
from allsky360.imaging.scene import luminance_of

Floats = NDArray[np.float64]

RINGS, RAYS = 36, 180
RING_QUANTILE = 0.3
"""Of the blocks of a ring: towns cover part of it, and the lowest are noise or something dark."""
EDGE_DEG = 86.0
"""Zenith distance of the edge of the mask: few horizons are free to 0 degrees."""
ZENITH = 40.0
"""Zenith distance in degrees within which the natural sky's level is looked for."""
OBSTACLE = 0.5
"""Blocks darker than this share of the zenith's level are no sky, nor are their neighbours."""
FALL = 0.9
"""The natural sky of a ring is taken to be at least this share of the zenith's: where trees fill
most of a ring, or the lens vignettes, the filter does too little rather than too much."""
ENOUGH = 0.15
"""Share of a ring that must be free for its level to count."""
NARROW_DEG, SMOOTH_DEG = 24.0, 3.0
EXTINCTION = 0.16
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
    channels = background.shape[-1]
    natural = np.asarray(state["natural"]).reshape(RINGS, channels)
    veil = _veil(blocks, place, background, natural)
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
    """Measure the natural sky in rings about the zenith, and the airlight."""
    blocks = reduce_sky(image, mask)
    if not blocks.sky.any():
        return {"natural": [0.0] * (RINGS * image.shape[-1]), "airlight": [1.0]}
    place = _Place(blocks)
    return _measure(blocks, place, _background(blocks, place))


def natural_rise(zenith_distance_deg: Floats) -> Floats:
    """Return the brightness of the natural moonless sky over that of the zenith; see above."""
    z = np.radians(np.minimum(zenith_distance_deg, 88.0))
    airmass = 1.0 / (np.cos(z) + 0.50572 * (96.07995 - np.degrees(z)) ** -1.6364)
    van_rhijn = 1.0 / np.sqrt(1.0 - (np.sin(z) / 1.0141) ** 2)
    return np.asarray((0.6 * van_rhijn + 0.4) * 10.0 ** (-0.4 * EXTINCTION * (airmass - 1.0)))


def _path(zenith_distance_deg: Floats) -> Floats:
    """Return how a veil grows toward the horizon at the least: an airmass that stays finite."""
    return np.asarray(1.0 / (np.cos(np.radians(zenith_distance_deg)) + 0.15))


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
        reach = max(float(self.distance[sky].max()), 1e-6)
        self.ring = np.minimum((self.distance / reach * RINGS).astype(int), RINGS - 1)
        self.ring_deg = EDGE_DEG * np.minimum((np.arange(RINGS) + 0.5) / RINGS * reach, 1.0)
        self.reach = reach


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
    """Smooth over what is sky, and continue it to where there is none."""
    weight = sky.astype(np.float32)
    filled, known = plane * weight, weight
    result = np.zeros(plane.shape, np.float64)
    done = np.zeros(plane.shape, bool)
    sigma = max(radius / 1.5, 0.8)
    while not done.all():
        total, count = (cv2.GaussianBlur(a, (0, 0), sigma) for a in (filled, known))
        fresh = ~done & (count > 1e-3)
        result[fresh] = total[fresh] / count[fresh]
        done |= fresh
        sigma *= 2.0
    return result


def _level(blocks: Blocks, place: _Place, background: Floats) -> Floats:
    """``(C,)`` natural sky near the zenith."""
    zenith = blocks.sky & (place.distance * EDGE_DEG < ZENITH)
    chosen = zenith if zenith.any() else blocks.sky
    return np.asarray(np.quantile(background[chosen], RING_QUANTILE, axis=0))


def _usable(blocks: Blocks, place: _Place, background: Floats) -> NDArray[np.bool_]:
    """Blocks of sky that neither are nor touch an obstacle."""
    least = OBSTACLE * float(luminance_of(_level(blocks, place, background)[None])[0])
    dark = blocks.sky & ((blocks.luminance < least) | (luminance_of(background) < least))
    near = cv2.dilate(dark.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(blocks.sky & (near == 0))


def _measure(blocks: Blocks, place: _Place, background: Floats) -> State:
    light = luminance_of(background)
    usable = _usable(blocks, place, background)
    level = _level(blocks, place, background)
    # Past its highest point the bound stays: so near the horizon a degree matters too much.
    rise = np.maximum.accumulate(natural_rise(place.ring_deg))
    natural = np.zeros((RINGS, background.shape[-1]))
    last = level
    for ring in range(RINGS):
        here = usable & (place.ring == ring)
        if here.sum() >= max(4, ENOUGH * (place.ring == ring).sum()):
            last = np.quantile(background[here], RING_QUANTILE, axis=0)
        natural[ring] = np.maximum(np.minimum(last, level * rise[ring]), FALL * level)
    # A ring is a few blocks: smooth, so that no ring shows.
    padded = np.pad(natural, ((1, 1), (0, 0)), mode="edge")
    natural = 0.25 * padded[:-2] + 0.5 * natural + 0.25 * padded[2:]
    airlight = float(np.quantile(light[usable], 0.995)) if usable.any() else 1.0
    return {"natural": [float(v) for v in natural.ravel()], "airlight": [airlight]}


def _veil(blocks: Blocks, place: _Place, background: Floats, natural: Floats) -> Floats:
    """``(h, w, C)`` light of the veil: grows outward, wide in azimuth, none on obstacles."""
    usable = _usable(blocks, place, background)
    at = np.minimum(place.distance / place.reach * RINGS - 0.5, RINGS - 1.0)
    turn = 2.0 * np.pi * np.arange(RAYS) / RAYS
    r = (np.arange(RINGS) + 0.5) / RINGS * place.reach * place.radius
    px = (place.x0 + r[:, None] * np.cos(turn)).astype(np.float32)
    py = (place.y0 + r[:, None] * np.sin(turn)).astype(np.float32)
    known = cv2.remap(usable.astype(np.float32), px, py, cv2.INTER_NEAREST) > 0.5
    back_x = ((place.angle % (2.0 * np.pi)) / (2.0 * np.pi) * RAYS).astype(np.float32)
    path = _path(place.ring_deg)[:, None]
    blur = max(1.0, place.radius * SMOOTH_DEG / 90.0)
    planes = []
    for c in range(background.shape[-1]):
        profile = np.interp(at, np.arange(RINGS), natural[:, c])
        excess = np.maximum(background[..., c] - profile, 0.0).astype(np.float32)
        polar = cv2.remap(excess, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        polar = _wide(np.where(known, polar, np.float32(np.inf)))
        lowest = np.minimum.accumulate((polar / path)[::-1], axis=0)[::-1] * path
        lowest = np.where(np.isfinite(lowest), lowest, 0.0).astype(np.float32)
        turned = np.concatenate([lowest] * 3, axis=1)
        turned = cv2.GaussianBlur(turned, (0, 0), sigmaX=RAYS * SMOOTH_DEG / 360.0, sigmaY=0.5)
        flat = cv2.remap(
            turned, back_x + RAYS, at.astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        # Smoothing must not take light from where there is no excess.
        flat = np.minimum(cv2.GaussianBlur(flat, (0, 0), blur), excess)
        planes.append(cv2.GaussianBlur(flat, (0, 0), 1.0))
    veil = np.stack(planes, axis=-1).astype(np.float64)
    light = luminance_of(background)
    guide = np.where(blocks.sky, np.minimum(blocks.luminance, light), light)
    share = _guided(usable.astype(np.float32), guide.astype(np.float32), 3)
    return veil * np.where(blocks.sky, np.clip(share, 0.0, 1.0), 1.0)[..., None]


def _wide(polar: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opening along the azimuth: what is narrower than the Milky Way's foot is no town."""
    half = round(RAYS * NARROW_DEG / 360.0 / 2.0)
    kernel = np.ones((1, 2 * half + 1), np.uint8)
    turned = np.concatenate([polar] * 3, axis=1)
    known = np.isfinite(turned)
    low = cv2.erode(turned, kernel)
    low = np.where(np.isfinite(low), low, np.float32(-np.inf))
    opened = cv2.dilate(low, kernel)
    opened = np.where(known & np.isfinite(opened), opened, turned)
    return np.asarray(opened[:, RAYS : 2 * RAYS], np.float32)


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


FILTER = Filter("dehaze", 1, "linear", dehaze, measure=measure)
