"""What others have for a filter's job, on the same pixels in the same run.

Each entry is a label and a function that takes our input and returns the action to time, or None
where its library is not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Make = Callable[[Floats], Callable[[], object] | None]

MISSING = [n for n in ("skimage", "scipy", "colour_demosaicing") if not importlib.util.find_spec(n)]


def _codes(image: Floats) -> NDArray[np.uint8]:
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def _means(image: Floats) -> Callable[[], object]:
    # Non-local means of 8.4 Mpix takes a minute: a quarter of the frame, times 4 in the label.
    h, w = image.shape[:2]
    part = _codes(image / max(float(np.quantile(image[::9, ::9], 0.99)), 1e-6))
    part = part[: h // 4, :w]
    return lambda: cv2.fastNlMeansDenoisingColored(part, None, 3, 3, 5, 11)


def _clahe(image: Floats) -> Callable[[], object]:
    luma = _codes(image[..., 1])
    tool = cv2.createCLAHE(2.0, (16, 16))
    return lambda: tool.apply(luma)


def _skimage_clahe(image: Floats) -> Callable[[], object] | None:
    if "skimage" in MISSING:
        return None
    from skimage.exposure import equalize_adapthist

    luma = np.clip(image[..., 1], 0, 1)
    return lambda: equalize_adapthist(luma, kernel_size=128)


def _median(image: Floats) -> Callable[[], object]:
    return lambda: cv2.medianBlur(image, 3)


def _scipy_median(image: Floats) -> Callable[[], object] | None:
    if "scipy" in MISSING:
        return None
    from scipy.ndimage import median_filter

    plane = np.ascontiguousarray(image[..., 1])
    return lambda: median_filter(plane, 5)


def _unsharp(image: Floats) -> Callable[[], object]:
    return lambda: cv2.addWeighted(image, 1.5, cv2.GaussianBlur(image, (0, 0), 3.0), -0.5, 0)


def _detail(image: Floats) -> Callable[[], object]:
    codes = _codes(image)
    return lambda: cv2.detailEnhance(codes, sigma_s=10, sigma_r=0.15)


def _warp(image: Floats) -> Callable[[], object]:
    h, w = image.shape[:2]
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), 30.0, 1.0)
    return lambda: cv2.warpAffine(image, turn, (w, h))


def _hsv(image: Floats) -> Callable[[], object]:
    def run() -> object:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = np.minimum(hsv[..., 1] * 1.5, 1.0)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return run


def _power(image: Floats) -> Callable[[], object]:
    return lambda: cv2.pow(image, 0.9)


def _drago(image: Floats) -> Callable[[], object]:
    positive = np.maximum(image, 0)
    tool = cv2.createTonemapDrago()
    return lambda: tool.process(positive)


def _mantiuk(image: Floats) -> Callable[[], object]:
    positive = np.maximum(image, 1e-4)
    tool = cv2.createTonemapMantiuk()
    return lambda: tool.process(positive)


FILTERS: dict[str, tuple[str, Make]] = {
    "acdnr": ("cv2 fastNlMeans (a quarter of the frame)", _means),
    "clarity": ("cv2 detailEnhance", _detail),
    "gamma": ("cv2 pow", _power),
    "local_histogram": ("skimage equalize_adapthist (one plane)", _skimage_clahe),
    "median": ("cv2 medianBlur 3", _median),
    "multiscale_median": ("scipy median_filter 5 (one plane)", _scipy_median),
    "rotate": ("cv2 warpAffine", _warp),
    "saturation": ("cv2 HSV there and back", _hsv),
    "sharpen": ("cv2 unsharp mask", _unsharp),
    "stretch": ("cv2 TonemapDrago", _drago),
    "tone_map": ("cv2 TonemapMantiuk", _mantiuk),
}
