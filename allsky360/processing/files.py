"""Files to pictures and records, without any server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allsky360.arrays import Array
from allsky360.arrays.gpu_faults import gpu_fault
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.imaging.display import render_picture
from allsky360.imaging.encode import SUFFIXES, PictureFormat, check_format, encode
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import finish
from allsky360.imaging.steps import StepLog
from allsky360.model import Bracket, Exposure
from allsky360.processing.chain import (
    backend_for,
    judge_or_none,
    look_or_none,
    masters_for,
    site_or_none,
    sky_hints,
    with_overlay,
)
from allsky360.processing.gpu_fallback import free_memory
from allsky360.processing.previous import Before
from allsky360.processing.records import plain, provenance_of, sky_record
from allsky360.processing.step_pictures import shown

if TYPE_CHECKING:
    from allsky360.sky.lens_file import LensFile


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileResult:
    """One picture made from files."""

    sources: tuple[str, ...]
    picture: Path
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFailure:
    """One file that gave no picture, and why."""

    source: str
    reason: str


@dataclass
class FilesReport:
    """What :func:`process_files` did."""

    done: list[FileResult] = field(default_factory=list)
    failed: list[FileFailure] = field(default_factory=list)


def process_files(
    paths: Sequence[Path],
    out: Path,
    settings: Settings,
    *,
    bracket: int = 1,
    frames: slice | None = None,
    profile: str | None = None,
    every_step: bool = False,
    lens: LensFile | None = None,
    format: PictureFormat = "jpeg",
    report: Callable[[FileResult | FileFailure], None] | None = None,
) -> FilesReport:
    """Develop files into one picture and one JSON each, without any server.

    Parameters
    ----------
    paths
        Image files; a file may hold many exposures.
    out
        Folder for the results, created if missing.
    settings
        The whole tree.
    bracket
        Merge every so many consecutive exposures, 1 to 5.
    frames
        Which exposures of each file to take; default all.
    profile
        Picture profile, instead of the settings'.
    every_step
        Write the picture after each of its steps too, as ``<name>.1-balance.jpg`` and so on.
    lens
        Lens of the camera, for measuring the sky.
    format
        Of the pictures: "png" is lossless, "webp" and "avif" are smaller and slower than "jpeg".
    report
        Called after each result.

    Returns
    -------
    FilesReport
        A file that cannot be read is in ``failed``; the others are done all the same.
    """
    check_format(format)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AllskyError(
            f"The output folder {out} cannot be made: {error.strerror}.", mend="Choose another."
        ) from error
    parameters = parameters_from(settings)
    if profile is not None:
        if profile != "auto" and profile not in parameters.profiles:
            names = ", ".join(("auto", *parameters.profiles))
            raise AllskyError(f"There is no profile {profile!r}.", mend=f"Take one of {names}.")
        parameters = replace(parameters, profile=profile)
    run = _FileRun(out, settings, parameters, every_step, lens, format, report or (lambda _: None))
    pending: list[tuple[Path, int | None, Exposure]] = []
    for path in paths:
        try:
            for number, exposure in _exposures(path, frames):
                pending.append((path, number, exposure))
                if len(pending) == bracket:
                    group, pending = pending, []
                    run.develop(group)
        except AllskyError as error:
            run.fail(str(path), error.message)
        except OSError as error:
            run.fail(str(path), error.strerror or str(error))
    if pending:
        names = ", ".join(str(p) for p, _, _ in pending)
        run.fail(names, f"{len(pending)} exposures left over, a bracket takes {bracket}")
    return run.result


def _exposures(path: Path, frames: slice | None) -> Iterator[tuple[int | None, Exposure]]:
    """Yield a file's exposures; the number is None where the file holds one."""
    from allsky360.camera.files import read_exposures

    exposures = enumerate(read_exposures(path))
    first = next(exposures, None)
    if first is None:
        raise AllskyError(f"{path} holds no image.")
    second = next(exposures, None)
    if second is None:
        yield None, first[1]
        return
    wanted = range(10**9)[frames] if frames is not None else range(10**9)

    def everything() -> Iterator[tuple[int, Exposure]]:
        yield first
        yield second
        yield from exposures

    for number, exposure in islice(everything(), wanted.stop):
        if number in wanted:
            yield number, exposure


