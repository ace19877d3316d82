"""Cover what is not sky: a circle, or a picture of the horizon, with a soft edge.

With ``d`` the distance outward from the edge, in pixels of the full frame, and softness ``s``::

    t = clip(1/2 - d / s, 0, 1),   a = t² (3 - 2 t),   out = outside + a (image - outside)

so that the edge lies where half of the picture is left. "auto" fits a circle to the border the
pipeline found (Kåsa 1976, algebraic least squares on the rim, without points on the frame's edge);
its numbers are smoothed from frame to frame. A file is any 8-bit picture of the frame's size:
white is sky; its edge is softened by a Gaussian of ``soft_px / 4``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, namespace, to_host
from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.errors import AllskyError
from allsky360.imaging.filters.filter import Filter, State

Floats = NDArray[np.float32]

CIRCLE = "share_circle"
"""State: column, row and radius as shares of the frame's height."""


class MaskError(AllskyError):
    """The mask's picture cannot be used."""


def mask(
    image: Array,
    *,
    shape: Literal["auto", "circle", "file"] = "auto",
    center_x_px: float | None = None,
    center_y_px: float | None = None,
    radius_px: float | None = None,
    file: str = "",
    soft_px: float = 8.0,
    outside: tuple[float, float, float] = (0.0, 0.0, 0.0),
    mask: Array | None = None,
    state: State | None = None,
) -> Array:
    """Cover what is not sky.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display.
    shape
        "auto": the circle that was found (nothing is covered where none was); "circle": the one
        given; "file": a picture.
    center_x_px, center_y_px, radius_px
        Circle in pixels of the image; None: its middle, and half its short side.
    file
        Picture for "file".
    soft_px
        Width of the edge.
    outside
        Red, green, blue (0 to 1) of what is covered; mono images take their mean.
    mask
        Sky as the pipeline knows it, for "auto".
    state
        From :func:`measure`.
    """
    if shape not in ("auto", "circle", "file"):
        raise ValueError(f"mask: shape must be auto, circle or file, not {shape!r}")
    h, w, channels = image.shape
    colour = np.asarray(outside if channels == 3 else (sum(outside) / 3.0,) * channels, np.float32)
    if shape == "file":
        alpha = _from_file(file, Path(file).stat().st_mtime_ns if _there(file) else 0, soft_px)
        if alpha.shape != (h, w):
            raise MaskError(
                f"The mask {file} is {alpha.shape[1]}x{alpha.shape[0]}, the frame {w}x{h}.",
                mend="Draw it over a picture of this camera.",
            )
        return _blend(image, alpha, colour)
    if shape == "circle":
        circle = (
            (w - 1) / 2 if center_x_px is None else center_x_px,
            (h - 1) / 2 if center_y_px is None else center_y_px,
            min(h, w) / 2 if radius_px is None else radius_px,
        )
    else:
        if state is None:
            host = None if mask is None else to_host(mask)
            state = measure(image, mask=host, shape=shape)
        found = state.get(CIRCLE)
        if found is None:
            return image
        circle = (found[0] * h, found[1] * h, found[2] * h)
    body = body_for(image, cpu=_cover_cpu, generic=_cover_generic)
    return body(image, circle, max(float(soft_px), 1e-3), colour)


def measure(image: Array, *, mask: NDArray[np.bool_] | None, shape: str = "auto") -> State:
    """Find the image circle; nothing where there is none or it is not asked for."""
    if shape != "auto" or mask is None:
        return {}
    circle = fit_circle(mask)
    return {} if circle is None else {CIRCLE: [v / image.shape[0] for v in circle]}


