"""One night of one camera: solve, refine over many frames, compare with the lens that counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.archive import Archive, FrameRecord, FrameRef
from allsky360.config import Settings, clock_from, site_from
from allsky360.errors import AllskyError
from allsky360.lens_calibration.choose import FEW_STARS, choose, dark_frames
from allsky360.lens_calibration.due import night_over
from allsky360.lens_calibration.frames import Finder, Seen
from allsky360.lens_history import NightEntry, Outcome, note_night, read_history
from allsky360.lens_solutions import save_lens, solution_of
from allsky360.lenses import current_lens, newest_lens
from allsky360.model import Site
from allsky360.sky.lens import LensModel
from allsky360.sky.lens_drift import DriftError, LensDrift, lens_drift
from allsky360.sky.lens_file import LensFile, LensFileError
from allsky360.sky.solve import LensNotSolved, LensSolution, refine_lens, solve_lens

log = logging.getLogger(__name__)

FRAMES = 12
"""Frames of a night a lens is fitted to."""

MOST_READ = 20
"""Frames read in search of them."""

BLIND_TRIES = 3
"""Frames that are solved from nothing before the night is given up."""

SIGNIFICANT = 5.0
"""Sigmas from which a drift is believed."""

WORTHWHILE_PX = 0.2
"""Move of the picture, RMS above 30 degrees, from which a new lens file is written."""

FEW_FRAMES = 3
"""A lens of fewer frames is replaced once there are three times as many."""


_AGAIN = "; looked at again: "


class CalibrationError(AllskyError):
    """A night that cannot be calibrated for a reason that lies not in the sky."""


@dataclass(frozen=True, eq=False)
class NightReport:
    """What was done.

    Attributes
    ----------
    camera
        Slug.
    entry
        As noted in the history.
    lens
        The file that counts now; None where there is none.
    solution
        This night's own; None where it was refused.
    drift
        From the file that counted before; None where there was none or it cannot be compared.
    """

    camera: str
    entry: NightEntry
    lens: LensFile | None
    solution: LensSolution | None = None
    drift: LensDrift | None = None


def calibrate_night(
    root: Path,
    camera: str,
    night: date,
    settings: Settings,
    *,
    force: bool = False,
    now: datetime | None = None,
) -> NightReport:
    """Solve the lens from a night's frames; write a lens file where there was none or it moved.

    Running it again on the same night finds the lens it wrote unmoved and writes nothing.

    Parameters
    ----------
    root
        Folder of the archive.
    camera
        Device name or slug.
    night
        Which night.
    settings
        Masters and black level; the site where the archive does not say it.
    force
        Write a lens file whatever the drift.
    now
        Default: the settings' clock.

    Raises
    ------
    CalibrationError
        The archive holds no such night.
    """
    archive = Archive(root)
    slug = archive.slug(camera)
    records = archive.frames(slug, night)
    if not records:
        raise CalibrationError(
            f"the archive holds no frame of {slug} in the night {night}.",
            mend="'allsky360 sky lens' lists cameras; give a night as 2026-11-22.",
        )
    site = archive.site(slug, night) or site_from(settings)
    over = night_over(site, night, now or clock_from(settings).now())
    job = _Job(archive, slug, night, site, over, len(records))
    try:
        tonight = _solve_night(job, records, settings)
    except (LensNotSolved, _NothingToSolve) as error:
        return _refused(job, error.reason, error.message)
    return _compared(job, tonight, force)


@dataclass(frozen=True, eq=False)
class _Job:
    archive: Archive
    camera: str
    night: date
    site: Site
    over: bool
    frames: int

    @property
    def root(self) -> Path:
        return self.archive.root

    def entry(self, outcome: Outcome, reason: str, message: str, **more: Any) -> NightEntry:
        """Note what came of the night; the clock of the computer is meant here, not the sky's."""
        entry = NightEntry(
            self.night, outcome, reason, message, datetime.now(UTC), self.over, self.frames, **more
        )
        note_night(self.root, self.camera, entry)
        return entry


