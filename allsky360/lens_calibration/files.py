"""Solving the lens of files: no archive, no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from allsky360.camera.file_unknown import MTIME
from allsky360.config import Settings, site_from
from allsky360.errors import AllskyError
from allsky360.lens_calibration.frames import Finder, Seen
from allsky360.lens_solutions import content_of
from allsky360.model import Bracket, Exposure, Site
from allsky360.sky.lens import LensModel
from allsky360.sky.lens_file import LensFile
from allsky360.sky.lens_wcs import equatorial_wcs, horizontal_wcs
from allsky360.sky.solve import LensNotSolved, LensSolution, refine_lens, solve_lens

if TYPE_CHECKING:
    from astropy.io import fits

FIRST = slice(0, 1)


@dataclass(frozen=True, eq=False)
class FileSolved:
    """What came of one frame of a file.

    Attributes
    ----------
    source
        The file, with the frame's number where it is not the first.
    camera
        As the file names it; may be empty.
    seen
        Its stars; None where it could not be read.
    solution
        The lens; None where it was refused.
    reason
        Why not: a reason of :class:`LensNotSolved`, ``unreadable`` or ``no-time``; else empty.
    message
        The same for people.
    """

    source: str
    camera: str = ""
    seen: Seen | None = None
    solution: LensSolution | None = None
    reason: str = ""
    message: str = ""


def solve_files(
    paths: Sequence[Path],
    settings: Settings,
    *,
    site: Site | None = None,
    at: datetime | None = None,
    frames: slice = FIRST,
    report: Callable[[FileSolved], None] | None = None,
) -> list[FileSolved]:
    """Solve the lens of every file.

    Parameters
    ----------
    paths
        Image files; of one that holds many exposures the first is taken, or ``frames``.
    settings
        Masters, black level, and the site where none is given.
    site
        Where the files were taken.
    at
        UTC middle of the exposure, where the file's own time is missing or wrong.
    frames
        Which exposures of each file.
    report
        Called after each frame.

    Returns
    -------
    list of FileSolved
        One a frame, in order; a file that cannot be used is refused and the others go on. The lens
        found last is tried first on the next frame of the same size.

    Raises
    ------
    SettingsError
        No site is known.
    """
    site = site or site_from(settings)
    finder = Finder.of(settings)
    done: list[FileSolved] = []
    hints: dict[tuple[int, int], LensModel] = {}

    def note(result: FileSolved) -> None:
        done.append(result)
        if result.solution is not None and result.seen is not None:
            hints[result.seen.size] = result.solution.lens
        if report is not None:
            report(result)

    for path in paths:
        try:
            for name, exposure in _exposures(path, frames):
                note(_solved(name, exposure, finder, site, at, hints))
        except AllskyError as error:
            note(FileSolved(str(path), reason="unreadable", message=error.message))
    return done


def _exposures(path: Path, frames: slice) -> Iterator[tuple[str, Exposure]]:
    from allsky360.camera.files import read_exposures

    wanted = range(10**9)[frames]
    found = False
    for number, exposure in islice(enumerate(read_exposures(path)), wanted.stop):
        if number in wanted:
            found = True
            yield (f"{path}[{number}]" if number else str(path)), exposure
    if not found:
        raise AllskyError(f"{path} has no such frame.", mend="Give other numbers to --frames.")


def _solved(
    name: str,
    exposure: Exposure,
    finder: Finder,
    site: Site,
    at: datetime | None,
    hints: dict[tuple[int, int], LensModel],
) -> FileSolved:
    if at is None and exposure.metadata.get("time_source") == MTIME:
        return FileSolved(
            name, exposure.camera, reason="no-time", message="the file does not say when; give --at"
        )
    seen = finder.seen(Bracket((exposure,)), name)
    if at is not None:
        seen = replace(seen, middle=at)
    try:
        solution = solve_lens(
            seen.stars, site, seen.middle, seen.width, seen.height, hint=hints.get(seen.size)
        )
    except LensNotSolved as error:
        return FileSolved(name, exposure.camera, seen, None, error.reason, error.message)
    return FileSolved(name, exposure.camera, seen, solution)


def lens_of_files(results: Sequence[FileSolved], site: Site) -> LensFile:
    """Fit one lens to all solved frames and return what to write of it.

    Raises
    ------
    AllskyError
        No frame was solved, or they are not of one camera.
    """
    solved = [(r.seen, r.solution) for r in results if r.seen and r.solution]
    if not solved:
        raise AllskyError("no frame was solved.", mend="Give a clear, dark frame.")
    solution = solved[0][1]
    sizes = {s.size for s, _ in solved}
    if len(sizes) > 1:
        words = ", ".join(f"{w} x {h}" for w, h in sorted(sizes))
        raise AllskyError(
            f"the frames have different sizes ({words}).", mend="Give those of one camera."
        )
    if len(solved) > 1:
        best = max((s for _, s in solved), key=lambda s: s.evidence.log10_odds)
        solution = refine_lens([(s.stars, s.middle) for s, _ in solved], site, best.lens)
    camera = next((r.camera for r in results if r.solution), "")
    return content_of(solution, camera=camera, serial=1)


def wcs_header(lens: LensModel, site: Site, when: datetime) -> fits.Header:
    """Return a FITS header: equatorial at one instant, and horizontal as alternate ``A``.

    Valid for arrays stored as this program keeps them: row 0 is the first row of the file.
    """
    from astropy.io import fits

    header = fits.Header()
    equatorial, _ = equatorial_wcs(lens, site, when)
    for keyword, value, comment in equatorial:
        header[keyword] = (value, comment)
    for keyword, value, comment in horizontal_wcs(lens):
        header[f"{keyword}A"] = (value, comment)
    header["IMAGEW"] = (lens.width, "width of the solved frame, pixels")
    header["IMAGEH"] = (lens.height, "height of the solved frame, pixels")
    header["OBSGEO-B"] = (site.latitude_deg, "latitude, deg")
    header["OBSGEO-L"] = (site.longitude_deg, "longitude, east positive, deg")
    header["OBSGEO-H"] = (site.elevation_m, "height, m")
    header["DATE"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return header
