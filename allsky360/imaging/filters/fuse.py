"""Exposure fusion: another way from linear light to the picture, in the place of the stretch.

Mertens, Kautz & Van Reeth, "Exposure Fusion" (2007), on exposures made from the linear frame
itself; :mod:`allsky360.imaging.fusion` says how. The sky keeps its code, and what is far brighter,
the Moon and the glow about it, or the bright end of dusk, is taken from darker exposures.

Nothing is measured over the frame: the sky's level, 1, is all the exposures are made by, and that
is smoothed in time already. So there is no state.

What saturates must come out white, although the darkest exposure may reach further than the sensor:
then the steps are made smaller, until the darkest is just full where the sensor is, or all are one.
Where even the brightest reaches further, luminance is raised between half of saturation, ``c / 2``,
and saturation, with ``W`` the luminance that is white in the darkest exposure::

    L' = L (1 + (W / c - 1) t^2 (3 - 2 t)),     t = (2 L / c - 1) within 0 and 1
"""

from __future__ import annotations

import math

from allsky360.arrays import Array, namespace
from allsky360.arrays.luminance import luminance
from allsky360.imaging import fusion
from allsky360.imaging.filters.filter import Conditions, Filter

FULL = 0.95
"""Share of saturation from which a pixel counts as full, as in the stretch."""


def fuse(
    image: Array,
    *,
    background: float = 0.20,
    brightest_ev: float = 1.0,
    step_ev: float = 2.0,
    exposures: int = 4,
    contrast: float = 0.0,
    chroma_floor: float = 0.1,
    conditions: Conditions | None = None,
    mask: Array | None = None,
) -> Array:
    """Fuse exposures made from one linear frame.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear, sky about 1.
    background
        Code of the sky in the exposure at 0 EV, 0.02 to 0.8.
    brightest_ev
        Stops by which the brightest exposure is brighter than that, -2 to 6.
    step_ev
        Stops between exposures, 0.5 to 4.
    exposures
        Number of exposures, 1 to 8.
    contrast
        Power of the contrast map, 0 to 2. On a night sky contrast is mostly noise.
    chroma_floor
        Luminance, as a share of the sky's, below which colour fades, 0 to 2.
    conditions
        Noise and saturation of the frame, where they are known.
    mask
        ``(H, W)`` bool, True = sky: what lies outside does not weigh in.

    Returns
    -------
    Array
        Same shape, sRGB codes over 255, 0 to 1.
    """
    if not 0.0 <= chroma_floor <= 2.0:
        raise ValueError(f"chroma_floor must lie between 0 and 2, got {chroma_floor}")
    conditions = conditions or Conditions()
    light = fusion.srgb_light(background)
    gains = fusion.gains_of(background, brightest_ev, step_ev, exposures)
    ceiling = max(FULL * conditions.saturation * conditions.range, 1e-3)
    low = min(max(gains[-1], ceiling**-0.5), gains[0])
    if low > gains[-1]:
        gains = [gains[0] * (low / gains[0]) ** (k / (exposures - 1)) for k in range(exposures)]
    return fusion.fuse_exposures(
        raised(image, ceiling, gains[-1] ** -2),
        gains,
        contrast=contrast,
        chroma_floor=light * math.hypot(2.0 * conditions.noise, chroma_floor),
        mask=mask,
    )


def raised(image: Array, ceiling: float, white: float) -> Array:
    """Raise what is near saturation, so that ``ceiling`` becomes ``white``; colours are kept."""
    if not ceiling < white:
        return image
    luma = luminance(image)
    xp = namespace(luma)
    one, zero = xp.ones_like(luma), xp.zeros_like(luma)
    t = xp.minimum(xp.maximum(luma * (2.0 / ceiling) - 1.0, zero), one)
    factor = 1.0 + (white / ceiling - 1.0) * (t * t * (3.0 - 2.0 * t))
    return image * factor[..., None]


FILTER = Filter("fuse", 1, "linear", fuse, needs=frozenset({"mask", "conditions"}))
