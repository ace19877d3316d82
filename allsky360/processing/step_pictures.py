"""What a frame looks like after each step of its picture: shown at once, or kept small."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_mean, to_host
from allsky360.arrays.tone_curve import quantise
from allsky360.config_steps import TO_DISPLAY
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.filters.stretch import stretch
from allsky360.imaging.steps import StepLog

WIDTH = 640
QUALITY = 85


def shown(step: str, image: Array) -> NDArray[np.uint8]:
    """Return a step's image, ``(H, W, 3)`` uint8; a linear one is stretched plainly to be seen."""
    chosen = FILTERS.get(step)
    if step not in TO_DISPLAY and (chosen is None or chosen.domain == "linear"):
        image = stretch(image, mask=_middle(*image.shape[:2]))
    pixels: NDArray[np.uint8] = to_host(quantise(image))
    return pixels


def _middle(height: int, width: int) -> NDArray[np.bool_]:
    """The disc in the middle: sky in every all-sky frame, whatever lies dark around it."""
    y, x = np.ogrid[:height, :width]
    square = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    return np.asarray(square <= (0.4 * min(height, width)) ** 2)


class StepPictures:
    """Sees the image after every step: ``watch`` of ``imaging.display.render_picture``.

    Parameters
    ----------
    log
        Of the frame: a picture belongs to the step done last. Where two profiles are mixed, the
        second begins with the image the first began with; that one is not kept twice.

    Attributes
    ----------
    pictures
        JPEGs at most :data:`WIDTH` wide, by number and name of the step: ``07-stretch``.
    """

    def __init__(self, log: StepLog) -> None:
        self.log = log
        self.pictures: dict[str, bytes] = {}

    def __call__(self, name: str, image: Array) -> None:
        """Keep a small picture of the image."""
        number = len(self.log.steps) - 1
        if number < 0 or self.log.steps[number].name != name:
            return
        pixels = shown(name, block_mean(image, image.shape[1] // WIDTH))
        height, width = pixels.shape[:2]
        if width > WIDTH:
            size = (WIDTH, max(1, round(height * WIDTH / width)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        self.pictures[f"{number:02d}-{name}"] = encode_jpeg(pixels, quality=QUALITY)
