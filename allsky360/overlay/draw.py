"""Drawing a scene with pixels: a transparent layer, a PNG, or into the picture itself.

The layer is drawn in premultiplied colour, so that smoothed edges blend to nothing and not to
black; only pixels something was drawn on are touched when it is burnt in.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.overlay.options import OverlayError
from allsky360.overlay.scene import Mark, OverlayScene, Polyline, Text
from allsky360.overlay.style import STYLES, Style
from allsky360.overlay.text import mask

Layer = NDArray[np.uint8]

_SHIFT = 4  # fractional bits of OpenCV's coordinates
_DASH, _GAP = 8.0, 6.0  # units
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def to_png_layer(scene: OverlayScene) -> Layer:
    """Return the overlay as ``(H, W, 4)`` uint8 RGBA, straight alpha, transparent elsewhere."""
    layer = _drawn(scene)
    flat = layer.reshape(-1, 4)
    at = np.flatnonzero(flat[:, 3])
    some = flat[at]
    alpha = some[:, 3:].astype(np.float32)
    some[:, :3] = np.minimum(np.rint(some[:, :3] * (255.0 / alpha)), 255.0).astype(np.uint8)
    flat[at] = some
    return layer


def to_png(scene: OverlayScene) -> bytes:
    """Return the overlay as a transparent PNG."""
    bgra = cv2.cvtColor(to_png_layer(scene), cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", bgra, _PNG)
    if not done:
        raise OverlayError("the overlay could not be written as PNG.")
    return bytes(data)


def burn_in(picture: NDArray[np.uint8], scene: OverlayScene) -> NDArray[np.uint8]:
    """Return a copy of ``(H, W, 3)`` uint8 RGB with the overlay drawn into it.

    Raises
    ------
    OverlayError
        When picture and scene differ in size.
    """
    if picture.shape != (scene.height, scene.width, 3) or picture.dtype != np.uint8:
        raise OverlayError(
            f"the picture is {picture.dtype} {picture.shape}, the overlay {scene.width} x "
            f"{scene.height}.",
            mend="Lay the overlay out with the lens model of this very picture (bin or crop it).",
        )
    layer = _drawn(scene).reshape(-1, 4)
    out = np.array(picture, order="C")
    flat = out.reshape(-1, 3)
    at = np.flatnonzero(cv2.extractChannel(layer.reshape(scene.height, scene.width, 4), 3))
    some = layer[at]
    kept = 255 - some[:, 3:].astype(np.uint16)
    flat[at] = np.minimum(some[:, :3] + (flat[at] * kept + 127) // 255, 255)
    return out


def _drawn(scene: OverlayScene) -> Layer:
    """Return the premultiplied RGBA layer."""
    layer = np.zeros((scene.height, scene.width, 4), dtype=np.uint8)
    for line in scene.lines:
        _line(layer, line, STYLES[line.kind], scene.unit_px)
    for one in scene.marks:
        _mark(layer, one, STYLES[one.kind], scene.unit_px)
    for text in scene.texts:
        _text(layer, text, STYLES[text.kind])
    return layer


def _premultiplied(style: Style, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = (c * opacity for c in style.colour)
    return red, green, blue, 255.0 * opacity


def _width(style: Style, unit_px: float) -> tuple[int, float]:
    """Return a whole line width and the opacity that makes up for the rest."""
    wanted = style.width * unit_px
    width = max(1, round(wanted))
    return width, style.opacity * min(1.0, max(0.45, wanted / width))


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _line(layer: Layer, line: Polyline, style: Style, unit_px: float) -> None:
    width, opacity = _width(style, unit_px)
    pieces = (
        dashes(line.points, _DASH * unit_px, _GAP * unit_px)
        if style.dash and unit_px > 0.1
        else [line.points]
    )
    cv2.polylines(
        layer,
        [_fixed(p) for p in pieces],
        False,
        _premultiplied(style, opacity),
        width,
        cv2.LINE_AA,
        _SHIFT,
    )


def dashes(points: NDArray[np.float64], on_px: float, off_px: float) -> list[NDArray[np.float64]]:
    """Cut a polyline ``(N, 2)`` into dashes along its length."""
    length = np.r_[0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    out = []
    for begin in np.arange(0.0, length[-1], on_px + off_px):
        inner = (length > begin) & (length < begin + on_px)
        at = np.r_[begin, length[inner], min(begin + on_px, length[-1])]
        out.append(
            np.stack([np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])], 1)
        )
    return out


def _mark(layer: Layer, one: Mark, style: Style, unit_px: float) -> None:
    width, opacity = _width(style, unit_px)
    x, y = _fixed(np.array([one.x, one.y])).tolist()
    cv2.circle(
        layer,
        (x, y),
        int(one.radius_px * (1 << _SHIFT)),
        _premultiplied(style, opacity),
        width,
        cv2.LINE_AA,
        _SHIFT,
    )


def _text(layer: Layer, text: Text, style: Style) -> None:
    if style.halo:
        rim = max(1, round(0.09 * text.size_px))
        _stamp(layer, text, style, rim, (0, 0, 0), style.halo)
    _stamp(layer, text, style, 0, style.colour, style.ink)


def _stamp(
    layer: Layer, text: Text, style: Style, rim: int, colour: tuple[int, int, int], opacity: float
) -> None:
    """Lay a text's mask in one colour over the layer."""
    cover, (dx, dy) = mask(text.text, text.size_px, style.bold, rim)
    x, y = round(text.x) + dx, round(text.y) + dy
    top, left = max(0, y), max(0, x)
    bottom, right = min(layer.shape[0], y + cover.shape[0]), min(layer.shape[1], x + cover.shape[1])
    if bottom <= top or right <= left:
        return
    part = layer[top:bottom, left:right]
    alpha = cover[top - y : bottom - y, left - x : right - x, None].astype(np.float32)
    alpha *= opacity / 255.0
    ink = np.array([*colour, 255], dtype=np.float32)
    part[...] = np.rint(part * (1.0 - alpha) + ink * alpha)
