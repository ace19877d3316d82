"""What the pipeline must know about a filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from allsky360.arrays import Array

State = dict[str, list[float]]
"""What a filter measured on a frame: named lists of numbers, smoothed from frame to frame."""


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
        ``run`` measures for itself.
    needs
        Keywords that are not settings: any of "mask", "noise", "clipped", "scene".
    """

    name: str
    version: int
    domain: Literal["linear", "display"]
    run: Callable[..., Array]
    measure: Callable[..., State] | None = None
    needs: frozenset[str] = frozenset({"mask"})
