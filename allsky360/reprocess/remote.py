"""What Dask workers run: the stages of a frame, all on the worker that began it.

A frame under way is a hundred megabytes and stays where it is; what goes from frame to frame are
small JSON values, as the records hold them, so that a version made in one go and one that was
killed and resumed are the same. Every stage can do what came before it: a frame whose worker died
is begun again on another.
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


@dataclass(eq=False)
class Workpiece:
    """A frame on its way, in the memory of one worker; grows from stage to stage."""

    begun: Begun
    measured: Measured | None = None
    pictured: Pictured | None = None


def begin(recipe: Recipe, ref: FrameRef) -> Workpiece:
    """Read, merge and look."""
    if not recipe.from_objects:
        begun = begin_frame(recipe.root, ref, recipe.settings, lens_upto=recipe.lens_upto)
        return Workpiece(begun)
    from allsky360.objects.frame import fetch_frame, forget_frame, frame_before

    place = recipe.settings.objects
    root = fetch_frame(place, ref)
    try:
        with frame_before(place, ref) as earlier:
            begun = begin_frame(
                root, ref, recipe.settings, lens_upto=recipe.lens_upto, before_root=earlier
            )
    finally:
        forget_frame(place, ref)
    return Workpiece(begun)


def measure(recipe: Recipe, piece: Workpiece, memory: State | None) -> State | None:
    """Measure with the memory of the frame before.

    Returns
    -------
    dict or None
        The memory for the next frame; None where this one could not be measured.
    """
    sky = _measured(recipe, piece, memory).sky
    if sky is None:
        return None
    after: State = plain(sky.memory.to_json())
    return after


def picture(recipe: Recipe, piece: Workpiece, memory: State | None, tone: State | None) -> State:
    """Make the picture with the tone of the frame before; return the tone for the next."""
    after: State = plain(_pictured(recipe, piece, memory, tone).developed.tone.to_json())
    return after


def store(
    recipe: Recipe, piece: Workpiece, memory: State | None, tone: State | None
) -> FramePackage | dict[str, Any]:
    """Write the frame into its version; give it to the driver where the archive is not seen."""
    package = package_of(_pictured(recipe, piece, memory, tone), recipe.settings)
    if recipe.from_objects:
        return package
    return store_package(package, recipe.root, recipe.version)


def _measured(recipe: Recipe, piece: Workpiece, memory: State | None) -> Measured:
    if piece.measured is None:
        known = memory_from_json(memory) if memory else None
        piece.measured = measure_begun(piece.begun, known, recipe.settings)
    return piece.measured


def _pictured(
    recipe: Recipe, piece: Workpiece, memory: State | None, tone: State | None
) -> Pictured:
    if piece.pictured is None:
        piece.pictured = picture_measured(
            _measured(recipe, piece, memory),
            Tone.from_json(tone) if tone else None,
            memory_from_json(memory) if memory else None,
            recipe.settings,
        )
    return piece.pictured
