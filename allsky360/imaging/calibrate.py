"""From raw counts to light: subtract a fitting master dark or bias, else the black level.

Negative values are kept: clipping them would lift the mean of a dark sky. Which masters fit, and
what is made of several, is said in :mod:`allsky360.imaging.match`; pixels that the dark shows to be
hot are replaced by their neighbours (:mod:`allsky360.imaging.defects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from allsky360.arrays import Array, Backend, namespace, to_device
from allsky360.arrays.pedestal import above, replace_pixels
from allsky360.arrays.srgb import decode as srgb_decoded
from allsky360.errors import AllskyError
from allsky360.imaging.master import Master, MasterMismatch, Masters
from allsky360.imaging.match import Pedestal, pedestal_for
from allsky360.model import Exposure

VERSION = 2

__all__ = [
    "Calibrated",
    "Master",
    "MasterMismatch",
    "Masters",
    "calibrate",
    "is_display_referred",
]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """One exposure in ADU above black.

    Attributes
    ----------
    light
        Same shape as the exposure, float32, ADU, negatives kept.
    full_adu
        Full well above black.
    used
        Names of the masters, or "black level …".
    notes
        What the masters could not give, one sentence each.
    repaired
        Pixels replaced because a dark shows them to be hot.
    """

    light: Array
    full_adu: float
    used: tuple[str, ...]
    notes: tuple[str, ...] = ()
    repaired: int = 0


def calibrate(
    exposure: Exposure,
    *,
    black_level_adu: float,
    saturation_adu: float | None = None,
    masters: Masters | None = None,
    backend: Backend = "numpy",
) -> Calibrated:
    """Bring one exposure to the device and take its pedestal and dark current off.

    Raises
    ------
    MasterMismatch
        Masters are given but none fits.
    """
    saturation = saturation_adu if saturation_adu is not None else exposure.saturation_adu
    pixels = to_device(exposure.pixels, backend)
    if is_display_referred(exposure):
        xp = namespace(pixels)
        light = xp.take(
            to_device(_SRGB_TO_LINEAR, backend),
            xp.reshape(xp.astype(pixels, xp.int64), (-1,)),
            axis=0,
        )
        return Calibrated(xp.reshape(light, pixels.shape), 255.0, ("sRGB decoded",))
    if masters is None or not any(m.kind != "flat" for m in masters.frames):
        level = float(black_level_adu)
        full = _full_well(saturation, level)
        return Calibrated(above(pixels, level), full, (f"black level {level:g}",))
    pedestal = pedestal_for(exposure, masters)
    full = _full_well(saturation, pedestal.level)
    light, repaired = above(pixels, _on_device(pedestal, backend)), 0
    if pedestal.defects is not None:
        repaired = pedestal.defects.index.size
        light = replace_pixels(light, pedestal.defects.index, pedestal.defects.neighbours)
    return Calibrated(light, full, pedestal.used, pedestal.notes, repaired)


def _on_device(pedestal: Pedestal, backend: Backend) -> Array:
    return to_device(pedestal.pixels, backend) if backend == "numpy" else _resident(pedestal)


@lru_cache(maxsize=6)
def _resident(pedestal: Pedestal) -> Array:
    """Keep the last few on the GPU: a night's frames share them."""
    return to_device(pedestal.pixels, "cupy")


def _full_well(saturation_adu: float, black_adu: float) -> float:
    if saturation_adu <= black_adu:
        raise AllskyError(
            f"The black level ({black_adu:g} ADU) is not below saturation ({saturation_adu:g}).",
            mend="Mend camera.black_level_adu or camera.saturation_adu.",
        )
    return saturation_adu - black_adu


def is_display_referred(exposure: Exposure) -> bool:
    """Whether the pixels are sRGB codes (a JPEG) instead of counts proportional to light."""
    return exposure.pixels.dtype == np.uint8 and exposure.metadata.get("linear") is False


_SRGB_TO_LINEAR = (255.0 * srgb_decoded(np.arange(256) / 255.0)).astype(np.float32)
"""Linear light times 255 of each 8-bit code."""
