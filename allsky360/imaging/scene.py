"""What the picture needs to know about a frame, from a reduced copy on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_mean, to_host
from allsky360.arrays.generic import LUMA
from allsky360.imaging.border import sky_mask

VERSION = 1

SMALL_SIDE = 240
"""Short side of the reduced frame, about; blocks keep an even size."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A reduced frame and its sky.

    Attributes
    ----------
    small
        ``(h, w, C)`` float32, linear, 1.0 = full well of the reference exposure; C is 1 or 3.
    sky
        ``(h, w)`` bool, True = sky.
    border
        Level of each channel in the dark border, None where there is no border.
    background
        Level of each channel of the sky background: pixels between the 25 % and 50 % quantile of
        sky luminance, so that Moon, aurora, lamps and trees stay out.
    """

    small: NDArray[np.float32]
    sky: NDArray[np.bool_]
    border: tuple[float, ...] | None
    background: tuple[float, ...]


def luminance_of(image: NDArray[Any]) -> NDArray[Any]:
    """Rec. 709 luminance of ``(…, C)`` on the host, in its type; mono is its own."""
    if image.shape[-1] == 1:
        return image[..., 0]
    return np.asarray(image @ np.asarray(LUMA, dtype=image.dtype))


def survey(linear: Array) -> Scene:
    """Reduce a frame and measure its sky.

    Parameters
    ----------
    linear
        ``(H, W, C)`` float32 on any device; one small download.
    """
    size = max(1, min(linear.shape[0], linear.shape[1]) // SMALL_SIDE // 2 * 2)
    small = to_host(block_mean(linear, size)).astype(np.float32, copy=False)
    luminance = luminance_of(small)
    sky = sky_mask(luminance)
    border = None
    if not sky.all():
        border = tuple(float(v) for v in np.median(small[~sky], axis=0))
    values = luminance[sky]
    low, high = np.quantile(values, [0.25, 0.50])
    middle = sky & (luminance >= low) & (luminance <= high)
    background = tuple(float(v) for v in np.median(small[middle], axis=0))
    return Scene(small, sky, border, background)


def full_mask(scene: Scene, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return the sky at full size, ``(H, W)`` bool; None where all of the frame is sky."""
    if scene.sky.all():
        return None
    h, w = scene.sky.shape
    rows = np.minimum(np.arange(shape[0]) * h // shape[0], h - 1)
    columns = np.minimum(np.arange(shape[1]) * w // shape[1], w - 1)
    return np.asarray(scene.sky[rows][:, columns])
