"""Background neutralisation: the darkest sky comes out grey.

The blocks of at most 16 x 16 px whose luminance lies between the quantiles ``LOW`` and ``share`` of
the sky's are its darkest part, free of Moon, Milky Way and town. With ``b_c`` the median of channel
``c`` there and ``b`` the luminance of ``(b_R, b_G, b_B)``::

    v_c' = v_c + amount (b - b_c)

Light that is added (airglow, scattered light, a pedestal) is taken away by adding, so colours of
stars do not change; the luminance of the background stays. This is the background neutralisation
of astronomical image processors.
"""

from __future__ import annotations

import numpy as np

from allsky360.arrays import Array
from allsky360.arrays.blocks import scale_and_shift
from allsky360.arrays.generic import LUMA, on_device_of
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.sky_model import reduce_sky

LOW = 0.02
"""Quantile of the blocks under which obstacles may lie."""


def neutralise(
    image: Array,
    *,
    amount: float = 1.0,
    share: float = 0.3,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Make the darkest sky grey; mono images pass unchanged.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amount
        0 (identity) to 1.
    share
        Darkest share of the sky that is made grey, 0.05 to 1.
    state
        What :func:`measure` gave.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if amount == 0 or image.shape[-1] == 1:
        return image
    background = (state or measure(image, share=share, mask=mask))["background"]
    level = float(np.dot(LUMA, background))
    offset = [[[amount * (level - b) for b in background]]]
    return scale_and_shift(image, None, on_device_of(image, offset), max(image.shape[:2]), mask)


def measure(image: Array, *, share: float = 0.3, mask: Array | None = None) -> State:
    """Measure the level of each channel in the darkest sky."""
    if not 0.05 <= share <= 1:
        raise ValueError(f"share must be 0.05 to 1, got {share}")
    blocks = reduce_sky(image, mask)
    light = blocks.luminance
    if not blocks.sky.any():
        return {"background": [0.0] * image.shape[-1]}
    low, high = np.quantile(light[blocks.sky], [min(LOW, share / 2.0), share])
    dark = blocks.sky & (light >= low) & (light <= high)
    if not dark.any():  # so few blocks that none lies between the two
        dark = blocks.sky
    return {"background": [float(v) for v in np.median(blocks.means[dark], axis=0)]}


FILTER = Filter(
    "neutralise",
    1,
    "linear",
    neutralise,
    measure=measure,
    settings_of_measure=frozenset({"share"}),
)