def fit_circle(sky: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Fit a circle to the rim of ``(H, W)`` bool; column, row, radius in pixels.

    Returns
    -------
    tuple or None
        None where there is no rim, or what there is is not round (3 % of the radius).
    """
    h, w = sky.shape
    rims = []
    for lines, flip in ((sky, False), (sky.T, True)):
        filled = np.nonzero(lines.any(axis=1))[0]
        first = np.argmax(lines[filled], axis=1) - 0.5
        last = lines.shape[1] - np.argmax(lines[filled, ::-1], axis=1) - 0.5
        for edge in (first, last):
            inner = (edge > 0) & (edge < lines.shape[1] - 1)
            pair = np.column_stack([edge[inner], filled[inner]])
            rims.append(pair[:, ::-1] if flip else pair)
    points = np.concatenate(rims)
    for _ in range(3):
        if len(points) < 20:
            return None
        scaled = (points - (w / 2, h / 2)) / h
        system = np.column_stack([2 * scaled, np.ones(len(scaled))])
        x, y, c = np.linalg.lstsq(system, (scaled**2).sum(axis=1), rcond=None)[0]
        radius = float(np.sqrt(max(c + x * x + y * y, 0.0)))
        apart = np.abs(np.hypot(scaled[:, 0] - x, scaled[:, 1] - y) - radius)
        middle = float(np.median(apart))
        points = points[apart <= max(4.0 * middle, 0.5 / h)]
    if radius == 0.0 or middle > 0.03 * radius:
        return None
    return float(x * h + w / 2), float(y * h + h / 2), radius * h


def _there(file: str) -> bool:
    return bool(file) and Path(file).is_file()


@lru_cache(maxsize=2)
def _from_file(file: str, stamp: int, soft_px: float) -> Floats:
    """Read a mask as ``(H, W)`` float32, 0 to 1; ``stamp`` makes a changed file be read again."""
    import cv2
    from PIL import Image, UnidentifiedImageError

    if not _there(file):
        raise MaskError(f"There is no mask file {file!r}.", mend="Mend filters.mask.file.")
    try:
        with Image.open(file) as picture:
            alpha = np.asarray(picture.convert("L"), np.float32) / np.float32(255.0)
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise MaskError(
            f"The mask {file} is not a picture: {error}.", mend="Save it as PNG."
        ) from error
    if soft_px > 0:
        alpha = cv2.GaussianBlur(alpha, (0, 0), max(soft_px / 4.0, 0.1))
    return np.asarray(alpha, np.float32)


def _blend(image: Array, alpha: Floats, colour: Floats) -> Array:
    if isinstance(image, np.ndarray):
        # One memory order, so that one loop is compiled.
        image = np.ascontiguousarray(image)
        out = np.empty_like(image)
        in_bands(_blend_rows, image.shape[0], image, alpha, colour, out)
        return out
    xp = namespace(image)
    share = xp.asarray(alpha, device=image.device)[..., None]
    under = xp.asarray(colour, device=image.device)
    return under + share * (image - under)


@compiled
def _blend_rows(
    y0: int, y1: int, image: Floats, alpha: Floats, colour: Floats, out: Floats
) -> None:
    for y in range(y0, y1):
        source, share, target = image[y], alpha[y], out[y]
        for x in range(share.size):
            a = share[x]
            for c in range(colour.size):
                target[x, c] = colour[c] + a * (source[x, c] - colour[c])


def _cover_generic(
    image: Array, circle: tuple[float, float, float], soft: float, colour: Floats
) -> Array:
    xp = namespace(image)
    x = xp.arange(image.shape[1], dtype=image.dtype, device=image.device)[None, :] - circle[0]
    y = xp.arange(image.shape[0], dtype=image.dtype, device=image.device)[:, None] - circle[1]
    t = xp.clip(0.5 - (xp.sqrt(x * x + y * y) - circle[2]) / soft, 0.0, 1.0)
    alpha = (t * t * (3.0 - 2.0 * t))[..., None]
    under = xp.asarray(colour, device=image.device)
    return under + alpha * (image - under)


def _cover_cpu(
    image: Floats, circle: tuple[float, float, float], soft: float, colour: Floats
) -> Floats:
    image = np.ascontiguousarray(image)
    out = np.empty_like(image)
    numbers = np.asarray([*circle, soft], np.float64)
    in_bands(_cover_rows, image.shape[0], image, numbers, colour, out)
    return out


@compiled
def _cover_rows(
    y0: int, y1: int, image: Floats, circle: NDArray[np.float64], colour: Floats, out: Floats
) -> None:
    w, channels = image.shape[1], colour.size
    cx, cy, radius, soft = circle[0], circle[1], circle[2], circle[3]
    for y in range(y0, y1):
        source, target = image[y], out[y]
        dy2 = (y - cy) * (y - cy)
        outer, inner = radius + 0.5 * soft, radius - 0.5 * soft
        reach = np.sqrt(outer * outer - dy2) if outer > 0 and dy2 < outer * outer else -1.0
        whole = np.sqrt(inner * inner - dy2) if inner > 0 and dy2 < inner * inner else -1.0
        # Columns: covered up to a, edge to b, sky to c, edge to d, covered to the end.
        a = d = w
        if reach >= 0:
            a = min(max(int(np.ceil(cx - reach)), 0), w)
            d = min(max(int(np.floor(cx + reach)) + 1, a), w)
        b = c = d
        if whole >= 0:
            b = min(max(int(np.ceil(cx - whole)), a), d)
            c = min(max(int(np.floor(cx + whole)) + 1, b), d)
        for x in range(a):
            for k in range(channels):
                target[x, k] = colour[k]
        for x in range(d, w):
            for k in range(channels):
                target[x, k] = colour[k]
        target[b:c] = source[b:c]
        for side in range(2):
            for x in range(a, b) if side == 0 else range(c, d):
                far = np.sqrt((x - cx) * (x - cx) + dy2) - radius
                t = np.float32(min(max(0.5 - far / soft, 0.0), 1.0))
                share = t * t * (np.float32(3.0) - np.float32(2.0) * t)
                for k in range(channels):
                    target[x, k] = colour[k] + share * (source[x, k] - colour[k])


FILTER = Filter(
    "mask", 1, "display", mask, measure=measure, settings_of_measure=frozenset({"shape"})
)
