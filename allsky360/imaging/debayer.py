"""Bayer mosaic to RGB in float32.

"edge-aware" is Hamilton & Adams (US patent 5 629 734, expired): green is interpolated along and
across with a second-derivative correction from the pixel's own colour, red and blue as colour
differences. The two directions are mixed by inverse squared gradients instead of chosen, with
gradients under the noise counting as equal: no maze pattern in a noisy sky. Where a neighbour is
saturated, its colour difference is a lie (green clips first): there the correction is dropped and
plain means are taken, which leaves no purple rim.
"""

from __future__ import annotations

from typing import Literal

from allsky360.arrays import Array
from allsky360.arrays import demosaic as _demosaic
from allsky360.model import BayerPattern

VERSION = 1


def debayer(
    mosaic: Array,
    pattern: BayerPattern,
    *,
    method: Literal["edge-aware", "bilinear"] = "edge-aware",
    noise: float = 0.0,
    clip: float = float("inf"),
) -> Array:
    """Interpolate the two missing colours of every pixel.

    Parameters
    ----------
    mosaic
        ``(H, W)`` float32, any even or odd size from 4x4, linear, negatives welcome.
    pattern
        Colours of the top-left 2x2 cell.
    method
        See above; "bilinear" is the mean of the nearest samples of a colour.
    noise
        Standard deviation of the sky background in the mosaic's unit.
    clip
        Level from which a sample counts as saturated.

    Returns
    -------
    Array
        ``(H, W, 3)`` float32, same unit.
    """
    if mosaic.ndim != 2 or min(mosaic.shape) < 4:
        raise ValueError(f"a mosaic is (H, W) from 4x4, got {mosaic.shape}")
    return _demosaic(mosaic, pattern, method=method, noise=noise, clip=clip)
