"""Bayer mosaic to RGB in float32.

"edge-aware" keeps the idea of Hamilton & Adams (US patent 5 629 734, expired) and of those who came
after (Menon, Andriani & Calvagno, "Demosaicing with directional filtering and a posteriori
decision", 2007; Pekkucuksen & Altunbasak, "Gradient based threshold free color filter array
interpolation", 2010). At every pixel green less the other colour is estimated along the row and
along the column by a second-derivative filter; colour differences are smooth where colours are not.
Each estimate is averaged over five samples along its own direction, and the two are mixed, not
chosen, by the inverse squares of their unrest in a 3x3 window; unrest under the noise counts as
equal, so a noisy sky gets no maze pattern. Red and blue follow as means of colour differences.

Differences are small only where the colours are balanced: raw green of a grey object is nearly
twice its red. ``balance`` scales the colours while interpolating and is taken out again: 3 to 5 dB
on stars.

Where a sample near is saturated, its colour difference is a lie (green clips first). There the
reach shrinks to two pixels. Within two pixels of it red and blue are plain means, and red (in
balanced colours) may exceed green only by four times what blue lacks to green, blue likewise: lamps
stay orange, but there is no purple rim.
"""

from __future__ import annotations

from typing import Literal

from allsky360.arrays import Array
from allsky360.arrays import demosaic as _demosaic
from allsky360.model import BayerPattern

VERSION = 2


def debayer(
    mosaic: Array,
    pattern: BayerPattern,
    *,
    method: Literal["edge-aware", "bilinear"] = "edge-aware",
    noise: float = 0.0,
    clip: float = float("inf"),
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0),
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
    balance
        Gains of red, green and blue that make daylight white, about; positive. Samples come back
        untouched by it.

    Returns
    -------
    Array
        ``(H, W, 3)`` float32, same unit.
    """
    if mosaic.ndim != 2 or min(mosaic.shape) < 4:
        raise ValueError(f"a mosaic is (H, W) from 4x4, got {mosaic.shape}")
    if not all(0.0 < gain < float("inf") for gain in balance):
        raise ValueError(f"balance must be three positive gains, got {balance}")
    return _demosaic(mosaic, pattern, method=method, noise=noise, clip=clip, balance=balance)
