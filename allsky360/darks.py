"""The library of masters: frames taken, masters built of them, listed and checked.

Frames are grouped by what a master must share (camera, kind, size, binning, gain, offset, exposure
time, and temperature to a degree) and each group becomes one file of
:func:`allsky360.masters.master_folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive
from allsky360.archive.layout import camera_slug
from allsky360.camera.errors import CameraError
from allsky360.camera.files import read_exposures
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.imaging.defects import find_hot
from allsky360.imaging.flat import flat_for
from allsky360.imaging.master import MasterMismatch, Masters
from allsky360.imaging.match import pedestal_for
from allsky360.imaging.stack import Stack, frame_levels, stack
from allsky360.masters import load_masters, master_folder
from allsky360.masters_write import MasterFacts, write_master
from allsky360.model import Exposure

KINDS = ("bias", "dark", "flat")
SAME_C = 1.0
FEWEST_ADVISED = 10


class DarksError(AllskyError):
    """Masters cannot be made of these frames."""


@dataclass(frozen=True)
class Built:
    """One master that was written."""

    path: Path
    kind: str
    exposure_s: float
    frames: int
    left_out: tuple[str, ...]
    noise_adu: float
    hot: int
    unstable: int


@dataclass
class BuildReport:
    """What :func:`build` did; a file in ``failed`` with its reason stopped nothing else."""

    built: list[Built] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    path: Path
    about: Exposure  # without its pixels


# -- building ---------------------------------------------------------------------------------


def build(
    paths: Sequence[Path],
    out: Path,
    *,
    kind: str | None = None,
    bias: Masters | None = None,
    report: Callable[[Built], None] | None = None,
) -> BuildReport:
    """Make masters of frames.

    Parameters
    ----------
    paths
        Files, or folders of files; whatever the camera room can read.
    out
        Folder for the masters, created if missing.
    kind
        "bias", "dark" or "flat", for files that do not say it; default what they say.
    bias
        Masters to take the pedestal of flats off with; those built here are used too.
    report
        Called after each.

    Raises
    ------
    DarksError
        No file among the paths.
    """
    files = sorted(_files(paths))
    if not files:
        raise DarksError("There is no file to build masters of.", mend="Name FITS files.")
    result = BuildReport()
    frames = []
    for path in files:
        try:
            shot = next(iter(read_exposures(path)))
        except (CameraError, OSError, StopIteration) as error:
            result.failed.append((str(path), str(error) or "holds no image"))
            continue
        one: Any = np.broadcast_to(shot.pixels.flat[0], shot.pixels.shape)
        about = replace(shot, pixels=one)  # of the frames' pixels only the size is kept
        if kind is not None:
            about = replace(about, frame_type=kind)  # type: ignore[arg-type]
        if about.frame_type not in KINDS:
            result.failed.append((str(path), "does not say that it is a bias, a dark or a flat"))
            continue
        frames.append(_Frame(path, about))
    # Flats last: the biases made here take their pedestal off.
    groups = sorted(group_frames(frames), key=_in_order)
    known = list(bias.frames) if bias is not None else []
    for group in groups:
        try:
            made = _build_one(group, out, Masters(tuple(known)))
        except (AllskyError, ValueError, OSError) as error:
            result.failed += [(str(f.path), str(error)) for f in group]
            continue
        if made.kind != "flat":
            known += [m for m in load_masters(out).frames if m.name == made.path.name]
        result.built.append(made)
        if report is not None:
            report(made)
    return result


def group_frames(frames: Sequence[_Frame]) -> list[list[_Frame]]:
    """Group frames that can be averaged."""
    keyed: dict[tuple[Any, ...], list[_Frame]] = {}
    for frame in frames:
        a = frame.about
        time = 0.0 if a.frame_type != "dark" else float(f"{a.exposure_s:.3g}")
        key = (a.camera, a.frame_type, a.pixels.shape, a.binning, a.pattern, a.gain, a.offset, time)
        keyed.setdefault(key, []).append(frame)
    groups: list[list[_Frame]] = []
    for alike in keyed.values():
        part: list[_Frame] = []
        for frame in sorted(alike, key=lambda f: f.about.temperature_c or 0.0):
            dark = frame.about.frame_type == "dark"
            if part and dark and _celsius(frame) - _celsius(part[0]) > SAME_C:
                groups.append(part)
                part = []
            part.append(frame)
        groups.append(part)
    return groups


def _in_order(group: Sequence[_Frame]) -> tuple[int, float, float]:
    about = group[0].about
    return KINDS.index(about.frame_type), about.exposure_s, _celsius(group[0])


def _celsius(frame: _Frame) -> float:
    return frame.about.temperature_c or 0.0


def _build_one(group: Sequence[_Frame], out: Path, known: Masters) -> Built:
    ordered = sorted(group, key=lambda f: f.about.start)
    first = ordered[0].about

    def raw() -> Iterator[NDArray[Any]]:
        for frame in ordered:
            yield next(iter(read_exposures(frame.path))).pixels

    result = _stack_flats(raw, first, known) if first.frame_type == "flat" else stack(raw)
    warm = [f.about.temperature_c for f in ordered if f.about.temperature_c is not None]
    celsius = float(np.mean(warm)) if warm else None
    hot = 0
    if first.frame_type == "dark" and result.mean.ndim == 2:
        mosaic = first.pattern is not None
        hot = int(find_hot(result.mean, mosaic=mosaic, noise_adu=result.noise).size)
    path = out / master_name(first, celsius)
    names = tuple(ordered[k].path.name for k in result.used)
    write_master(path, result, first, MasterFacts(celsius, names, hot))
    left_out = tuple(ordered[k].path.name for k in result.odd)
    exposure_s = 0.0 if first.frame_type == "bias" else first.exposure_s
    return Built(
        path, first.frame_type, exposure_s, len(result.used), left_out, result.noise, hot,
        int(result.unstable.size),
    )  # fmt: skip


def _stack_flats(
    raw: Callable[[], Iterator[NDArray[Any]]], first: Exposure, known: Masters
) -> Stack:
    """Average flats, each brought to the brightness of the first, with their pedestal off."""
    pedestal: NDArray[np.float32] | np.float32 = np.float32(0.0)
    try:
        pedestal = pedestal_for(replace(first, frame_type="light"), known).pixels
    except MasterMismatch as error:
        raise DarksError(
            f"Flats need a bias or dark: {error.message}", mend="Build the biases too."
        ) from error

    def light() -> Iterator[NDArray[Any]]:
        for frame in raw():
            yield frame.astype(np.float32) - pedestal

    levels = frame_levels(light)
    for number, level in enumerate(levels):
        if not 0.02 * first.saturation_adu < level < 0.85 * first.saturation_adu:
            raise DarksError(
                f"Flat {number + 1} has a level of {level:.0f} ADU; a flat needs 2 to 85 % of"
                f" {first.saturation_adu:.0f}.",
                mend="Take flats with another exposure time.",
            )
    return stack(light, scale=[levels[0] / level for level in levels])


def master_name(like: Exposure, temperature_c: float | None) -> str:
    """Return the file name of a master."""
    parts = ["master", like.frame_type, camera_slug(like.camera) if like.camera else "camera"]
    if like.frame_type == "dark":
        parts.append(f"{like.exposure_s:.3g}s")
    if like.frame_type != "flat":
        parts += [f"g{like.gain:g}"] if like.gain is not None else []
        parts += [f"o{like.offset:g}"] if like.offset is not None else []
        parts += [f"{temperature_c:+.0f}C"] if temperature_c is not None else []
    parts.append(f"{like.pixels.shape[1]}x{like.pixels.shape[0]}b{like.binning}")
    return "_".join(parts) + ".fits"


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            yield path


# -- taking -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What to take: ``count`` biases, and ``count`` darks of each exposure time."""

    exposures_s: tuple[float, ...]
    count: int = 20
    gain: float | None = None
    biases: int = 40
    flats: int = 0
    flat_exposure_s: float = 1.0


