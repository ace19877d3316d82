"""The packaged fonts: what a text measures, and its mask."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

FAMILY = "DejaVu Sans Condensed"
_FILES = {False: "DejaVuSansCondensed.ttf", True: "DejaVuSansCondensed-Bold.ttf"}
#: Height of capitals and depth of descenders, as parts of the size; DejaVu's own figures.
ASCENT, DESCENT = 0.76, 0.24
_MEASURE_PX = 64


@lru_cache(maxsize=2)
def _font_bytes(bold: bool) -> bytes:
    return files("allsky360.overlay").joinpath(f"fonts/{_FILES[bold]}").read_bytes()


@lru_cache(maxsize=64)
def font(size_px: float, bold: bool) -> ImageFont.FreeTypeFont:
    """Return a font at a size; cached."""
    return ImageFont.truetype(
        io.BytesIO(_font_bytes(bold)), size_px, layout_engine=ImageFont.Layout.BASIC
    )


@lru_cache(maxsize=8192)
def width_px(text: str, size_px: float, bold: bool) -> float:
    """Return the advance of a text in pixels, the same at every size but for its scale."""
    return font(_MEASURE_PX, bold).getlength(text) * size_px / _MEASURE_PX


@lru_cache(maxsize=1024)
def mask(
    text: str, size_px: float, bold: bool, rim_px: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a text's coverage ``(H, W)`` uint8 and the offset of its corner from its baseline.

    ``rim_px`` thickens the letters, for the dark rim behind them.
    """
    image, offset = font(size_px, bold).getmask2(text, "L", anchor="ls", stroke_width=rim_px)
    pixels = np.array(image, dtype=np.uint8).reshape(image.size[1], image.size[0])
    pixels.setflags(write=False)
    return pixels, (int(offset[0]), int(offset[1]))
