"""The large scale of a linear frame, on the host: what gradient, dehaze and neutralise look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.arrays.blocks import masked_blocks
from allsky360.imaging.scene import luminance_of

Floats = NDArray[np.float64]

LONG_SIDE = 240
"""Blocks along the longer side, about: a frame of 3856 x 2180 becomes one of 241 x 137."""
COVERED = 0.5
"""Share of a block that must be sky for its mean to count."""


def block_size(shape: tuple[int, ...]) -> int:
    """Return the side of a block for a frame, px: the same share of every frame, 4 to 16."""
    return min(16, max(4, max(shape[:2]) // LONG_SIDE))


def block_places(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return x and y of the blocks' centres, ``(h, w)``: 0 in the middle, 1 at half the long side.

    Parameters
    ----------
    shape
        Of the frame.
    """
    h, w = shape[:2]
    size, half = block_size(shape), max(h, w) / 2.0
    y = ((np.arange(-(-h // size)) + 0.5) * size - h / 2.0) / half
    x = ((np.arange(-(-w // size)) + 0.5) * size - w / 2.0) / half
    places = np.meshgrid(x, y)
    return places[0], places[1]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A reduced frame.

    Attributes
    ----------
    means
        ``(h, w, C)``, means of the sky of each block.
    sky
        ``(h, w)`` bool: at least half of the block is sky.
    x, y
        ``(h, w)`` position, 0 at the middle of the frame, 1 at half its longer side.
    """

    means: Floats
    sky: NDArray[np.bool_]
    x: Floats
    y: Floats

    @property
    def luminance(self) -> Floats:
        """``(h, w)`` Rec. 709 luminance; mono is its own."""
        return luminance_of(self.means)

    def every(self, step: int) -> Blocks:
        """Return every ``step``-th block of every ``step``-th row."""
        some = np.s_[::step, ::step]
        return Blocks(self.means[some], self.sky[some], self.x[some], self.y[some])


def reduce_sky(image: Array, mask: Array | None) -> Blocks:
    """Reduce a linear frame; one small download.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    mask
        ``(H, W)`` bool, True = sky, on the host or the image's device, or None.
    """
    size = block_size(image.shape)
    means, share = (to_host(a) for a in masked_blocks(image, mask, size))
    x, y = block_places(image.shape)
    sky = (share >= COVERED) & np.isfinite(means).all(axis=-1)
    return Blocks(means.astype(np.float64), sky, x, y)
