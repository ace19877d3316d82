"""From a JPEG's colours to a video's, in place, without a detour through RGB.

A JPEG holds full-range YCbCr by the matrix of BT.601; videos of this size are read by that of
BT.709 in limited range (16 to 235). Both steps are linear, and grey stays grey, so that new chroma
follows from old chroma alone, and luma moves by a share of its block's chroma:

    Y' = 16 + 219/255 (Y + a Cb + b Cr),   C' = 128 + 224/255 M C

Sources: ITU-T T.871 (JFIF) section 7, ITU-R BT.709-6 section 3.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled

_KR, _KB = 0.2126, 0.0722
_KG = 1.0 - _KR - _KB
# red, green, blue of BT.601's Cb and Cr
_FROM_CB = np.array([0.0, -0.344136, 1.772])
_FROM_CR = np.array([1.402, -0.714136, 0.0])
_LUMA = np.array([_KR, _KG, _KB])


def coefficients(gain: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the factors of luma ``(3,)`` and chroma ``(2, 2)``.

    ``gain`` multiplies all sRGB codes.
    """
    a, b = _LUMA @ _FROM_CB, _LUMA @ _FROM_CR
    luma = gain * 219 / 255 * np.array([1.0, a, b])
    cb, cr = 2 * (1 - _KB), 2 * (1 - _KR)
    chroma = (
        gain
        * 224
        / 255
        * np.array(
            [
                [(_FROM_CB[2] - a) / cb, (_FROM_CR[2] - b) / cb],
                [(_FROM_CB[0] - a) / cr, (_FROM_CR[0] - b) / cr],
            ]
        )
    )
    return luma.astype(np.float32), chroma.astype(np.float32)


@compiled
def _convert(y: Any, u: Any, v: Any, step: int, luma: Any, chroma: Any) -> None:
    """Convert planes ``(H, W)``, ``(H / step, W / step)``; chroma is read before it is replaced.

    float32, in loops over whole rows, which the compiler makes vectors of; integers it would
    widen to 64 bits.
    """
    height, width = y.shape
    rows, columns = u.shape
    ly, lb, lr = luma[0], luma[1], luma[2]
    bb, br, rb, rr = chroma[0, 0], chroma[0, 1], chroma[1, 0], chroma[1, 1]
    middle, centre, foot = np.float32(128), np.float32(128.5), np.float32(16.5)
    low, top, chroma_top = np.float32(16), np.float32(235), np.float32(240)
    shift = np.empty(columns * step, np.float32)
    for r in range(rows):
        us, vs = u[r], v[r]
        for c in range(columns):
            cb, cr = np.float32(us[c]) - middle, np.float32(vs[c]) - middle
            move = lb * cb + lr * cr + foot
            if step == 2:
                shift[2 * c] = move
                shift[2 * c + 1] = move
            else:
                shift[c] = move
            us[c] = np.uint8(min(max(bb * cb + br * cr + centre, low), chroma_top))
            vs[c] = np.uint8(min(max(rb * cb + rr * cr + centre, low), chroma_top))
        for row in range(r * step, min(r * step + step, height)):
            ys = y[row]
            for x in range(width):
                ys[x] = np.uint8(min(max(ly * np.float32(ys[x]) + shift[x], low), top))


def to_video_colours(frame: av.VideoFrame, gain: float = 1.0) -> av.VideoFrame:
    """Turn a JPEG's planes (``yuv420p``, ``yuv444p``, full range) into BT.709 limited, in place.

    Returns
    -------
    VideoFrame
        The same frame, with its colours stated.
    """
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]
        planes.append(rows.reshape(plane.height, plane.line_size)[:, : plane.width])
    step = 2 if planes[1].shape[1] < planes[0].shape[1] else 1
    _convert(*planes, step, *coefficients(gain))
    return stated(frame)


def stated(frame: av.VideoFrame) -> av.VideoFrame:
    """State BT.709 primaries and matrix, limited range and sRGB's transfer on a frame."""
    frame.colorspace = Colorspace.ITU709
    frame.color_range = ColorRange.MPEG
    frame.color_primaries = ColorPrimaries.BT709
    frame.color_trc = ColorTrc.IEC61966_2_1
    return frame
