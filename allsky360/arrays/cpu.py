"""NumPy bodies of the primitives: OpenCV, and numba loops where fusing saves passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from allsky360.arrays.cpu_defects import repair_isolated as repair_isolated
from allsky360.arrays.cpu_demosaic import demosaic as demosaic
from allsky360.arrays.cpu_merge import block_differences as block_differences
from allsky360.arrays.cpu_merge import merge_weighted as merge_weighted
from allsky360.arrays.generic import LUMA

Floats = NDArray[np.float32]

MIRROR = cv2.BORDER_REFLECT_101


def _compiled(function: Any) -> Any:
    """Compile with numba; the machine code is cached beside the source."""
    return njit(cache=True, fastmath={"contract", "arcp", "reassoc", "nsz"}, nogil=True)(function)


def _like(result: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    """Give back the channel axis OpenCV drops from ``(H, W, 1)``."""
    return result[..., None] if image.ndim == 3 and result.ndim == 2 else result


def convolve_separable(image: Floats, kernel: Sequence[float]) -> Floats:
    """cv2.sepFilter2D."""
    taps = np.asarray(kernel, dtype=np.float32)
    return _like(cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, borderType=MIRROR), image)


def box_mean(image: Floats, radius_px: int) -> Floats:
    """cv2.blur."""
    size = 2 * radius_px + 1
    return _like(cv2.blur(image, (size, size), borderType=MIRROR), image)


def median3(image: Floats, step: int) -> Floats:
    """cv2.medianBlur on each phase (it repeats the edge, so it works on a mirrored copy)."""
    if step == 1:
        padded = cv2.copyMakeBorder(image, 1, 1, 1, 1, MIRROR)
        inner = cv2.medianBlur(padded, 3)[1:-1, 1:-1]
        return np.ascontiguousarray(_like(inner, image))
    padded = cv2.copyMakeBorder(image, step, step, step, step, MIRROR)
    result = np.empty_like(padded)
    for y in range(step):
        for x in range(step):
            phase = np.ascontiguousarray(padded[y::step, x::step])
            result[y::step, x::step] = _like(cv2.medianBlur(phase, 3), phase)
    return np.ascontiguousarray(_like(result[step:-step, step:-step], image))


def maximum3(image: NDArray[Any]) -> NDArray[Any]:
    """cv2.dilate."""
    return _like(cv2.dilate(image, np.ones((3, 3), np.uint8)), image)


def block_mean(image: Floats, size: int) -> Floats:
    """cv2.resize with area weights, exact for whole blocks."""
    h, w = image.shape[0] // size, image.shape[1] // size
    whole = image[: h * size, : w * size]
    return _like(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA), image)


def remap(image: Floats, x: Floats, y: Floats) -> Floats:
    """cv2.remap (positions rounded to 1/32 px)."""
    return _like(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), image)


def pyramid_down(image: Floats) -> Floats:
    """cv2.pyrDown."""
    return _like(cv2.pyrDown(image), image)


def pyramid_up(image: Floats, shape: tuple[int, int]) -> Floats:
    """cv2.pyrUp."""
    return _like(cv2.pyrUp(image, dstsize=(shape[1], shape[0])), image)


_SRGB_SIZE = 4096


def _srgb_table() -> NDArray[np.uint8]:
    """Encode linear light to 8 bits, indexed by its square root."""
    light = np.linspace(0.0, 1.0, _SRGB_SIZE) ** 2
    bent = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255.0 * bent).astype(np.uint8)


_SRGB = _srgb_table()


def render(
    image: Floats,
    near_clip: NDArray[np.uint8],
    offset: Sequence[float],
    gain: Sequence[float],
    white: float,
    curve: Floats,
    chroma_floor: float,
    saturation: float,
) -> NDArray[np.uint8]:
    """One numba pass; both curves are tables indexed by a square root."""
    out = _render(
        np.ascontiguousarray(image, dtype=np.float32),
        near_clip,
        np.asarray(offset, np.float32),
        np.asarray(gain, np.float32),
        np.float32(1.0 / white),
        np.ascontiguousarray(curve, np.float32),
        np.float32(chroma_floor),
        np.float32(saturation),
        _SRGB,
        np.asarray(LUMA, np.float32),
    )
    return np.asarray(out)


@_compiled
def _render(
    image: Floats,
    near_clip: NDArray[np.uint8],
    offset: Floats,
    gain: Floats,
    inverse_white: float,
    curve: Floats,
    chroma_floor: float,
    saturation: float,
    srgb: NDArray[np.uint8],
    luma: Floats,
) -> NDArray[np.uint8]:
    h, w, channels = image.shape
    out = np.empty((h, w, 3), np.uint8)
    zero, one, tiny = np.float32(0.0), np.float32(1.0), np.float32(1e-6)
    last, codes = curve.size - 1, np.float32(srgb.size - 1)
    floor2 = chroma_floor * chroma_floor + np.float32(1e-30)
    half = np.float32(0.5)
    for y in range(h):
        for x in range(w):
            r = (image[y, x, 0] - offset[0]) * gain[0]
            g = b = r
            luminance = r
            if channels == 3:
                g = (image[y, x, 1] - offset[1]) * gain[1]
                b = (image[y, x, 2] - offset[2]) * gain[2]
                luminance = luma[0] * r + luma[1] * g + luma[2] * b
            position = np.sqrt(min(max(luminance * inverse_white, zero), one)) * np.float32(last)
            index = min(int(position), last - 1)
            part = position - np.float32(index)
            light = curve[index] + part * (curve[index + 1] - curve[index])
            if channels == 1:
                code = srgb[int(np.sqrt(light) * codes + half)]
                out[y, x, 0] = code
                out[y, x, 1] = code
                out[y, x, 2] = code
                continue
            base = max(luminance, np.float32(1e-20))
            inverse = one / base
            square = base * base
            k = saturation * square / (square + floor2)
            k *= one - np.float32(near_clip[y, x]) * np.float32(1.0 / 255.0)
            dr, dg, db = r * inverse - one, g * inverse - one, b * inverse - one
            up, low = max(dr, max(dg, db)), min(dr, min(dg, db))
            k = min(k, (one / max(light, tiny) - one) / max(up, tiny))
            k = min(k, one / max(-low, tiny))
            for c in range(3):
                d = dr if c == 0 else (dg if c == 1 else db)
                value = min(max(light * (one + k * d), zero), one)
                out[y, x, c] = srgb[int(np.sqrt(value) * codes + half)]
    return out
