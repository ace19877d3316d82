"""From raw counts to light: subtract a fitting master dark or bias, else the black level.

Negative values are kept: clipping them would lift the mean of a dark sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, Backend, namespace, to_device
from allsky360.errors import AllskyError
from allsky360.model import Exposure

VERSION = 1

TEMPERATURE_TOLERANCE_C = 2.0
"""Dark current doubles every 6-7 degrees: 2 degrees are 25 %."""

EXPOSURE_TOLERANCE = 0.02
"""A dark within 2 % of the exposure time is subtracted unscaled."""


class MasterMismatch(AllskyError):
    """No master frame fits the exposure; each reason is named."""


@dataclass(frozen=True, eq=False)
class Master:
    """A master bias or dark.

    Attributes
    ----------
    pixels
        ``(H, W)`` float32, ADU, pedestal included.
    kind
        "bias" or "dark".
    name
        File it came from.
    exposure_s, gain, offset, temperature_c, binning
        How it was taken; None when unknown.
    """

    pixels: NDArray[np.float32]
    kind: Literal["bias", "dark"]
    name: str
    exposure_s: float = 0.0
    gain: float | None = None
    offset: float | None = None
    temperature_c: float | None = None
    binning: int = 1


@dataclass(frozen=True, eq=False)
class Masters:
    """All master frames at hand."""

    frames: tuple[Master, ...] = ()


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
    """

    light: Array
    full_adu: float
    used: tuple[str, ...]


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
    xp = namespace(pixels)
    if is_display_referred(exposure):
        light = xp.take(
            to_device(_SRGB_TO_LINEAR, backend),
            xp.reshape(xp.astype(pixels, xp.int64), (-1,)),
            axis=0,
        )
        return Calibrated(xp.reshape(light, pixels.shape), 255.0, ("sRGB decoded",))
    raw = xp.astype(pixels, xp.float32)
    if masters is None or not masters.frames:
        level = float(black_level_adu)
        full = _full_well(saturation, level)
        return Calibrated(raw - level if level else raw, full, (f"black level {level:g}",))
    pedestal, used = _pedestal(exposure, masters)
    full = _full_well(saturation, float(np.median(pedestal[::8, ::8])))
    return Calibrated(raw - to_device(pedestal, backend), full, used)


def _full_well(saturation_adu: float, black_adu: float) -> float:
    if saturation_adu <= black_adu:
        raise AllskyError(
            f"The black level ({black_adu:g} ADU) is not below saturation ({saturation_adu:g}).",
            mend="Mend camera.black_level_adu or camera.saturation_adu.",
        )
    return saturation_adu - black_adu


def _pedestal(exposure: Exposure, masters: Masters) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Find what to subtract: an equal dark, else a scaled dark with its bias, else a bias."""
    reasons: list[str] = []
    fitting = [m for m in masters.frames if _fits(exposure, m, reasons)]
    darks = sorted(
        (m for m in fitting if m.kind == "dark"),
        key=lambda m: abs(m.exposure_s - exposure.exposure_s),
    )
    biases = [m for m in fitting if m.kind == "bias"]
    for dark in darks:
        if abs(dark.exposure_s - exposure.exposure_s) <= EXPOSURE_TOLERANCE * exposure.exposure_s:
            return dark.pixels, (dark.name,)
    if darks and biases:
        dark, bias = darks[0], biases[0]
        scale = np.float32(exposure.exposure_s / dark.exposure_s)
        pixels = bias.pixels + scale * (dark.pixels - bias.pixels)
        return pixels, (bias.name, f"{dark.name} x {scale:.4g}")
    if biases:
        return biases[0].pixels, (biases[0].name,)
    reasons += [
        f"{d.name} is {d.exposure_s:g} s and there is no bias to scale it with" for d in darks
    ]
    raise MasterMismatch(
        f"No master frame fits an exposure of {exposure.exposure_s:g} s: {'; '.join(reasons)}.",
        mend="Take masters with these camera settings into processing.dark_root.",
    )


def _fits(exposure: Exposure, master: Master, reasons: list[str]) -> bool:
    """Compare what both sides know; collect why a master does not fit."""
    wrong = ""
    if master.pixels.shape != exposure.pixels.shape:
        wrong = f"is {_size(master.pixels)}, the exposure {_size(exposure.pixels)}"
    elif master.binning != exposure.binning:
        wrong = f"is binned {master.binning}, the exposure {exposure.binning}"
    elif _differ(master.gain, exposure.gain, 0.5):
        wrong = f"has gain {master.gain:g}, the exposure {exposure.gain:g}"
    elif _differ(master.offset, exposure.offset, 0.5):
        wrong = f"has offset {master.offset:g}, the exposure {exposure.offset:g}"
    elif master.kind == "dark" and _differ(
        master.temperature_c, exposure.temperature_c, TEMPERATURE_TOLERANCE_C
    ):
        wrong = f"was taken at {master.temperature_c:g} C, the exposure at "
        wrong += f"{exposure.temperature_c:g} C"
    elif master.kind == "dark" and master.exposure_s <= 0:
        wrong = "names no exposure time"
    if wrong:
        reasons.append(f"{master.name} {wrong}")
    return not wrong


def _size(pixels: NDArray[Any]) -> str:
    return "x".join(str(n) for n in (pixels.shape[1], pixels.shape[0], *pixels.shape[2:]))


def _differ(a: float | None, b: float | None, tolerance: float) -> bool:
    return a is not None and b is not None and abs(a - b) > tolerance


def is_display_referred(exposure: Exposure) -> bool:
    """Whether the pixels are sRGB codes (a JPEG) instead of counts proportional to light."""
    return exposure.pixels.dtype == np.uint8 and exposure.metadata.get("linear") is False


def _srgb_decode() -> NDArray[np.float32]:
    """Linear light times 255 of each 8-bit sRGB code (IEC 61966-2-1)."""
    code = np.arange(256) / 255.0
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return (255.0 * light).astype(np.float32)


_SRGB_TO_LINEAR = _srgb_decode()
