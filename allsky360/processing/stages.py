"""The four stages of a frame, each a function of what came before: a worker may do them apart.

Linear frame and storing depend on the frame alone; measuring continues the sky's memory, the
picture continues the tone. Whoever runs the stages carries both from frame to frame, so that the
result does not depend on who did what where.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import block_mean
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.imaging.display import render_picture
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import parameters_from
from allsky360.imaging.pipeline import Developed, finish
from allsky360.imaging.steps import StepLog
from allsky360.imaging.tone import Tone
from allsky360.model import Bracket, Site
from allsky360.processing.chain import (
    backend_for,
    judge_or_none,
    look_or_none,
    masters_for,
    site_or_none,
    sky_hints,
    with_overlay,
)
from allsky360.processing.records import plain, provenance_of, sky_record
from allsky360.processing.step_pictures import StepPictures
from allsky360.processing.transients import entries_of, pair_of, relink_neighbours, search_or_none

if TYPE_CHECKING:
    from allsky360.archive import FrameRef, Row
    from allsky360.measure.frame import Look, Measurement
    from allsky360.measure.memory import SkyMemory
    from allsky360.measure.transients import Pair, TransientSearch
    from allsky360.sky.lens import LensModel
    from allsky360.sky.lens_file import LensFile

LINEAR_PIXELS = 1_500_000
"""Size of the archived linear frame: photometry of the sky, not of stars, is read from it."""


@dataclass(frozen=True, eq=False)
class Begun:
    """A bracket made one linear frame, and looked at; ``seconds`` is what it has cost so far."""

    ref: FrameRef
    bracket: Bracket
    frame: LinearFrame
    site: Site | None
    lens: LensFile | None
    log: StepLog
    seconds: float
    look: Look | None
    pair: Pair


@dataclass(frozen=True, eq=False)
class Measured:
    """A linear frame and what was measured on it, None where nothing could be."""

    begun: Begun
    sky: Measurement | None
    transients: TransientSearch
    log: StepLog
    seconds: float


@dataclass(frozen=True, eq=False)
class Pictured:
    """A frame with its picture; the full-size linear frame is still there.

    ``steps`` holds a small picture of every step where this frame keeps them.
    """

    measured: Measured
    developed: Developed
    seconds: float
    steps: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FramePackage:
    """What the archive keeps of a frame; see :meth:`allsky360.archive.ProcessedWriter.write`."""

    ref: FrameRef
    start: datetime
    site: Site | None
    linear: NDArray[np.float32]
    picture_jpeg: bytes
    scalars: Mapping[str, float]
    provenance: Mapping[str, Any]
    rows: Mapping[str, Row]
    transients: TransientSearch
    geometry: tuple[tuple[int, int], LensModel | None]
    warnings: tuple[str, ...]
    seconds: float
    steps: Mapping[str, bytes] = field(default_factory=dict)


def begin_frame(
    root: Path,
    ref: FrameRef,
    settings: Settings,
    *,
    lens_upto: int | None = None,
    before_root: Path | None = None,
) -> Begun:
    """Read an archived bracket, merge it and look at it: all that no other frame has a part in.

    Parameters
    ----------
    root, ref
        The frame.
    settings
        The whole tree.
    lens_upto
        Number of the newest lens file that may be used; None: any.
    before_root
        Where the frame before lies, if elsewhere.
    """
    from allsky360.archive import Archive

    start = time.perf_counter()
    archive = Archive(root)
    bracket = archive.bracket(ref)
    site = archive.site(ref.camera, ref.night) or site_or_none(settings)
    log = StepLog()
    frame = linearise(
        bracket,
        parameters_from(settings),
        log,
        masters=masters_for(settings, root),
        backend=backend_for(settings),
    )
    lens = lens_for(root, ref.camera, frame, log, upto=lens_upto)
    look = look_or_none(frame, site, lens, log)
    earlier = archive if before_root is None else Archive(before_root)
    pair = pair_of(earlier, ref, frame.reference, site, settings)
    return Begun(ref, bracket, frame, site, lens, log, time.perf_counter() - start, look, pair)


def measure_begun(begun: Begun, memory: SkyMemory | None, settings: Settings) -> Measured:
    """Judge what was seen of the sky; what goes wrong costs the numbers, not the frame."""
    start = time.perf_counter()
    log = begun.log.copy()
    sky = judge_or_none(
        begun.look, begun.frame, begun.lens, memory, parameters_from(settings), settings, log
    )
    transients = search_or_none(
        begun.pair,
        begun.frame,
        begun.ref.index,
        begun.site,
        sky,
        begun.lens.lens if begun.lens is not None else None,
        settings,
        log,
    )
    return Measured(begun, sky, transients, log, begun.seconds + time.perf_counter() - start)


def picture_measured(
    measured: Measured, tone: Tone | None, memory: SkyMemory | None, settings: Settings
) -> Pictured:
    """Make the picture; ``memory`` is that of the frame before, as in :func:`measure_begun`."""
    start = time.perf_counter()
    begun, log = measured.begun, measured.log.copy()
    every = settings.processing.step_pictures_every
    steps = StepPictures(log) if every and begun.ref.index % every == 0 else None
    picture = render_picture(
        begun.frame,
        parameters_from(settings),
        log,
        tone=tone,
        hints=sky_hints(begun.site, begun.bracket.start, measured.sky, memory),
        watch=steps,
    )
    developed = finish(begun.frame, picture, log)
    seconds = measured.seconds + time.perf_counter() - start
    return Pictured(measured, developed, seconds, steps.pictures if steps else {})


def package_of(pictured: Pictured, settings: Settings) -> FramePackage:
    """Return what the archive keeps of a frame: some megabytes instead of a hundred."""
    from allsky360.processing.rows import rows_of

    start = time.perf_counter()
    measured, developed = pictured.measured, pictured.developed
    begun, sky = measured.begun, measured.sky
    bracket, parameters = begun.bracket, parameters_from(settings)
    scalars = developed.statistics | (sky.scalars if sky is not None else {})
    if measured.transients.searched:
        scalars = scalars | {"transients": float(len(measured.transients.transients))}
    height, width = begun.frame.image.shape[:2]
    jpeg = encode_jpeg(
        with_overlay(developed, begun.frame, begun.lens, begun.site, parameters, settings, scalars),
        quality=settings.processing.jpeg_quality,
        exposure=bracket.exposures[0],
        site=begun.site,
        facts=scalars,
    )
    return FramePackage(
        ref=begun.ref,
        start=bracket.start,
        site=begun.site,
        linear=reduce_linear(developed.linear),
        picture_jpeg=jpeg,
        scalars=scalars,
        provenance=provenance_of(bracket, developed, parameters) | sky_record(sky, begun.lens),
        rows=rows_of(sky) if sky is not None else {},
        transients=measured.transients,
        geometry=((height, width), begun.lens.lens if begun.lens is not None else None),
        warnings=tuple(developed.warnings),
        seconds=pictured.seconds + time.perf_counter() - start,
        steps=pictured.steps,
    )


def with_warnings(package: FramePackage, warnings: Sequence[str]) -> FramePackage:
    """Add warnings to what the archive keeps of a frame."""
    if not warnings:
        return package
    every = [*package.warnings, *warnings]
    provenance = {**package.provenance, "warnings": every}
    return replace(package, warnings=tuple(every), provenance=provenance)


def store_package(package: FramePackage, root: Path, version: str) -> dict[str, Any]:
    """Write a frame into a version of its night.

    Returns
    -------
    dict
        Small record: camera, night, index, seconds, warnings and the statistics.
    """
    from allsky360.archive import ProcessedWriter
    from allsky360.measure.names import descriptions
    from allsky360.measure.transients import directions_of

    start = time.perf_counter()
    ref = package.ref
    writer = ProcessedWriter(root, ref.camera, ref.night, version)
    writer.write(
        ref,
        time=package.start,
        linear=package.linear,
        picture_jpeg=package.picture_jpeg,
        scalars=package.scalars,
        provenance=package.provenance,
        site=package.site,
        rows=package.rows,
        descriptions=descriptions(),
        extra=entries_of(package.transients),
        steps=package.steps,
    )
    relink_neighbours(writer, ref.index, directions_of(*package.geometry))
    record: dict[str, Any] = plain(
        {
            "camera": ref.camera,
            "night": ref.night.isoformat(),
            "index": ref.index,
            "start": package.start.isoformat(),
            "seconds": round(package.seconds + time.perf_counter() - start, 3),
            "warnings": list(package.warnings),
            "statistics": package.scalars,
        }
    )
    return record


def lens_for(
    root: Path, camera: str, frame: LinearFrame, log: StepLog, *, upto: int | None = None
) -> LensFile | None:
    """Return the camera's lens; a file that cannot be read costs the measurement, not the frame."""
    from allsky360.lenses import current_lens

    height, width = frame.image.shape[:2]
    try:
        return current_lens(root, camera, width, height, upto=upto)
    except AllskyError as error:
        log.warnings.append(f"The sky was not measured: {error.message}")
        return None


def reduce_linear(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a linear frame over whole blocks until it has at most ``LINEAR_PIXELS`` pixels."""
    size = math.ceil(math.sqrt(linear.shape[0] * linear.shape[1] / LINEAR_PIXELS))
    reduced: NDArray[np.float32] = block_mean(np.ascontiguousarray(linear), size)
    return reduced
