"""What Dask workers run: the stages of a frame with states as plain JSON values.

States travel as the records hold them, so that a version made in one go and one that was killed
and resumed are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allsky360.archive import FrameRef
from allsky360.config import Settings
from allsky360.imaging.tone import Tone
from allsky360.processing.previous import memory_from_json
from allsky360.processing.records import plain
from allsky360.processing.stages import (
    Begun,
    FramePackage,
    Measured,
    Pictured,
    begin_frame,
    measure_begun,
    package_of,
    picture_measured,
    store_package,
)

State = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What all frames of a version have in common."""

    root: Path
    version: str
    settings: Settings
    lens_upto: int
    from_objects: bool = False
    """Whether workers do not see the archive: raw comes from the object store, frames go back."""


def begin(recipe: Recipe, ref: FrameRef) -> Begun:
    """Read and merge."""
    if not recipe.from_objects:
        return begin_frame(recipe.root, ref, recipe.settings, lens_upto=recipe.lens_upto)
    from allsky360.objects.frame import fetch_frame, forget_frame, frame_before

    place = recipe.settings.objects
    root = fetch_frame(place, ref)
    try:
        with frame_before(place, ref) as earlier:
            return begin_frame(
                root, ref, recipe.settings, lens_upto=recipe.lens_upto, before_root=earlier
            )
    finally:
        forget_frame(place, ref)


def measure(recipe: Recipe, begun: Begun, memory: State | None) -> Measured:
    """Measure with the memory of the frame before."""
    return measure_begun(begun, memory_from_json(memory) if memory else None, recipe.settings)


def memory_after(measured: Measured) -> State | None:
    """Return the memory for the next frame; None where this one could not be measured."""
    if measured.sky is None:
        return None
    found: State = plain(measured.sky.memory.to_json())
    return found


def picture(
    recipe: Recipe, measured: Measured, tone: State | None, memory: State | None
) -> Pictured:
    """Make the picture with the tone of the frame before."""
    return picture_measured(
        measured,
        Tone.from_json(tone) if tone else None,
        memory_from_json(memory) if memory else None,
        recipe.settings,
    )


def tone_after(pictured: Pictured) -> State:
    """Return the tone for the next frame."""
    found: State = plain(pictured.developed.tone.to_json())
    return found


def store(recipe: Recipe, pictured: Pictured) -> FramePackage | dict[str, Any]:
    """Write the frame into its version; give it to the driver where the archive is not seen."""
    package = package_of(pictured, recipe.settings)
    if recipe.from_objects:
        return package
    return store_package(package, recipe.root, recipe.version)
