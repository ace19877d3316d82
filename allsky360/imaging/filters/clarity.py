"""Clarity: local contrast of the midtones, without halos and without more noise.

On luminance reduced ``s`` times (``s`` about a sixth of the radius, at most 4), with ``y`` the
block means, stars clipped to the level of their surroundings::

    base   = guided_self(y, radius, edge)                (edges.py; He, Sun & Tang 2013)
    d      = y - base,   d <- d q^4 / (1 + q^4),  q = d / (threshold sigma)
    want   = amount m(base) d
    delta  = want room / (room + |want|)

``sigma`` is the noise of ``y``. The midtone weight ``m`` rises from 0 at black to 1 at a code of
0.12, so that a dark night sky has all of it, and falls from 1 at 0.70 to 0 at 0.98, so that
highlights keep their drawing. ``room`` is the distance from the block, or where it is larger that
of its neighbours, to the brightest (darkest) value within twice the radius, plus one per cent of
their range: a flat side of an edge has no room, so that no halo can form at an edge of any height
or softness, while structure that goes up and down gets steeper. ``delta``, laid back bilinearly,
is added to the luminance of each pixel; colours keep their ratios.

The edge-aware base is the usual one for detail manipulation (Farbman et al. 2008, ACM TOG 27, 67);
the limit by the local range is ours.
"""

from __future__ import annotations

from allsky360.arrays import Array, namespace
from allsky360.arrays.blocks import masked_blocks, shift_luminance
from allsky360.arrays.edges import above_noise, guided_self, highest, lowest, within_range
from allsky360.arrays.luminance import luminance
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.picture_noise import block_sigma

EDGE = 0.06
"""Standard deviation, in codes, from which a window holds an edge."""

SHADOWS, HIGHLIGHTS = (0.0, 0.12), (0.98, 0.70)
"""Codes between which the weight rises from 0 to 1."""

SLACK = 0.01
"""Share of the local range by which a value may leave it."""

STAR_SIGMAS = 3.0


def clarity(
    image: Array,
    *,
    amount: float = 0.5,
    radius_px: float = 32.0,
    threshold: float = 2.0,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Raise the local contrast of the midtones.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes.
    amount
        How much of the local detail is added once more; 0 is identity, 2 is a lot.
    radius_px
        Reach of "local" in pixels of the frame, 4 to 200.
    threshold
        Details under this many sigmas of the noise of a block are left alone, 0 to 10.
    state
        What :func:`measure` gave.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if amount == 0:
        return image
    size = block_size(radius_px)
    reach = max(1, round(radius_px / size))
    (sigma,) = (state or measure(image, radius_px=radius_px, mask=mask))["share_noise"]
    means, share = masked_blocks(image, mask, size)
    y = extend_outward(luminance(means), None if mask is None else share > 0)
    y = _without_stars(y, STAR_SIGMAS * sigma)
    delta = _delta(y, amount, reach, threshold * sigma)
    return shift_luminance(image, delta, size, mask)


def measure(image: Array, *, radius_px: float = 32.0, mask: Array | None = None) -> State:
    """Measure the noise of the block means."""
    return {"share_noise": [block_sigma(image, mask, size=block_size(radius_px))]}


def block_size(radius_px: float) -> int:
    """Return the side of the blocks for a radius: 4 px from 24 px on."""
    if not 4 <= radius_px <= 200:
        raise ValueError(f"radius_px must be 4 to 200, got {radius_px}")
    return max(1, min(4, int(radius_px / 6)))


def _without_stars(y: Array, above: float) -> Array:
    """Clip what is narrower than three blocks to a little above its surroundings."""
    xp = namespace(y)
    return xp.minimum(y, highest(lowest(y, 1), 1) + above)


def _delta(y: Array, amount: float, reach: int, least: float) -> Array:
    base = guided_self(y, reach, EDGE)
    weight = amount * _rise(base, *SHADOWS) * _rise(base, *HIGHLIGHTS)
    return within_range(weight * above_noise(y - base, least), y, 2 * reach, SLACK)


def _rise(x: Array, start: float, end: float) -> Array:
    """Smooth step from 0 at ``start`` to 1 at ``end``, in either direction."""
    xp = namespace(x)
    t = (x - start) / (end - start)
    t = xp.minimum(xp.maximum(t, xp.zeros_like(t)), xp.ones_like(t))
    return t * t * (3.0 - 2.0 * t)


FILTER = Filter(
    "clarity",
    2,
    "display",
    clarity,
    measure=measure,
    settings_of_measure=frozenset({"radius_px"}),
)
