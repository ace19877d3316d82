"""What the pipeline must know about a filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from allsky360.arrays import Array

State = dict[str, list[float]]
"""What a filter measured on a frame: named lists of numbers, smoothed from frame to frame.

Numbers are in the image's unit and grow with the light; those whose name begins with "share_" have
no unit.
"""


@dataclass(frozen=True)
class Conditions:
    """What is known about a frame, in the image's unit.

    Attributes
    ----------
    daylight
        0 (night) to 1 (day).
    noise
        Standard deviation of one pixel of the sky.
    saturation
        Level of a full pixel of the longest exposure.
    range
        How many times that the bracket can hold, 1 or more.
    """

    daylight: float = 0.0
    noise: float = 0.0
    saturation: float = math.inf
    range: float = 1.0


@dataclass(frozen=True)
class Filter:
    """One filter.

    Attributes
    ----------
    name
        As in the settings; also the name of its file and function.
    version
        Raised when its result changes; part of the provenance.
    domain
        "linear" filters run before the stretch, "display" filters after it.
    run
        ``run(image, *, mask, …) -> image``. Keywords of ``needs`` are given by the pipeline, all
        others come from the settings.
    measure
        For a filter that depends on the whole frame: ``measure(image, *, mask, …) -> State``. Its
        numbers are smoothed in time and given to ``run`` as ``state``; called without ``state``,
        ``run`` measures for itself. It gets ``needs`` too; its ``mask`` is a host array and is
        the image circle where there is no other.
    needs
        Keywords that are not settings: any of "mask" (``(H, W)`` bool or None), "noise"
        (``NoiseModel`` of the luminance), "conditions" (:class:`Conditions`).
    settings_of_measure
        Settings that ``measure`` takes too.
    """

    name: str
    version: int
    domain: Literal["linear", "display"]
    run: Callable[..., Array]
    measure: Callable[..., State] | None = None
    needs: frozenset[str] = frozenset({"mask"})
    settings_of_measure: frozenset[str] = frozenset()
