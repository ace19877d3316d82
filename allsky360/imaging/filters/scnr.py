"""Subtractive chromatic noise reduction: take excess green away.

Green above what the pixel's own red and blue allow is not a colour of the natural night sky but
airglow seen through a wide filter, or a poor white balance. With the neutral green ``n``::

    average:  n = (R + B) / 2          maximum:  n = max(R, B)
    G' = G - amount max(G - n, 0)

and, to keep luminance, all channels are then moved back to the old luminance. These are the two
neutral protections astronomers know under this name (PixInsight's documentation describes them).
Green airglow and aurora are real: the filter is off in every preset.
"""

from __future__ import annotations

from typing import Literal

from allsky360.arrays import Array
from allsky360.arrays.green import less_green
from allsky360.imaging.filters.filter import Filter


def scnr(
    image: Array,
    *,
    amount: float = 0.8,
    protection: Literal["average", "maximum"] = "average",
    keep_luminance: bool = True,
    mask: Array | None = None,
) -> Array:
    """Take excess green away; mono images pass unchanged.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amount
        0 (identity) to 1.
    protection
        How much green a pixel may keep, see above.
    keep_luminance
        Give the luminance back that went with the green.
    mask
        Not used: the filter looks at single pixels.
    """
    if amount == 0 or image.shape[-1] == 1:
        return image
    return less_green(image, amount, maximum=protection == "maximum", keep_luminance=keep_luminance)


FILTER = Filter("scnr", 1, "linear", scnr)
