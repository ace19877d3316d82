"""Exposure fusion: a picture from the best-exposed parts of several exposures.

Mertens, Kautz & Van Reeth, "Exposure Fusion" (2007): each exposure gets a weight map, the product
of

* contrast, the absolute Laplacian of grey,
* saturation, the standard deviation of the colours of a pixel,
* exposedness, ``exp(-(code - 0.5)^2 / (2 * 0.2^2))``, multiplied over the colours,

each to a power; the Laplacian pyramids of the exposures are mixed by the Gaussian pyramids of the
normalised maps. :func:`fuse_pictures` is that, on finished pictures of equal size.

:func:`fuse` makes the look from one linear HDR frame and is what a chain wants. The merged radiance
knows more than any exposure of the bracket, so the exposures are made from it: ``e_k = min(g_k s,
1)`` with ``s`` the square root of luminance (codes of gamma 2): one debayer instead of five, less
noise than any real exposure has, and any number of stops. Maps and pyramids are worked out on
blocks of ``BLOCK`` pixels, freed of stars by a 3x3 median; the picture is then

    offset + sum(w_k e_k),     offset = fused - sum(w_k e_k) of the blocks,

with the full-size exposures and the enlarged maps and offset: what is smaller than a block follows
one smooth rising curve, which compresses stars without dark rings. Colour follows as ratios.
Nothing is normalised over the frame, so a sequence does not flicker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from allsky360.arrays import (
    Array,
    convolve_separable,
    median3,
    namespace,
    pyramid_down,
    pyramid_up,
)
from allsky360.arrays.blocks import masked_blocks
from allsky360.arrays.fusing import BLOCK, show_fused
from allsky360.arrays.luminance import luminance
from allsky360.arrays.srgb import decode as srgb_decoded
from allsky360.imaging.filters.extend import extend_outward

VERSION = 1

BEST, SPREAD = 0.5, 0.2
"""Code of a well exposed pixel, and how far from it is still well exposed."""

SMALLEST = 2
"""Sides at which pyramids end, pixels."""


def fuse(
    linear: Array,
    *,
    background: float = 0.20,
    brightest_ev: float = 1.0,
    step_ev: float = 2.0,
    exposures: int = 4,
    contrast: float = 0.0,
    chroma_floor: float = 0.0,
    mask: Array | None = None,
) -> Array:
    """Fuse exposures made from one linear frame.

    Parameters
    ----------
    linear
        ``(H, W, C)`` float32, white balanced, pedestal removed, sky about 1; C is 1 or 3.
    background
        Code (sRGB) the sky would have in the exposure at 0 EV, 0.02 to 0.8.
    brightest_ev
        Stops by which the brightest exposure is brighter than that, -2 to 6.
    step_ev
        Stops between exposures, 0.5 to 4.
    exposures
        Number of exposures, 1 to 8.
    contrast
        Power of the contrast map, 0 to 2. On a night sky contrast is mostly noise.
    chroma_floor
        Luminance of the result (linear light, white 1) under which colour is noise and fades.
    mask
        ``(H, W)`` bool, True = sky: what lies outside does not weigh in.

    Returns
    -------
    Array
        Same shape, float32, sRGB code over 255.
    """
    gains = gains_of(background, brightest_ev, step_ev, exposures)
    return fuse_exposures(linear, gains, contrast=contrast, chroma_floor=chroma_floor, mask=mask)


def fuse_exposures(
    linear: Array,
    gains: Sequence[float],
    *,
    contrast: float = 0.0,
    chroma_floor: float = 0.0,
    mask: Array | None = None,
) -> Array:
    """Fuse exposures of given gains on the square root of luminance; else as :func:`fuse`."""
    if not 0.0 <= contrast <= 2.0:
        raise ValueError(f"contrast must lie between 0.0 and 2.0, got {contrast}")
    means, share = masked_blocks(linear, mask, BLOCK)
    small = luminance(means)
    if mask is not None:
        small = extend_outward(small, share > 0)
    xp = namespace(small)
    root = xp.sqrt(xp.maximum(median3(small), xp.zeros_like(small)))
    codes = [xp.minimum(gain * root, xp.ones_like(root)) for gain in gains]
    weights = _normalised(
        [_exposed(c) * _power(_contrast(c), contrast) if contrast else _exposed(c) for c in codes]
    )
    fused = _blend(codes, weights, _levels(root.shape))
    offset = fused - sum(w * c for w, c in zip(weights, codes, strict=True))
    return show_fused(linear, gains, xp.stack(weights), offset, chroma_floor=chroma_floor)


def gains_of(background: float, brightest_ev: float, step_ev: float, exposures: int) -> list[float]:
    """Return what the square root of luminance is multiplied by in each exposure."""
    for name, value, low, high in (
        ("background", background, 0.02, 0.8),
        ("brightest_ev", brightest_ev, -2.0, 6.0),
        ("step_ev", step_ev, 0.5, 4.0),
        ("exposures", exposures, 1, 8),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}, got {value}")
    light = srgb_light(background)
    return [math.sqrt(light * 2.0 ** (brightest_ev - k * step_ev)) for k in range(exposures)]


def srgb_light(code: float) -> float:
    """Return the linear light of an sRGB code over 255."""
    return float(srgb_decoded(np.asarray(code)))


def fuse_pictures(
    pictures: Sequence[Array],
    *,
    contrast: float = 1.0,
    saturation: float = 1.0,
    exposedness: float = 1.0,
) -> Array:
    """Fuse finished pictures at full size, as in the paper.

    Parameters
    ----------
    pictures
        ``(H, W, C)`` float32 each, codes within 0 and 1, one shape; C is 1 or 3.
    contrast, saturation, exposedness
        Powers of the three maps; 0 leaves one out.

    Returns
    -------
    Array
        Same shape, float32, within 0 and 1.
    """
    if not pictures:
        raise ValueError("there is nothing to fuse")
    if len({tuple(p.shape) for p in pictures}) > 1:
        raise ValueError("pictures of different size cannot be fused")
    xp = namespace(*pictures)
    maps = []
    for picture in pictures:
        grey, dull = picture[..., 0], xp.zeros_like(picture[..., 0])
        exposed = _exposed(picture[..., 0])
        if picture.shape[2] == 3:
            grey = 0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
            mean = xp.mean(picture, axis=2)
            dull = xp.sqrt(xp.sum((picture - mean[..., None]) ** 2, axis=2))
            exposed = exposed * _exposed(picture[..., 1]) * _exposed(picture[..., 2])
        powers = _power(_contrast(grey), contrast) * _power(exposed, exposedness)
        maps.append(powers * _power(dull, saturation) if picture.shape[2] == 3 else powers)
    levels = _levels(pictures[0].shape[:2])
    planes = [
        _blend([p[..., c] for p in pictures], _normalised(maps), levels)
        for c in range(pictures[0].shape[2])
    ]
    fused = xp.stack(planes, axis=-1)
    return xp.minimum(xp.maximum(fused, xp.zeros_like(fused)), xp.ones_like(fused))


def _exposed(code: Array) -> Array:
    xp = namespace(code)
    return xp.exp(-((code - BEST) ** 2) * (0.5 / SPREAD**2))


def _contrast(grey: Array) -> Array:
    """Absolute Laplacian: four neighbours less four times the middle."""
    xp = namespace(grey)
    # [1 0 1] x [1 0 1] would be the diagonals: sum of the two lines instead.
    both = convolve_separable(grey, [1.0, 1.0, 1.0])
    diagonal = convolve_separable(grey, [1.0, 0.0, 1.0])
    found = xp.abs(both - diagonal - 5.0 * grey)
    # Rounding is no contrast: where all is saturated it would choose between the exposures.
    return xp.maximum(found - 4e-6, xp.zeros_like(found))


def _power(values: Array, power: float) -> Array:
    xp = namespace(values)
    if power == 0:
        return xp.ones_like(values)
    return values if power == 1 else xp.maximum(values, xp.zeros_like(values)) ** power


def _normalised(maps: Sequence[Array]) -> list[Array]:
    total = sum(m + 1e-12 for m in maps)
    return [(m + 1e-12) / total for m in maps]


def _levels(shape: tuple[int, ...]) -> int:
    levels, side = 1, min(shape[0], shape[1])
    while side > SMALLEST:
        side, levels = (side + 1) // 2, levels + 1
    return levels


def _blend(planes: Sequence[Array], weights: Sequence[Array], levels: int) -> Array:
    """Mix the Laplacian pyramids of planes by the Gaussian pyramids of weights."""
    planes, weights = list(planes), list(weights)
    bands = []
    for _ in range(levels - 1):
        shape = (planes[0].shape[0], planes[0].shape[1])
        below = [pyramid_down(p) for p in planes]
        detail = [p - pyramid_up(b, shape) for p, b in zip(planes, below, strict=True)]
        bands.append(sum(w * d for w, d in zip(weights, detail, strict=True)))
        planes, weights = below, [pyramid_down(w) for w in weights]
    fused = sum(w * p for w, p in zip(weights, planes, strict=True))
    for band in reversed(bands):
        fused = band + pyramid_up(fused, (band.shape[0], band.shape[1]))
    return fused