class _FileRun:
    """State of one run over files: tone of the last frame, names already used."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        parameters: ChainParameters,
        every_step: bool,
        lens: LensFile | None,
        format: PictureFormat,
        report: Callable[[FileResult | FileFailure], None],
    ) -> None:
        self.out = out
        self.settings = settings
        self.report = report
        self.parameters = parameters
        self.every_step = every_step
        self.lens = lens
        self.format = format
        self.masters = masters_for(settings)
        self.backend = backend_for(settings)
        self.site = site_or_none(settings)
        self.result = FilesReport()
        self._before = Before()
        self._key: tuple[Any, ...] = ()
        self._names: set[str] = set()

    def fail(self, source: str, reason: str) -> None:
        failure = FileFailure(source, reason)
        self.result.failed.append(failure)
        self.report(failure)

    def develop(self, group: Sequence[tuple[Path, int | None, Exposure]]) -> None:
        """Develop one bracket; an error in it fails its files only, one of the GPU none."""
        names = set(self._names)
        try:
            self._develop(group)
            return
        except Exception as error:
            fault = gpu_fault(error)
            if fault is None or self.backend == "numpy":
                raise
            logger.error("%s: %s; the CPU goes on", fault.kind, fault.words)
        self.backend, self._names = "numpy", names
        free_memory()
        self._develop(group)

    def _develop(self, group: Sequence[tuple[Path, int | None, Exposure]]) -> None:
        begin = time.perf_counter()
        sources = tuple(str(p) if n is None else f"{p}[{n}]" for p, n, _ in group)
        name = self._name(group[0][0], group[0][1])
        try:
            exposures = sorted((e for _, _, e in group), key=lambda e: -e.exposure_s)
            bracket = Bracket(tuple(exposures))
            # Tone and memory are handed on only between frames of one camera.
            first = exposures[0]
            key = (group[0][0].parent, first.camera, first.pixels.shape)
            same = key == self._key
            log = StepLog()
            frame = linearise(
                bracket, self.parameters, log, masters=self.masters, backend=self.backend
            )
            lens = self._lens_for(frame, log)
            memory = self._before.memory if same else None
            look = look_or_none(frame, self.site, lens, log)
            sky = judge_or_none(look, frame, lens, memory, self.parameters, self.settings, log)
            picture = render_picture(
                frame,
                self.parameters,
                log,
                tone=self._before.tone if same else None,
                hints=sky_hints(self.site, first.start, sky, memory),
                watch=self._write_step(name) if self.every_step else None,
            )
            developed = finish(frame, picture, log)
        except (AllskyError, ValueError) as error:
            self.fail(", ".join(sources), str(error))
            return
        self._before, self._key = Before(developed.tone, sky.memory if sky else memory), key
        scalars = developed.statistics | (sky.scalars if sky is not None else {})
        encoded = encode(
            with_overlay(
                developed, frame, lens, self.site, self.parameters, self.settings, scalars
            ),
            format=self.format,
            quality=self.settings.processing.jpeg_quality,
            exposure=first,
            site=self.site,
            facts=scalars,
        )
        path = self.out / f"{name}.{encoded.suffix}"
        record = {"sources": list(sources), "picture": path.name}
        record |= provenance_of(bracket, developed, self.parameters) | sky_record(sky, lens)
        record["statistics"] = plain(scalars)
        path.write_bytes(encoded.data)
        text = json.dumps(record, indent=1, allow_nan=False)
        (self.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        seconds = round(time.perf_counter() - begin, 3)
        done = FileResult(sources, path, seconds, developed.warnings)
        self.result.done.append(done)
        self.report(done)

    def _lens_for(self, frame: LinearFrame, log: StepLog) -> LensFile | None:
        """Return the lens where it is one for frames of this size."""
        if self.lens is None:
            return None
        height, width = frame.image.shape[:2]
        model = self.lens.lens
        if (model.width, model.height) == (width, height):
            return self.lens
        log.warnings.append(
            f"The lens file is for {model.width}x{model.height}, the frame is {width}x{height}."
        )
        return None

    def _write_step(self, name: str) -> Callable[[str, Array], None]:
        """Return what writes each step's picture; a linear one is stretched plainly to be seen."""
        count = 0

        def write(step: str, image: Array) -> None:
            nonlocal count
            count += 1
            quality = self.settings.processing.jpeg_quality
            path = self.out / f"{name}.{count}-{step}.{SUFFIXES[self.format]}"
            path.write_bytes(encode(shown(step, image), format=self.format, quality=quality).data)

        return write

    def _name(self, path: Path, number: int | None) -> str:
        """Name of the results: the file's own without suffixes, made unique within the run."""
        stem = path.name
        for suffix in reversed(path.suffixes):
            if len(suffix) > 6 or suffix[1:].isdigit():
                break
            stem = stem.removesuffix(suffix)
        name = base = (stem or path.name) + ("" if number is None else f"-{number:04d}")
        count = 1
        while name in self._names:
            count += 1
            name = f"{base}-{count}"
        self._names.add(name)
        return name
