"""What Dask workers run: the stages of a frame, all on the worker that began it.

A frame under way is a hundred megabytes and stays where it is; what goes from frame to frame are
small JSON values, as the records hold them, so that a version made in one go and one that was
killed and resumed are the same. Every stage can do what came before it: a frame whose worker died
is begun again on another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from allsky360.archive import FrameRef
from allsky360.config import Settings
from allsky360.imaging.tone import Tone
from allsky360.processing.gpu_fallback import with_fallback
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
    """Read, merge and look; on the CPU where the GPU fails."""

    def act(settings: Settings) -> Begun:
        return _begun(replace(recipe, settings=settings), ref)

    begun, told = with_fallback(act, recipe.settings, recipe.root, ref.camera)
    begun.log.warnings.extend(told)
    return Workpiece(begun)


def _begun(recipe: Recipe, ref: FrameRef) -> Begun:
    if not recipe.from_objects:
        return begin_frame(recipe.root, ref, recipe.settings, lens_upto=recipe.lens_upto)
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
    return begun


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

        def act(allowed: Settings) -> Measured:
            _begin_again(recipe, piece, allowed)
            return measure_begun(piece.begun, known, recipe.settings)

        done, told = with_fallback(act, recipe.settings, recipe.root, piece.begun.ref.camera)
        done.log.warnings.extend(told)
        piece.measured = done
    return piece.measured


def _begin_again(recipe: Recipe, piece: Workpiece, allowed: Settings) -> None:
    """Begin a frame anew on the CPU, where its linear frame lies on a GPU that failed."""
    if allowed is not recipe.settings:
        warned = list(piece.begun.log.warnings)
        piece.begun = _begun(replace(recipe, settings=allowed), piece.begun.ref)
        piece.begun.log.warnings[:0] = warned


def _with_told(pictured: Pictured, told: tuple[str, ...]) -> Pictured:
    developed = pictured.developed
    warned = replace(developed, warnings=(*developed.warnings, *told))
    return replace(pictured, developed=warned) if told else pictured


def _pictured(
    recipe: Recipe, piece: Workpiece, memory: State | None, tone: State | None
) -> Pictured:
    if piece.pictured is None:
        known = memory_from_json(memory) if memory else None

        def act(allowed: Settings) -> Pictured:
            if allowed is not recipe.settings:
                _begin_again(recipe, piece, allowed)
                piece.measured = measure_begun(piece.begun, known, recipe.settings)
            return picture_measured(
                _measured(recipe, piece, memory),
                Tone.from_json(tone) if tone else None,
                known,
                recipe.settings,
            )

        done, told = with_fallback(act, recipe.settings, recipe.root, piece.begun.ref.camera)
        piece.pictured = _with_told(done, told)
    return piece.pictured
