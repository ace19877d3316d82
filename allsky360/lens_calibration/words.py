"""What was solved, for people: one line a frame, a table a night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allsky360.lens_calibration.files import FileSolved
from allsky360.lens_calibration.night import NightReport
from allsky360.lens_history import NightEntry
from allsky360.lens_solutions import solution_of
from allsky360.sky.lens import LensModel
from allsky360.sky.lens_file import LensFile
from allsky360.sky.solve import LensSolution

ARCMIN_PER_RADIAN = 3437.7467707849396


def arcmin_per_px(lens: LensModel) -> float:
    """Scale on the axis."""
    return ARCMIN_PER_RADIAN / lens.focal_px


def file_line(result: FileSolved) -> str:
    """Return one line: the lens and its evidence, or why there is none."""
    if result.solution is None:
        stars = f"{len(result.seen.stars)} stars, " if result.seen is not None else ""
        return f"{result.source}  refused, {result.reason}: {stars}{result.message}"
    return f"{result.source}  {lens_line(result.solution.lens)}, {evidence_line(result.solution)}"


def lens_line(lens: LensModel) -> str:
    """Return projection, scale, centre, turn, tilt and parity."""
    tilt = (lens.tilt_north_deg**2 + lens.tilt_east_deg**2) ** 0.5
    view = "mirrored" if lens.parity > 0 else "normal"
    return (
        f"{lens.projection} {arcmin_per_px(lens):.3f}'/px, centre {lens.cx:.1f} {lens.cy:.1f}, "
        f"turned {lens.rotation_deg:.2f} deg, tilt {tilt:.2f} deg, {view}"
    )


def evidence_line(solution: LensSolution) -> str:
    """Return stars, residual of those held out, and the odds against chance."""
    e = solution.evidence
    scale = arcmin_per_px(solution.lens)
    return (
        f"{solution.fitted + e.matched} of {solution.stars} stars matched, "
        f"rms {e.rms_px:.2f} px = {e.rms_px * scale:.2f}' (held out), "
        f"chance 1 in 10^{e.log10_odds:.0f}"
    )


def rings_table(solution: LensSolution) -> list[str]:
    """Return the residuals of held-out stars by altitude as a Markdown table."""
    scale = arcmin_per_px(solution.lens)
    lines = ["| altitude | stars | rms px | rms ' | median px |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {r.low_deg:.0f} to {r.high_deg:.0f} deg | {r.stars} | {r.rms_px:.2f} "
        f"| {r.rms_px * scale:.2f} | {r.median_px:.2f} |"
        for r in reversed(solution.evidence.rings)
    ]
    return lines


def drift_line(drift: Mapping[str, Any]) -> str:
    """Return a drift of the history with its sigmas."""

    def value(name: str, sigma: str, digits: int, factor: float = 1.0) -> str:
        number, error = drift.get(name), drift.get(sigma)
        if number is None or error is None:
            return "?"
        return f"{factor * number:+.{digits}f} ± {factor * error:.{digits}f}"

    return (
        f"x {value('dx_px', 'dx_sigma_px', 3)} px, y {value('dy_px', 'dy_sigma_px', 3)} px, "
        f"turn {value('rotation_deg', 'rotation_sigma_deg', 4)} deg, "
        f"scale {value('scale', 'scale_sigma', 1, 1e6)} ppm against lens {drift.get('against')}"
    )


def report_markdown(report: NightReport) -> str:
    """Return what was done with a night, with residuals by altitude and the drift."""
    entry = report.entry
    lines = [f"## {report.camera}, night {entry.night}", "", night_line(entry)]
    if report.solution is not None:
        s = report.solution
        lines += ["", f"{lens_line(s.lens)}", "", f"{evidence_line(s)}, from {entry.used} frame(s)"]
        lines += ["", *rings_table(s)]
        if entry.drift:
            lines += ["", f"Drift: {drift_line(entry.drift)}"]
        lines += ["", *(f"- {w}" for w in s.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def night_line(entry: NightEntry) -> str:
    """Return one line of a night."""
    reason = f" ({entry.reason})" if entry.reason else ""
    lens = f"lens {entry.serial}" if entry.serial else "no lens"
    return f"{entry.night}  {entry.outcome}{reason}, {lens}: {entry.message}"


def file_lines(content: LensFile) -> list[str]:
    """Return a lens file: what it is, how good, from what."""
    s = solution_of(content)
    first, last = (f"{w:%Y-%m-%d %H:%M}" for w in (min(content.frames), max(content.frames)))
    return [
        f"lens {content.serial} of {content.camera}, {content.lens.width} x "
        f"{content.lens.height} px, solved {content.solved:%Y-%m-%d %H:%M} UTC",
        f"  {lens_line(content.lens)}",
        f"  {evidence_line(s)}",
        f"  {len(content.frames)} frame(s), {first} to {last} UTC",
        *(f"  warning: {w}" for w in content.warnings),
        "",
        *rings_table(s),
    ]


def history_lines(entries: Sequence[NightEntry], most: int = 30) -> list[str]:
    """Return the newest nights, drift included."""
    lines = []
    for entry in entries[-most:]:
        lines.append(night_line(entry))
        if entry.drift:
            lines.append(f"            {drift_line(entry.drift)}")
    return lines
