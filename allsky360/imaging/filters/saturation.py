"""Colourfulness of the picture, in a perceptual space.

The chroma of each pixel in Oklab (Ottosson 2020, "A perceptual color space for image processing")
is multiplied by ``amount``; hue and lightness stay, which HSV and linear RGB do not manage (blues
turn purple, dark noise turns colourful). Where the result would leave the gamut the factor is
smaller. Camera colours are paler than the eye's, because their filters overlap: that is why the
default is above 1.
"""

from __future__ import annotations

from allsky360.arrays import Array
from allsky360.arrays.oklab import scale_chroma
from allsky360.imaging.filters.filter import Filter


def saturation(image: Array, *, amount: float = 1.5, mask: Array | None = None) -> Array:
    """Scale chroma; mono images pass unchanged.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes 0 to 1.
    amount
        0 (grey) to 4; 1 is identity.
    mask
        Not used: the filter looks at single pixels.
    """
    if not 0.0 <= amount <= 4.0:
        raise ValueError(f"amount must lie between 0 and 4, got {amount}")
    if amount == 1.0 or image.shape[-1] == 1:
        return image
    return scale_chroma(image, amount)


FILTER = Filter("saturation", 1, "display", saturation)
