"""Local tone mapping: the large brightnesses of a scene drawn together, its details kept.

A dawn horizon, a light dome or the Moon's glow can be a hundred times the zenith; a curve that
shows both shows neither with contrast. On blocks of ``BLOCK`` pixels the log of luminance is split
into an edge-aware base and the rest, and only the base is compressed (Durand & Dorsey 2002, ACM
TOG 21, 257, with the guided filter of He, Sun & Tang 2013 in the bilateral filter's place)::

    base = guided_self(log(max(y / sky, FLOOR)))
    gain = exp(-highlights base)   where base > 0, brighter than the sky
           exp(-shadows base)      where base < 0, darker than the sky

The gain multiplies the linear image, so colours and small contrasts stay, and where the sky is at
its background level it is 1: nothing of a plain night changes. Toward the level at which the camera
saturates ``highlights`` fades to 0, so that a saturated Moon or Sun stays white.
"""

from __future__ import annotations

import math

from allsky360.arrays import Array, namespace, to_host
from allsky360.arrays.blocks import masked_blocks, scale_and_shift
from allsky360.arrays.edges import guided_self
from allsky360.arrays.luminance import luminance
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Conditions, Filter, State

BLOCK = 8
FLOOR = 0.05
"""Share of the sky under which it is as dark as it gets: noise about 0 has no log."""
FADE = (0.55, 0.9)
"""Shares of saturation's log brightness above the sky between which highlights are left alone."""
EDGE = 0.4
"""Standard deviation of log luminance from which a window holds an edge."""


def tone_map(
    image: Array,
    *,
    highlights: float = 0.3,
    shadows: float = 0.4,
    radius_px: float = 160.0,
    state: State | None = None,
    conditions: Conditions | None = None,
    mask: Array | None = None,
) -> Array:
    """Compress large-scale brightness.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear, sky about 1.
    highlights, shadows
        Share of the log brightness above and below the sky's that is taken away, 0 to 0.9.
    radius_px
        Reach of "large-scale" in pixels of the frame, 16 to 1000.
    state
        What :func:`measure` gave.
    conditions
        Tells where the camera saturates.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    for name, value in (("highlights", highlights), ("shadows", shadows)):
        if not 0.0 <= value <= 0.9:
            raise ValueError(f"{name} must lie between 0 and 0.9, got {value}")
    if not 16 <= radius_px <= 1000:
        raise ValueError(f"radius_px must lie between 16 and 1000, got {radius_px}")
    if highlights == 0 and shadows == 0:
        return image
    xp = namespace(image)
    (sky,) = (state or measure(image, mask=mask))["sky"]
    means, share = masked_blocks(image, mask, BLOCK)
    y = extend_outward(luminance(means), None if mask is None else share > 0)
    log = xp.log(xp.maximum(y * (1.0 / sky), xp.full_like(y, FLOOR)))
    base = guided_self(log, max(1, round(radius_px / BLOCK)), EDGE)
    zero = xp.zeros_like(base)
    bright = xp.maximum(base, zero)
    gain = xp.exp(
        -highlights * bright * _unsaturated(bright, sky, conditions)
        - shadows * xp.minimum(base, zero)
    )
    offset = xp.stack([zero] * image.shape[2], axis=-1)
    return scale_and_shift(image, gain, offset, BLOCK, mask)


def _unsaturated(log: Array, sky: float, conditions: Conditions | None) -> Array:
    """Return 1 where it is far from saturation, 0 where it is saturated, smooth in between."""
    xp = namespace(log)
    one = xp.ones_like(log)
    full = (conditions or Conditions()).saturation * (conditions or Conditions()).range / sky
    if not 1.0 < full < math.inf:
        return one
    t = xp.minimum(
        xp.maximum((log / math.log(full) - FADE[0]) / (FADE[1] - FADE[0]), 0.0 * one), one
    )
    return one - t * t * (3.0 - 2.0 * t)


def measure(
    image: Array, *, conditions: Conditions | None = None, mask: Array | None = None
) -> State:
    """Measure the sky: the lower half of the blocks' luminance, its median."""
    import numpy as np

    means, share = masked_blocks(image, mask, 4 * BLOCK)
    y, inside = to_host(luminance(means)), to_host(share) > 0.5
    values = y[inside] if inside.any() else y.reshape(-1)
    return {"sky": [max(float(np.quantile(values, 0.375)), 1e-9)]}


FILTER = Filter("tone_map", 2, "linear", tone_map, measure, needs=frozenset({"mask", "conditions"}))
