"""Gamma as a real transfer function on display codes: ``c ** (1 / value)``.

The picture is sRGB-encoded already (IEC 61966-2-1, by the stretch); this bends the tones once more,
above 1 brighter, below 1 darker, with black and white where they were. It works on luminance and
scales colours with it, so that hue stays and a bend brings no colour out of the noise.
"""

from __future__ import annotations

from allsky360.arrays import Array
from allsky360.arrays.luminance import bend_luminance
from allsky360.imaging.filters.filter import Filter


def gamma(image: Array, *, value: float = 1.1, mask: Array | None = None) -> Array:
    """Bend the tones.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes 0 to 1.
    value
        0.2 to 5; 1 is identity.
    mask
        Not used: the filter looks at single pixels.
    """
    if not 0.2 <= value <= 5.0:
        raise ValueError(f"value must lie between 0.2 and 5, got {value}")
    if value == 1.0:
        return image
    return bend_luminance(image, 1.0 / value)


FILTER = Filter("gamma", 1, "display", gamma)
