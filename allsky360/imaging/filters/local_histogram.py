"""Local histogram normalisation: contrast where the values of the neighbourhood are.

Contrast-limited adaptive histogram equalisation (Pizer et al. 1987, CVGIP 39, 355; Zuiderveld 1994,
Graphics Gems IV) of luminance, with three changes for pictures of a sequence:

* The frame is cut into tiles of ``radius_px``. Each tile's histogram is averaged with its
  neighbours' (weights 1 2 1 both ways), so that it stands for about ``radius_px`` all around and
  changes smoothly from tile to tile. Tiles without sky take their neighbours'.
* The histogram is clipped at ``limit`` times the mean bin and what was cut is shared out evenly
  until no bin exceeds it, so ``limit`` is the largest slope of the curve: contrast grows at most
  ``limit`` times, and noise with it.
* The curve is the sum of that histogram over the fixed codes 0 to 1, shifted so that the tile's
  mean luminance stays. No minimum or maximum of the frame enters, so nothing flickers, and bright
  and dark regions stay bright and dark.

Curves are interpolated bilinearly between tile centres and linearly between bins; colours keep
their ratios.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.arrays.generic import on_device_of
from allsky360.arrays.histogram import tile_curves, tile_histograms
from allsky360.arrays.luminance import luminance
from allsky360.imaging.filters.filter import Filter

Floats = NDArray[np.float64]

BINS = 128
COARSE = 2
"""Step between the pixels that are counted; tiles are whole multiples of it."""


def local_histogram(
    image: Array,
    *,
    amount: float = 0.5,
    radius_px: int = 96,
    limit: float = 1.8,
    mask: Array | None = None,
) -> Array:
    """Normalise the histogram about each place.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes.
    amount
        Share of the way to the normalised luminance; 0 is identity.
    radius_px
        Reach of the neighbourhood in pixels of the frame, 16 to 1000.
    limit
        Largest factor on contrast, 1 (identity) to 10.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if not 16 <= radius_px <= 1000:
        raise ValueError(f"radius_px must be 16 to 1000, got {radius_px}")
    if not 1 <= limit <= 10:
        raise ValueError(f"limit must be 1 to 10, got {limit}")
    if amount == 0 or limit == 1:
        return image
    size = COARSE * round(radius_px / COARSE)
    # Every other pixel of every other row: thousands still lie in the reach of a curve.
    some = luminance(image[::COARSE, ::COARSE, :])
    known = None if mask is None else mask[::COARSE, ::COARSE]
    counts = to_host(tile_histograms(some, known, size // COARSE, BINS))
    curves = tile_curves_of(_shared(counts.astype(np.float64)), limit)
    return tile_curves(image, on_device_of(image, curves), size, amount, mask)


def tile_curves_of(histograms: Floats, limit: float) -> Floats:
    """Return the curves ``(h, w, bins + 1)`` of histograms whose sums are 1."""
    bins = histograms.shape[-1]
    top = limit / bins
    clipped = np.minimum(histograms, top)
    for _ in range(30):
        short = 1.0 - clipped.sum(axis=-1, keepdims=True)
        if short.max() < 1e-4:
            break
        clipped = np.minimum(clipped + short / bins, top)
    # What rounding leaves: the curve ends at 1.
    clipped /= clipped.sum(axis=-1, keepdims=True)
    curves = np.concatenate([np.zeros_like(clipped[..., :1]), np.cumsum(clipped, axis=-1)], axis=-1)
    middles = (np.arange(bins) + 0.5) / bins
    mean = (histograms * middles).sum(axis=-1)
    bent = (histograms * 0.5 * (curves[..., :-1] + curves[..., 1:])).sum(axis=-1)
    return _keeping(curves, mean, bent)


def _keeping(curves: Floats, mean: Floats, bent: Floats) -> Floats:
    """Bend each curve, ends fixed, so that the mean luminance stays: ``m + (mean - bent) w(m)``.

    ``w = 4 m (1 - m) / (4 b (1 - b))`` about ``b = bent`` is 1 there and 0 at black and white; its
    share is limited so that the curve keeps rising.
    """
    b = np.clip(bent, 0.02, 0.98)[..., None]
    weight = curves * (1.0 - curves) / (b * (1.0 - b))
    move = (mean - bent)[..., None]
    room = 0.8 * b * (1.0 - b)
    return curves + np.clip(move, -room, room) * weight


def _shared(counts: Floats) -> Floats:
    """Average each tile with its neighbours, by their number of pixels; sums become 1."""
    for _ in range(max(counts.shape[:2]) + 1):
        smooth = counts
        for axis in (0, 1):
            pad = [(1, 1) if k == axis else (0, 0) for k in range(3)]
            p = np.pad(smooth, pad)
            n = smooth.shape[axis]
            smooth = (
                np.take(p, range(n), axis)
                + 2.0 * np.take(p, range(1, n + 1), axis)
                + np.take(p, range(2, n + 2), axis)
            )
        total = smooth.sum(axis=-1, keepdims=True)
        empty = total[..., 0] == 0
        if empty.all():
            return np.full_like(counts, 1.0 / counts.shape[-1])
        if not empty.any():
            return np.asarray(smooth / total)
        # Tiles far from any sky take what has reached their neighbours.
        counts = np.where(empty[..., None], 0.0, counts) + 1e-9 * smooth
    return np.asarray(smooth / np.maximum(total, 1e-300))


FILTER = Filter("local_histogram", 1, "display", local_histogram)
