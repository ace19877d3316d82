"""A master frame: many bias, dark or flat exposures made into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError

MasterKind = Literal["bias", "dark", "flat"]


class MasterMismatch(AllskyError):
    """No master frame fits the exposure; each reason is named."""


class Pixels(Protocol):
    """What stands for the pixels of a master: an array, or a file that becomes one when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and, for colour, bands."""
        ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the array."""
        ...


@dataclass(frozen=True, eq=False)
class Master:
    """A master bias, dark or flat.

    Attributes
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)`` float32: ADU with pedestal; of a flat any unit, pedestal off.
    kind
        "bias", "dark" or "flat".
    name
        File it came from.
    exposure_s, gain, offset, temperature_c, binning, egain
        How it was taken; None when unknown. ``egain`` is electrons per ADU.
    camera
        Device name, "" when unknown.
    frames
        How many exposures it is made of, 0 when unknown.
    noise_adu
        Standard deviation of a pixel in one of them, None when unknown.
    date
        When they were taken, ISO 8601, "" when unknown.
    unstable
        Flat positions of pixels that are not the same from one exposure to the next.
    """

    pixels: NDArray[np.float32] | Pixels
    kind: MasterKind
    name: str
    exposure_s: float = 0.0
    gain: float | None = None
    offset: float | None = None
    temperature_c: float | None = None
    binning: int = 1
    camera: str = ""
    frames: int = 0
    noise_adu: float | None = None
    date: str = ""
    unstable: NDArray[np.int64] | None = None
    egain: float | None = None

    def array(self) -> NDArray[np.float32]:
        """Return the pixels, read now if they lie in a file."""
        return np.asarray(self.pixels, np.float32)


@dataclass(frozen=True, eq=False)
class Masters:
    """All master frames at hand."""

    frames: tuple[Master, ...] = ()
