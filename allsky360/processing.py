"""Raw to picture with input and output: one archived frame, or a list of files without a server."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.arrays import Array, Backend, best_backend, block_mean, to_host
from allsky360.arrays.tone_curve import quantise
from allsky360.config import Settings, site_from
from allsky360.errors import AllskyError
from allsky360.imaging.calibrate import Masters
from allsky360.imaging.display import SkyHints, render_picture
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.filters.stretch import stretch
from allsky360.imaging.linear import LinearFrame, linearise
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import Developed, finish
from allsky360.imaging.steps import StepLog
from allsky360.imaging.tone import Tone, knows_exposure
from allsky360.masters import load_masters, masters_stamp
from allsky360.model import Bracket, Exposure, Site

if TYPE_CHECKING:
    from allsky360.archive import Archive, FrameRef
    from allsky360.measure.frame import Measurement
    from allsky360.measure.memory import SkyMemory
    from allsky360.sky.lens_file import LensFile


log = logging.getLogger(__name__)

LINEAR_PIXELS = 1_500_000
"""Size of the archived linear frame: photometry of the sky, not of stars, is read from it."""

LOOK_BACK = 5
"""Frames searched backwards for a tone and a memory to continue."""

NIGHTS_BACK = 3
"""Earlier nights searched for what clear air looks like."""

MEASURE_VERSION = 1

T = TypeVar("T")


def backend_for(settings: Settings) -> Backend:
    """Return the backend frames are developed on: the GPU where there is one and it may be used."""
    return "numpy" if settings.dask.gpu == "never" else best_backend()


def masters_for(settings: Settings) -> Masters | None:
    """Return the frames of ``processing.dark_root``; read again only when a file in it changed."""
    root = settings.processing.dark_root
    return None if root is None else _cached_masters(root, masters_stamp(root))


@lru_cache(maxsize=1)
def _cached_masters(root: Path, stamp: tuple[tuple[str, int, int], ...]) -> Masters:
    return load_masters(root)


def provenance_of(
    bracket: Bracket, developed: Developed, parameters: ChainParameters
) -> dict[str, Any]:
    """Everything that says how a frame came about; plain JSON values."""
    record: dict[str, Any] = _plain(
        {
            "software": f"allsky360 {__version__}",
            "processed": datetime.now(UTC).isoformat(),
            "camera": bracket.exposures[0].camera,
            "start": bracket.start.isoformat(),
            "exposures": [_exposure_record(e) for e in bracket.exposures],
            "parameters": asdict(parameters),
            "parameters_digest": parameters.digest(),
            "steps": [asdict(s) for s in developed.steps],
            "statistics": developed.statistics,
            "tone": developed.tone.to_json(),
            "warnings": list(developed.warnings),
        }
    )
    return record


def _exposure_record(exposure: Exposure) -> dict[str, Any]:
    return {
        "start": exposure.start.isoformat(),
        "exposure_s": exposure.exposure_s,
        "gain": exposure.gain,
        "offset": exposure.offset,
        "temperature_c": exposure.temperature_c,
        "pattern": exposure.pattern,
        "shape": list(exposure.pixels.shape),
        "metadata": exposure.metadata,
    }


def _plain(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN by null, tuples by lists, anything else by its text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


# -- one archived frame ---------------------------------------------------------------------------


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

    begin = time.perf_counter()
    archive = Archive(root)
    parameters = parameters_from(settings)
    bracket = archive.bracket(ref)
    site = archive.site(ref.camera, ref.night) or _site_or_none(settings)
    before = _previous(archive, ref)
    log = StepLog()
    frame = linearise(
        bracket, parameters, log, masters=masters_for(settings), backend=backend_for(settings)
    )
    lens = _lens_for(root, ref.camera, frame, log)
    sky = _measure(frame, site, lens, before.memory, parameters, log)
    picture = render_picture(
        frame, parameters, log, tone=before.tone, hints=sky_hints(site, bracket.start, sky)
    )
    developed = finish(frame, picture, log)
    scalars = developed.statistics | (sky.scalars if sky is not None else {})
    jpeg = encode_jpeg(
        developed.picture,
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
    )
    record: dict[str, Any] = _plain(
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


def _lens_for(root: Path, camera: str, frame: LinearFrame, log: StepLog) -> LensFile | None:
    """Return the camera's lens; a file that cannot be read costs the measurement, not the frame."""
    from allsky360.lenses import current_lens

    height, width = frame.image.shape[:2]
    try:
        return current_lens(root, camera, width, height)
    except AllskyError as error:
        log.warnings.append(f"The sky was not measured: {error.message}")
        return None


