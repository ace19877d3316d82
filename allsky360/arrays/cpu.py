"""NumPy bodies of the primitives: OpenCV here, compiled loops in the files imported below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import threads
from allsky360.arrays.blocks import blocks_cpu
from allsky360.arrays.cpu_defects import repair_isolated as repair_isolated
from allsky360.arrays.cpu_demosaic import demosaic as demosaic
from allsky360.arrays.cpu_merge import block_differences as block_differences
from allsky360.arrays.cpu_merge import merge_weighted as merge_weighted

cv2.setNumThreads(threads())  # of its own accord OpenCV takes every core, in every worker

Floats = NDArray[np.float32]

LARGE = 6
"""Side of a block from which adding rows is faster than cv2."""
MIRROR = cv2.BORDER_REFLECT_101


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
    """Sums of rows, shared out over the cores; cv2.resize with area weights for small blocks."""
    h, w = image.shape[0] // size, image.shape[1] // size
    if size < LARGE:
        whole = image[: h * size, : w * size]
        return _like(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA), image)
    means, _ = blocks_cpu(image if image.ndim == 3 else image[..., None], None, size)
    return means[:h, :w].reshape(h, w, *image.shape[2:])


def remap(image: Floats, x: Floats, y: Floats) -> Floats:
    """cv2.remap (positions rounded to 1/32 px)."""
    return _like(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), image)


def pyramid_down(image: Floats) -> Floats:
    """cv2.pyrDown."""
    return _like(cv2.pyrDown(image), image)


def pyramid_up(image: Floats, shape: tuple[int, int]) -> Floats:
    """cv2.pyrUp."""
    return _like(cv2.pyrUp(image, dstsize=(shape[1], shape[0])), image)