class _NothingToSolve(Exception):
    """No frame worth solving."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def _refused(job: _Job, reason: str, message: str) -> NightReport:
    lens = _newest(job)
    serial = lens.serial if lens is not None else 0
    return NightReport(job.camera, job.entry("refused", reason, message, serial=serial), lens)


def _newest(job: _Job) -> LensFile | None:
    try:
        return newest_lens(job.root, job.camera)
    except LensFileError as error:
        log.warning("%s", error)
        return None


def _current(job: _Job, width: int, height: int) -> LensFile | None:
    """Return the lens that counts; one that cannot be read is replaced, and said."""
    try:
        return current_lens(job.root, job.camera, width, height)
    except LensFileError as error:
        log.warning("%s It will be replaced.", error)
        return None


# -- solving --------------------------------------------------------------------------------------


def _solve_night(job: _Job, records: Sequence[FrameRecord], settings: Settings) -> LensSolution:
    refs = choose(records, job.site, FRAMES)
    if not refs:
        dark = dark_frames(records, job.site)
        if not dark:
            raise _NothingToSolve("no-dark-frames", "the night has no frame in darkness")
        most = max(r.scalars.get("stars_found", 0.0) for r in dark)
        raise _NothingToSolve(
            "too-few-stars", f"none of {len(dark)} dark frames shows more than {most:.0f} stars"
        )
    seen = _read(job, refs, Finder.of(settings, job.archive.root))
    current = _current(job, *seen[0].size)
    hint = current.lens if current is not None else None
    solution = _solve(seen, job.site, hint)
    used = set(solution.whens)
    # A camera that was moved within the night: what counts is how it stands now.
    later = [s for s in seen if s.middle not in used and s.middle > max(used)]
    if len(later) > 1:
        try:
            solution = _solve(later, job.site, hint)
        except LensNotSolved as error:
            log.info("the last %d frames fit no lens: %s", len(later), error.message)
    return solution


def _read(job: _Job, refs: Sequence[FrameRef], finder: Finder) -> list[Seen]:
    """Read frames until enough of one size show stars; the frame with most stars comes first."""
    good: list[Seen] = []
    most = 0
    failure: AllskyError | None = None
    for ref in refs[:MOST_READ]:
        try:
            seen = finder.seen(job.archive.bracket(ref), ref.id)
        except AllskyError as error:  # one damaged frame costs itself only
            log.warning("frame %s is left out: %s", ref.id, error)
            failure = error
            continue
        most = max(most, len(seen.stars))
        if len(seen.stars) >= FEW_STARS:
            good.append(seen)
        if len(good) == FRAMES:
            break
    if not good:
        if failure is not None and most == 0:
            raise _NothingToSolve("unreadable", failure.message)
        raise _NothingToSolve(
            "too-few-stars",
            f"none of {min(len(refs), MOST_READ)} frames tried shows more than {most} stars",
        )
    size, _ = Counter(s.size for s in good).most_common(1)[0]
    return sorted((s for s in good if s.size == size), key=lambda s: -len(s.stars))


def _solve(seen: Sequence[Seen], site: Site, hint: LensModel | None) -> LensSolution:
    """Solve one of the frames, then fit all of them; LensNotSolved is that of the best frame."""
    first: LensSolution | None = None
    for k, frame in enumerate(seen[:BLIND_TRIES]):
        try:
            first = _solved(frame, site, hint, explain=False)
            break
        except LensNotSolved as error:
            log.info("frame %s: %s", frame.name, error.message)
            if error.reason in ("wrong-time", "wrong-site", "tilted") and k == 0:
                raise
    if first is None:
        first = _solved(seen[0], site, hint, explain=True)  # says why
    by_time = sorted(seen, key=lambda s: s.middle)
    return refine_lens([(s.stars, s.middle) for s in by_time], site, first.lens)


def _solved(frame: Seen, site: Site, hint: LensModel | None, *, explain: bool) -> LensSolution:
    return solve_lens(
        frame.stars,
        site,
        frame.middle,
        frame.width,
        frame.height,
        hint=hint,
        explain_failure=explain,
    )


# -- comparing ------------------------------------------------------------------------------------


def _compared(job: _Job, tonight: LensSolution, force: bool) -> NightReport:
    lens = tonight.lens
    current = _current(job, lens.width, lens.height)
    drift: LensDrift | None = None
    reason = ""
    if current is None:
        reason, message = "first", "the first lens of this camera and frame size"
    else:
        try:
            (drift,) = lens_drift([solution_of(current), tonight])
        except DriftError as error:
            reason, message = "other-set-up", f"not comparable with lens {current.serial}: {error}"
        else:
            reason, message = _judged(current, tonight, drift)
    if force and not reason:
        reason, message = "forced", f"written on request; {message}"
    more = {
        "used": len(tonight.whens),
        "rms_px": _finite(tonight.evidence.rms_px),
        "drift": _drift_record(drift, current, lens) if drift and current else None,
    }
    if not reason:
        assert current is not None
        entry = _kept(job, current, tonight, more | {"message": message})
        return NightReport(job.camera, entry, current, tonight, drift)
    written = save_lens(job.root, job.camera, tonight)
    entry = job.entry("written", reason, message, serial=written.serial, **more)
    return NightReport(job.camera, entry, written, tonight, drift)


def _kept(job: _Job, current: LensFile, tonight: LensSolution, more: dict[str, Any]) -> NightEntry:
    """Note that the lens still fits; a night that wrote this very lens goes on saying so."""
    message = str(more.pop("message"))
    before = next((e for e in read_history(job.root, job.camera) if e.night == job.night), None)
    if before is None or before.outcome != "written" or before.serial != current.serial:
        return job.entry("kept", "", message, serial=current.serial, **more)
    if tonight.whens != current.frames:  # the lens was written before the night was over
        first = before.message.split(_AGAIN)[0]
        before = replace(before, message=f"{first}{_AGAIN}{message}", **more)
    again = replace(before, tried=datetime.now(UTC), over=job.over, frames=job.frames)
    note_night(job.root, job.camera, again)
    return again


def _judged(current: LensFile, tonight: LensSolution, drift: LensDrift) -> tuple[str, str]:
    """Return why a new file is needed, empty where it is not, and the words for it."""
    moved = moved_px(drift, tonight.lens)
    words = (
        f"moved by {moved:.2f} px ({drift.significance:.1f} sigma) against lens {current.serial}"
    )
    old, new = len(current.frames), len(tonight.whens)
    if old < FEW_FRAMES and new >= 3 * max(old, 1):
        return "more-frames", f"fitted to {new} frames instead of {old}; {words}"
    if drift.significance < SIGNIFICANT or moved < WORTHWHILE_PX:
        return "", words
    if new < min(old, FEW_FRAMES):
        return "", f"{words}, but only {new} frame(s) say so: the lens is kept"
    return "moved", words


def moved_px(drift: LensDrift, lens: LensModel) -> float:
    """Return the RMS move of the picture above 30 degrees of altitude, pixels."""
    reach = float(lens.radius_px(np.radians(60.0))) / np.sqrt(2.0)
    parts = (
        drift.dx_px,
        drift.dy_px,
        np.radians(drift.rotation_deg) * reach,
        drift.scale * reach,
        drift.residual_px,
    )
    return float(np.sqrt(sum(p * p for p in parts)))


def _drift_record(drift: LensDrift, against: LensFile, lens: LensModel) -> dict[str, Any]:
    values = {k: _finite(v) for k, v in asdict(drift).items() if k != "when"}
    return values | {
        "against": against.serial,
        "moved_px": _finite(moved_px(drift, lens)),
        "significance": _finite(drift.significance),
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