class OwnerLike(Protocol):
    """The part of the owner's client that is needed here."""

    def calibration(
        self, kind: str, exposure_s: float, count: int, *, gain: float | None = None, run_id: str
    ) -> Iterator[dict[str, Any]]:
        """Take frames."""
        ...


def take(
    owner: OwnerLike,
    settings: Settings,
    order: Order,
    *,
    run_id: str,
    keep: bool = False,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> BuildReport:
    """Take frames with the camera and make masters of them.

    Parameters
    ----------
    owner
        The camera owner; bursts wait meanwhile.
    settings
        The whole tree.
    order
        What to take. The lens must be covered for darks, evenly lit for flats.
    run_id
        Names the folder of the frames.
    keep
        Leave the single frames where they are.
    tell
        Called with every event of the owner.

    Raises
    ------
    DarksError
        The owner gave up; masters of the sets taken before it are built all the same.
    """
    sets = [("bias", 0.0, order.biases)] + [("dark", t, order.count) for t in order.exposures_s]
    sets.append(("flat", order.flat_exposure_s, order.flats))
    taken: list[Path] = []
    failure: dict[str, Any] | None = None
    for kind, exposure_s, count in sets:
        if count == 0 or failure is not None:
            continue
        for event in owner.calibration(kind, exposure_s, count, gain=order.gain, run_id=run_id):
            if tell is not None:
                tell(event)
            if event.get("event") == "frame":
                taken.append(settings.storage.root / str(event["file"]))
            elif event.get("event") == "failed":
                failure = event
    result = build(taken, master_folder(settings)) if taken else BuildReport()
    if not keep:
        built = {str(path) for path in taken} - {name for name, _ in result.failed}
        for path in taken:
            if str(path) in built:
                path.unlink(missing_ok=True)
        for folder in {path.parent for path in taken}:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    if failure is not None:
        raise DarksError(
            f"The camera owner gave up: {failure.get('name')}: {failure.get('message')}"
            f" {len(result.built)} masters were built.",
            mend="Mend that and take the rest.",
        )
    return result


# -- checking ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """Whether there are masters for one exposure.

    Attributes
    ----------
    exposure_s, gain, temperature_c
        Of the exposure.
    used
        What would be subtracted; empty where nothing fits.
    problems
        What is wrong or missing.
    """

    exposure_s: float
    gain: float | None
    temperature_c: float | None
    used: tuple[str, ...]
    problems: tuple[str, ...]


def check(masters: Masters, exposures: Sequence[Exposure]) -> list[Checked]:
    """Say for each exposure which masters would be used, or why none."""
    found = []
    for e in exposures:
        used: tuple[str, ...] = ()
        problems: list[str] = []
        try:
            pedestal = pedestal_for(e, masters)
            used = pedestal.used
            problems += pedestal.notes
        except MasterMismatch as error:
            problems.append(error.message)
        try:
            flat = flat_for(e, masters)
            used += (flat.name,) if flat is not None else ()
        except MasterMismatch as error:
            problems.append(error.message)
        found.append(Checked(e.exposure_s, e.gain, e.temperature_c, used, tuple(problems)))
    few = [m for m in masters.frames if 0 < m.frames < FEWEST_ADVISED and m.kind != "flat"]
    if few and found:
        names = ", ".join(m.name for m in few)
        note = f"made of fewer than {FEWEST_ADVISED} frames, so noisy: {names}"
        found[0] = replace(found[0], problems=(*found[0].problems, note))
    return found


def latest_exposures(settings: Settings) -> tuple[Exposure, ...]:
    """Return the exposures of the newest frame of the archive.

    Raises
    ------
    DarksError
        There is none.
    """
    archive = Archive(settings.storage.root)
    latest = archive.latest()
    if latest is None:
        raise DarksError(
            f"There is no frame below {settings.storage.root} to check the masters against.",
            mend="Capture one first, or name files.",
        )
    return archive.bracket(latest.ref).exposures
