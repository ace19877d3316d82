"""One archived frame: raw to linear, numbers, picture, and back into the archive."""

from __future__ import annotations

import math
import time
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
from allsky360.imaging.pipeline import finish
from allsky360.imaging.steps import StepLog
from allsky360.processing.chain import (
    backend_for,
    masters_for,
    measure_or_none,
    site_or_none,
    sky_hints,
    with_overlay,
)
from allsky360.processing.previous import previous
from allsky360.processing.records import plain, provenance_of, sky_record

if TYPE_CHECKING:
    from allsky360.archive import FrameRef
    from allsky360.sky.lens_file import LensFile

LINEAR_PIXELS = 1_500_000
"""Size of the archived linear frame: photometry of the sky, not of stars, is read from it."""


def process_archived_frame(root: Path, ref: FrameRef, settings: Settings) -> dict[str, Any]:
    """Develop one archived bracket and store linear frame, picture, numbers and provenance.

    What a Dask worker runs. Running it again writes the same frame again.

    Parameters
    ----------
    root
        Folder of the archive.
    ref
        The frame.
    settings
        The whole tree.

    Returns
    -------
    dict
        Small record: camera, night, index, seconds, warnings and the statistics.
    """
    from allsky360.archive import Archive, ProcessedWriter
    from allsky360.measure.names import descriptions
    from allsky360.processing.rows import rows_of

    begin = time.perf_counter()
    archive = Archive(root)
    parameters = parameters_from(settings)
    bracket = archive.bracket(ref)
    site = archive.site(ref.camera, ref.night) or site_or_none(settings)
    before = previous(archive, ref)
    log = StepLog()
    frame = linearise(
        bracket, parameters, log, masters=masters_for(settings), backend=backend_for(settings)
    )
    lens = lens_for(root, ref.camera, frame, log)
    sky = measure_or_none(frame, site, lens, before.memory, parameters, settings, log)
    picture = render_picture(
        frame,
        parameters,
        log,
        tone=before.tone,
        hints=sky_hints(site, bracket.start, sky, before.memory),
    )
    developed = finish(frame, picture, log)
    scalars = developed.statistics | (sky.scalars if sky is not None else {})
    jpeg = encode_jpeg(
        with_overlay(developed, frame, lens, site, parameters, settings, scalars),
        quality=settings.processing.jpeg_quality,
        exposure=bracket.exposures[0],
        site=site,
        facts=scalars,
    )
    provenance = provenance_of(bracket, developed, parameters) | sky_record(sky, lens)
    ProcessedWriter(root, ref.camera, ref.night).write(
        ref,
        time=bracket.start,
        linear=reduce_linear(developed.linear),
        picture_jpeg=jpeg,
        scalars=scalars,
        provenance=provenance,
        site=site,
        rows=rows_of(sky) if sky is not None else {},
        descriptions=descriptions(),
    )
    record: dict[str, Any] = plain(
        {
            "camera": ref.camera,
            "night": ref.night.isoformat(),
            "index": ref.index,
            "start": bracket.start.isoformat(),
            "seconds": round(time.perf_counter() - begin, 3),
            "warnings": list(developed.warnings),
            "statistics": scalars,
        }
    )
    return record


def lens_for(root: Path, camera: str, frame: LinearFrame, log: StepLog) -> LensFile | None:
    """Return the camera's lens; a file that cannot be read costs the measurement, not the frame."""
    from allsky360.lenses import current_lens

    height, width = frame.image.shape[:2]
    try:
        return current_lens(root, camera, width, height)
    except AllskyError as error:
        log.warnings.append(f"The sky was not measured: {error.message}")
        return None


def reduce_linear(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a linear frame over whole blocks until it has at most ``LINEAR_PIXELS`` pixels."""
    size = math.ceil(math.sqrt(linear.shape[0] * linear.shape[1] / LINEAR_PIXELS))
    reduced: NDArray[np.float32] = block_mean(np.ascontiguousarray(linear), size)
    return reduced