def _measure(
    frame: LinearFrame,
    site: Site | None,
    lens: LensFile | None,
    memory: SkyMemory | None,
    parameters: ChainParameters,
    steps: StepLog,
) -> Measurement | None:
    """Measure a frame where the site is known; what goes wrong costs the numbers, not the frame."""
    if site is None or not knows_exposure(frame.reference):
        return None
    from allsky360.measure.frame import measure_frame

    try:
        with steps.step("measure", MEASURE_VERSION) as note:
            sky = measure_frame(
                frame,
                site,
                lens=lens.lens if lens is not None else None,
                memory=memory,
                day_white_balance=(parameters.red, parameters.blue),
            )
            note["seconds"] = sky.seconds
    except (AllskyError, ValueError, ArithmeticError, LookupError) as error:
        log.exception("measuring failed")
        steps.warnings.append(f"The sky was not measured: {type(error).__name__}: {error}")
        return None
    return sky


def sky_record(sky: Measurement | None, lens: LensFile | None) -> dict[str, Any]:
    """Return what a frame's record says about its measurement beside the numbers."""
    if sky is None:
        return {}
    about = None
    if lens is not None:
        about = {"serial": lens.serial, "solved": lens.solved.isoformat()}
    words: dict[str, Any] = _plain(
        {"sky": sky.words | {"lens": about, "memory": sky.memory.to_json()}}
    )
    return words


