"""Median filter: single defects go, stars stay.

Where a value lies ``sigmas`` beyond the median of its window and beyond its four neighbours two
pixels away, the median takes its place (an outlier-conditioned median: Pratt 1978, "Digital Image
Processing", section 12.6, with the noise as the threshold). A star does that too, so with
``keep_stars`` it must be a defect as well: light falls on several pixels and into every colour, a
defect shows less than 10 % of its excess in the pixels beside it, or in another colour.
``sigmas=0`` is the plain median filter, which takes stars away.

The noise of each channel is measured on rows of the frame; the noise model tells how it grows with
light.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from allsky360.arrays import Array, to_host
from allsky360.arrays.luminance import luminance, with_luminance
from allsky360.arrays.medians import blend, median_window, repair_outliers
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Filter
from allsky360.imaging.noise import NoiseModel

ROWS = 24
"""Rows the noise is measured on, about."""
GROWS_WITH_LIGHT = NoiseModel(0.1, 1.0)
"""Shape of the noise where no model is given, for a sky of 1."""


def median(
    image: Array,
    *,
    amount: float = 1.0,
    size: Literal[3, 5] = 3,
    sigmas: float = 6.0,
    channels: Literal["each", "luminance"] = "each",
    keep_stars: bool = True,
    noise: NoiseModel | None = None,
    mask: Array | None = None,
) -> Array:
    """Replace outliers, or everything, by the median of their window.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amount
        0 (identity) to 1.
    size
        Window: 3 removes single pixels, 5 also what debayering made of one.
    sigmas
        How far a value must stand out, 0 to 100; 0: all are replaced.
    channels
        Each channel by itself, or luminance alone.
    keep_stars
        Replace nothing that is spread and coloured like a star.
    noise
        Of the luminance, in the image's unit.
    mask
        ``(H, W)`` bool, True = sky. Outside it the image is handed through.
    """
    if not 0.0 <= amount <= 1.0:
        raise ValueError(f"amount must be 0 to 1, got {amount}")
    if not 0.0 <= sigmas <= 100.0:
        raise ValueError(f"sigmas must be 0 to 100, got {sigmas}")
    if channels not in ("each", "luminance"):
        raise ValueError(f"channels must be 'each' or 'luminance', got {channels!r}")
    if amount == 0:
        return image
    if channels == "luminance" and image.shape[-1] == 3:
        light = luminance(image)
        new = median(
            light[..., None],
            amount=amount,
            size=size,
            sigmas=sigmas,
            keep_stars=keep_stars,
            noise=noise,
            mask=mask,
        )
        return with_luminance(image, light, new[..., 0])
    whole = extend_outward(image, mask)
    if sigmas == 0:
        replaced = median_window(whole, size)
    else:
        read_var, shot = channel_noise(image, noise, mask)
        replaced = repair_outliers(whole, size, sigmas, read_var, shot, keep_stars)
    if amount == 1.0 and mask is None:
        return replaced
    return blend(image, replaced - image, amount, None, mask)


def channel_noise(
    image: Array, noise: NoiseModel | None, mask: Array | None
) -> tuple[list[float], list[float]]:
    """Return ``read_var`` and ``shot`` of each channel.

    The variance is that of second differences, two pixels apart (debayering makes neighbours
    alike), robust against stars; its growth with light is the model's.
    """
    h = image.shape[0]
    step = max(1, h // ROWS)
    rows = to_host(image[step // 2 :: step, ...]).astype(np.float32)
    use = np.ones(rows.shape[:2], bool)
    if mask is not None:
        use = to_host(mask[step // 2 :: step, :]).astype(bool)
    shape = noise or GROWS_WITH_LIGHT
    if rows.shape[1] < 5:
        return [shape.read_var] * rows.shape[2], [shape.shot] * rows.shape[2]
    inner = use[:, 2:-2] & use[:, :-4] & use[:, 4:]
    read_var, shot = [], []
    for c in range(rows.shape[2]):
        bend = rows[:, 2:-2, c] - 0.5 * (rows[:, :-4, c] + rows[:, 4:, c])
        found, level = bend[inner], rows[:, 2:-2, c][inner]
        if not found.size:
            found, level = np.zeros(1, np.float32), np.ones(1, np.float32)
        variance = (1.4826 * float(np.median(np.abs(found)))) ** 2 / 1.5
        expected = shape.read_var + shape.shot * max(float(np.median(level)), 0.0)
        factor = variance / max(expected, 1e-30)
        read_var.append(shape.read_var * factor)
        shot.append(shape.shot * factor)
    return read_var, shot


FILTER = Filter("median", 1, "linear", median, needs=frozenset({"mask", "noise"}))
