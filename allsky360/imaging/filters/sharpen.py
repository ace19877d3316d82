"""Sharpening by à trous wavelets: a gain for each scale, above the noise, without rings.

The luminance ``y`` is split into details of about 1, 2, 4 and 8 px (``arrays/wavelets.py``; Starck
& Murtagh 2006, "Astronomical Image and Data Analysis", section 2.3). Each is raised where it stands
above the noise::

    want = sum_j gains[j] d_j q_j^4 / (1 + q_j^4),      q_j = d_j / (threshold sigma_j)

``sigma_j`` is the noise of detail plane ``j``: the median absolute detail of the quieter tiles of
the sky, at scale 1 measured, at wider scales not more than twice what white noise of that size
would leave there. What the two fine scales make of a pixel stays within the values of its 5 x 5
neighbourhood, by no more than ``overshoot`` of their range outside; only a peak, higher than the
pixels two away in all four directions, may rise by half of that height. The two coarse scales,
worked out on half the size, are limited by the local range as in ``clarity.py``. So an edge gets
steeper and a star narrower, and neither gets a ring.
"""

from __future__ import annotations

from collections.abc import Sequence

from allsky360.arrays import Array
from allsky360.arrays.blocks import masked_blocks
from allsky360.arrays.edges import above_noise, within_range
from allsky360.arrays.luminance import luminance
from allsky360.arrays.sharpening import sharpen_luminance
from allsky360.arrays.wavelets import smooths, white_noise_sigmas
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.picture_noise import detail_sigmas

SCALES = 4
COARSE_REACH = 16
"""Radius in half-size pixels within which the coarse scales look for their range: the reach of
the widest smoothing, 2 (1 + 2 + 4), and a little."""
SLACK = 0.005


def sharpen(
    image: Array,
    *,
    gains: Sequence[float] = (0.4, 0.3, 0.0, 0.0),
    threshold: float = 3.0,
    overshoot: float = 0.01,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Raise fine detail of the luminance.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes.
    gains
        How much of the details of about 1, 2, 4 and 8 px is added once more, 0 to 10 each; all 0
        is identity. Missing ones are 0.
    threshold
        Details under this many sigmas of the noise are left alone, 0 to 20.
    overshoot
        Share of the local range by which a pixel may leave it, 0 to 0.02.
    state
        What :func:`measure` gave.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if len(gains) > SCALES or any(not 0 <= g <= 10 for g in gains):
        raise ValueError(f"gains must be up to {SCALES} numbers of 0 to 10, got {tuple(gains)}")
    if not any(gains):
        return image
    g = [float(v) for v in gains] + [0.0] * (SCALES - len(gains))
    sigmas = (state or measure(image, mask=mask))["share_noise"]
    least = [threshold * s for s in sigmas]
    plane = extend_outward(luminance(image), mask)
    coarse = _coarse(plane, g[2:], least[2:]) if any(g[2:]) else None
    return sharpen_luminance(
        image, plane, coarse, mask, gains=g[:2], least=least[:2], overshoot=overshoot
    )


def measure(image: Array, *, mask: Array | None = None) -> State:
    """Measure the noise of each detail plane."""
    fine = detail_sigmas(image, mask, size=1, scales=2)
    wide = detail_sigmas(image, mask, size=2, scales=3)
    white = white_noise_sigmas(3)
    pixel = fine[0] / white[0]
    return {
        "share_noise": [
            fine[0],
            min(fine[1], 2.0 * pixel * white[1]),
            min(wide[1], pixel * white[1]),
            min(wide[2], pixel * white[2]),
        ]
    }


def _coarse(plane: Array, gains: Sequence[float], least: Sequence[float]) -> Array:
    """Return what the scales of 4 and 8 px add, at half the size.

    Averaging two by two and one spline smoothing there are about the two smoothings at full size.
    """
    half = masked_blocks(plane[..., None], None, 2)[0][..., 0]
    _, c2, c3, c4 = smooths(half, 3)
    want = gains[0] * above_noise(c2 - c3, least[0]) + gains[1] * above_noise(c3 - c4, least[1])
    return within_range(want, half, COARSE_REACH, SLACK)


FILTER = Filter("sharpen", 2, "display", sharpen, measure=measure)
