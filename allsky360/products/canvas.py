"""Drawing text, ticks and bands around pictures, in the packaged font."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from allsky360.overlay.text import font

Colour = tuple[int, int, int]

BACKGROUND: Colour = (16, 18, 22)
INK: Colour = (226, 228, 232)
QUIET: Colour = (148, 154, 164)
GAP: Colour = (44, 46, 54)
GAP_STRIPE: Colour = (62, 65, 76)

Anchor = Literal["la", "ma", "ra", "lm", "mm", "rm", "ls", "ms", "rs"]


class Canvas:
    """A picture to draw on.

    Parameters
    ----------
    width, height
        Pixels.
    """

    def __init__(self, width: int, height: int, background: Colour = BACKGROUND) -> None:
        self.image = Image.new("RGB", (width, height), background)
        self.draw = ImageDraw.Draw(self.image)

    def paste(self, pixels: NDArray[np.uint8], x: int, y: int) -> None:
        """Lay ``(H, W, 3)`` uint8 onto it."""
        self.image.paste(Image.fromarray(pixels), (x, y))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        anchor: Anchor = "la",
        colour: Colour = INK,
        bold: bool = False,
    ) -> None:
        """Write; ``anchor`` is Pillow's."""
        self.draw.text((x, y), text, colour, font(size, bold), anchor)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, width: int) -> None:
        """Draw a straight line."""
        self.draw.line((x0, y0, x1, y1), colour, width)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""
        if x1 > x0 and y1 > y0:
            self.draw.rectangle((x0, y0, x1 - 1, y1 - 1), colour)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the picture, ``(H, W, 3)`` uint8."""
        return np.asarray(self.image, np.uint8)


def hatch(rows: int, columns: int) -> NDArray[np.uint8]:
    """Return the pattern that says "nothing here", ``(rows, columns, 3)``."""
    y, x = np.mgrid[0:rows, 0:columns]
    stripe = ((x + y) // 4) % 4 == 0
    return np.where(stripe[..., None], GAP_STRIPE, GAP).astype(np.uint8)