def reduce_linear(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a linear frame over whole blocks until it has at most ``LINEAR_PIXELS`` pixels."""
    size = math.ceil(math.sqrt(linear.shape[0] * linear.shape[1] / LINEAR_PIXELS))
    reduced: NDArray[np.float32] = block_mean(np.ascontiguousarray(linear), size)
    return reduced


@dataclass(frozen=True)
class _Before:
    """What the frames before hand on."""

    tone: Tone | None = None
    memory: SkyMemory | None = None


def _previous(archive: Archive, ref: FrameRef) -> _Before:
    """Read the newest processed frame before this one, so that pictures do not flicker.

    Frames are developed side by side, so the one just before may not be there yet. What clear air
    looks like is remembered from the night before, too.
    """
    tone = memory = None
    for index in range(ref.index - 1, max(ref.index - 1 - LOOK_BACK, -1), -1):
        provenance = _provenance(archive, replace(ref, index=index))
        tone = tone or _read_part(provenance, Tone.from_json, "tone")
        memory = memory or _read_part(provenance, _memory_from_json, "sky", "memory")
        if tone is not None and memory is not None:
            break
    if memory is None:
        memory = _memory_of_an_earlier_night(archive, ref)
    return _Before(tone, memory)


def _memory_of_an_earlier_night(archive: Archive, ref: FrameRef) -> SkyMemory | None:
    """Search the last frames of the nights before; the verdict of another night is not kept."""
    earlier = [n for n in archive.nights(ref.camera) if n < ref.night]
    for night in sorted(earlier, reverse=True)[:NIGHTS_BACK]:
        last = archive.count(ref.camera, night) - 1
        for index in range(last, max(last - LOOK_BACK, -1), -1):
            provenance = _provenance(archive, replace(ref, night=night, index=index))
            found = _read_part(provenance, _memory_from_json, "sky", "memory")
            if found is not None:
                return replace(found, safety=type(found.safety)())
    return None


def _memory_from_json(data: dict[str, Any]) -> SkyMemory:
    from allsky360.measure.memory import SkyMemory

    return SkyMemory.from_json(data)


def _provenance(archive: Archive, ref: FrameRef) -> dict[str, Any]:
    try:
        found = archive.record(ref)["provenance"]
    except (AllskyError, OSError, KeyError, TypeError, ValueError) as error:
        log.debug("no record of frame %s: %s", ref.id, error)
        return {}
    return found if isinstance(found, dict) else {}


def _read_part(data: dict[str, Any], read: Callable[[dict[str, Any]], T], *path: str) -> T | None:
    """Read one part of a record; None where it is missing or another version wrote it."""
    part: Any = data
    for key in path:
        part = part.get(key) if isinstance(part, dict) else None
    if part is None:
        return None
    try:
        return read(part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.debug("%s of a record cannot be read: %s", ".".join(path), error)
        return None


def sky_hints(site: Site | None, when: datetime, sky: Measurement | None = None) -> SkyHints:
    """Return what the calendar says about the sky: the Sun, and how much the Moon lights it.

    A full Moon lights the sky about ten times as much as a half Moon; its light grows with
    altitude until about 30 degrees.
    """
    if site is None:
        return SkyHints()
    from allsky360.sky.ephemeris import EphemerisError, sun_moon

    try:
        moon = sun_moon(site, when)
    except EphemerisError as error:
        log.warning("the Moon is not known: %s", error)
        return SkyHints()
    height = min(max((moon.moon_altitude_deg + 1.0) / 31.0, 0.0), 1.0)
    moonlight = height * moon.moon_illumination**3
    clouds = sky.scalars.get("cloud_fraction", 0.0) if sky is not None else 0.0
    return SkyHints(moonlight, clouds, moon.sun_altitude_deg)


def _site_or_none(settings: Settings) -> Site | None:
    if settings.site.latitude_deg is None or settings.site.longitude_deg is None:
        return None
    return site_from(settings)


# -- files ----------------------------------------------------------------------------------------


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
    report: Callable[[FileResult | FileFailure], None] | None = None,
) -> FilesReport:
    """Develop files into one JPEG and one JSON each, without any server.

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
    report
        Called after each result.

    Returns
    -------
    FilesReport
        A file that cannot be read is in ``failed``; the others are done all the same.
    """
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
    run = _FileRun(out, settings, parameters, every_step, lens, report or (lambda _: None))
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
        report: Callable[[FileResult | FileFailure], None],
    ) -> None:
        self.out = out
        self.settings = settings
        self.report = report
        self.parameters = parameters
        self.every_step = every_step
        self.lens = lens
        self.masters = masters_for(settings)
        self.backend = backend_for(settings)
        self.site = _site_or_none(settings)
        self.result = FilesReport()
        self._before = _Before()
        self._key: tuple[Any, ...] = ()
        self._names: set[str] = set()

    def fail(self, source: str, reason: str) -> None:
        failure = FileFailure(source, reason)
        self.result.failed.append(failure)
        self.report(failure)

    def develop(self, group: Sequence[tuple[Path, int | None, Exposure]]) -> None:
        """Develop one bracket; an error in it fails its files only."""
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
            sky = _measure(frame, self.site, lens, memory, self.parameters, log)
            picture = render_picture(
                frame,
                self.parameters,
                log,
                tone=self._before.tone if same else None,
                hints=sky_hints(self.site, first.start, sky),
                watch=self._write_step(name) if self.every_step else None,
            )
            developed = finish(frame, picture, log)
        except (AllskyError, ValueError) as error:
            self.fail(", ".join(sources), str(error))
            return
        self._before, self._key = _Before(developed.tone, sky.memory if sky else memory), key
        scalars = developed.statistics | (sky.scalars if sky is not None else {})
        jpeg = encode_jpeg(
            developed.picture,
            quality=self.settings.processing.jpeg_quality,
            exposure=first,
            site=self.site,
            facts=scalars,
        )
        path = self.out / f"{name}.jpg"
        record = {"sources": list(sources), "picture": path.name}
        record |= provenance_of(bracket, developed, self.parameters) | sky_record(sky, lens)
        record["statistics"] = _plain(scalars)
        path.write_bytes(jpeg)
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
            chosen = FILTERS.get(step)
            if step != "stretch" and (chosen is None or chosen.domain == "linear"):
                image = stretch(image)
            pixels = to_host(quantise(image))
            quality = self.settings.processing.jpeg_quality
            path = self.out / f"{name}.{count}-{step}.jpg"
            path.write_bytes(encode_jpeg(pixels, quality=quality))

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
