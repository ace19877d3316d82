"""The plane streaks are looked for on: one raw exposure, reduced, its background taken off.

It is made from the raw exposure alone, not from the merged frame: the frame before can then be read
back from the archive and made again in a few hundredths of a second, by any worker and in any
order, and a streak is not thinned out by the shorter exposures of a bracket. Black level, dark
current and defects need no calibration here: they stand in both frames.

A mosaic is averaged over its 2 x 2 cells, (R + 2G + B) / 4 as in :mod:`allsky360.sky.plane`. Frames
above three megapixels are reduced by two or more: a streak is long, so that what is lost of its
significance is a few per cent, and a frame costs a quarter of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import starfield
from allsky360.model import Exposure, as_utc
from allsky360.sky.background import background_and_noise

Floats = NDArray[np.float32]
Double = NDArray[np.float64]

MOST_PIXELS = 3_200_000


@dataclass(frozen=True, eq=False)
class StreakPlane:
    """One exposure, as streaks are looked for on it.

    Attributes
    ----------
    flat
        ``(h, w)`` float32, ADU over the background, mean of the pixels reduced to one.
    box
        Cell of background and noise, reduced pixels.
    step, shift
        Pixel ``x`` of this plane is pixel ``step * x + shift`` of the frame, on both axes.
    frame_shape
        Height and width of the frame.
    start, exposure_s
        UTC start and length of the exposure.
    gain, egain, binning, pattern
        As :class:`allsky360.model.Exposure`.
    """

    flat: Floats
    box: int
    step: int
    shift: float
    frame_shape: tuple[int, int]
    start: datetime
    exposure_s: float
    gain: float | None = None
    egain: float | None = None
    binning: int = 1
    pattern: str | None = None

    @property
    def end(self) -> datetime:
        """End of the exposure."""
        return self.start + timedelta(seconds=self.exposure_s)

    def reduced(self, pixel: Double) -> Double:
        """Return where pixels of the frame lie on this plane, on either axis."""
        return (pixel - self.shift) / self.step


def streak_plane(exposure: Exposure) -> StreakPlane:
    """Reduce a raw exposure and take its background off.

    Parameters
    ----------
    exposure
        ``(H, W)`` mosaic or mono, or ``(H, W, 3)``; at least 64 pixels wide and high.

    Raises
    ------
    ValueError
        For a smaller frame.
    """
    height, width = exposure.pixels.shape[:2]
    if min(height, width) < 64:
        raise ValueError(f"streaks are not looked for on {width} x {height} pixels")
    step = step_of(height, width, mosaic=exposure.pattern is not None)
    image = exposure.pixels.astype(np.float32)
    if image.ndim == 3:
        image = cv2.transform(image, np.array([[0.25, 0.5, 0.25]], np.float32)).reshape(
            height, width
        )
    shift = 0.5 * (step - 1)
    if step > 1:
        h, w = height // step, width // step
        image = cv2.resize(image[: h * step, : w * step], (w, h), interpolation=cv2.INTER_AREA)
    elif exposure.pattern is not None:
        image = cv2.boxFilter(image, -1, (2, 2), anchor=(0, 0))[:-1, :-1]
        shift = 0.5
    plane = np.ascontiguousarray(image, np.float32)
    background = background_and_noise(plane)
    return StreakPlane(
        starfield.flatten(plane, background.level, background.box),
        background.box,
        step,
        shift,
        (height, width),
        as_utc(exposure.start),
        exposure.exposure_s,
        exposure.gain,
        exposure.egain,
        exposure.binning,
        exposure.pattern,
    )


def step_of(height: int, width: int, *, mosaic: bool) -> int:
    """Return by how much a frame is reduced: even where it is a mosaic."""
    step = math.ceil(math.sqrt(height * width / MOST_PIXELS))
    return step + step % 2 if mosaic and step > 1 else step


def why_not_comparable(now: StreakPlane, before: StreakPlane, longest_pause_s: float) -> str:
    """Return why two planes cannot be compared, empty where they can."""
    if now.frame_shape != before.frame_shape or now.pattern != before.pattern:
        return "the frame before has another size or Bayer pattern"
    if now.binning != before.binning:
        return "the frame before has another binning"
    pause = (now.start - before.end).total_seconds()
    if pause > longest_pause_s:
        return f"the frame before ended {pause:.0f} s earlier"
    if pause < -1.0:
        return "the frame before is not earlier"
    if not (now.exposure_s > 0 and before.exposure_s > 0):
        return "an exposure time is not known"
    if light_ratio(now, before) is None:
        return "the gain changed, and the electrons per ADU are not known"
    return ""


def light_ratio(now: StreakPlane, before: StreakPlane) -> float | None:
    """Return the ADU a steady light gives now for each ADU before; None where not known."""
    ratio = now.exposure_s / before.exposure_s
    if now.egain and before.egain:
        return ratio * before.egain / now.egain
    return ratio if now.gain == before.gain else None
