"""``allsky360 sky transients``: what crossed the sky in a night."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from allsky360.sky.transients import Track, Transient


def transients(
    camera: Annotated[str, typer.Argument(help="Camera; left out: all of the archive.")] = "",
    night: Annotated[str, typer.Argument(help="Night 2026-11-22; left out: the newest.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, an object each.")
    ] = False,
) -> None:
    """List meteors, satellites and aircraft of a night, each over all frames that saw it."""
    from allsky360.cli.sky import nights_asked
    from allsky360.config import load_settings
    from allsky360.sky.transients import tracks

    root = load_settings().storage.root
    for slug, which in nights_asked(root, camera, night):
        frames, unsearched, untold = read_night(root, slug, which)
        found = tracks(list(frames.values()))
        if as_json:
            for track in found:
                typer.echo(json.dumps(track_record(slug, which, track)))
            continue
        typer.echo(f"{slug}, night {which}: {summary(len(frames), len(found), unsearched, untold)}")
        for line in table(found):
            typer.echo(line)


def read_night(root: Path, camera: str, night: date) -> tuple[dict[int, Any], int, int]:
    """Return the searched frames of a night, and how many were not searched, or not processed."""
    from allsky360.archive import Archive, FrameRef
    from allsky360.processing.transients import searched_of

    archive = Archive(root)
    found, unsearched, untold = {}, 0, 0
    for index in range(archive.count(camera, night)):
        record = archive.record(FrameRef(camera, night, index))
        about = record.get("transient_search")
        if not isinstance(about, dict):
            untold += 1
        elif about.get("searched") is not True:
            unsearched += 1
        else:
            found[index] = searched_of(record)
    return found, unsearched, untold


def summary(searched: int, objects: int, unsearched: int, untold: int) -> str:
    """Return one line on what was searched."""
    parts = [f"{objects} objects in {searched} frames searched"]
    if unsearched:
        parts.append(f"{unsearched} could not be searched")
    if untold:
        parts.append(f"{untold} not processed yet, or by an older version")
    return "; ".join(parts)


def table(found: Sequence[Track]) -> list[str]:
    """Return the lines of the table."""
    if not found:
        return []
    head = (
        f"{'UTC':8}  {'kind':9} {'frames':>6} {'time':>6}  {'from alt/az':>13}  {'to alt/az':>13}"
        f" {'mag':>6} {'SNR':>6}  {'id':9}  name"
    )
    return [head, *map(_line, found)]


def track_record(camera: str, night: date, track: Track) -> dict[str, Any]:
    """Return an object as plain values."""
    return {
        "camera": camera,
        "night": night.isoformat(),
        "kind": track.kind,
        "label": track.label,
        "duration_s": track.duration_s,
        "magnitude": track.magnitude,
        "peak_snr": max(p.peak_snr for p in track.parts),
        "streaks": [p.to_json() for p in track.parts],
    }


def _line(track: Track) -> str:
    first, last = track.parts[0], track.parts[-1]
    magnitude = "" if track.magnitude is None else f"{track.magnitude:.1f}"
    return (
        f"{first.start.time[11:19]}  {track.kind:9} {len(track.parts):6d} "
        f"{track.duration_s:5.0f}s  {_direction(first, 'start'):>13}  {_direction(last, 'end'):>13}"
        f" {magnitude:>6} {max(p.peak_snr for p in track.parts):6.1f}  {first.id:9}"
        f"  {track.label or ''}"
    ).rstrip()


def _direction(part: Transient, which: str) -> str:
    end = part.start if which == "start" else part.end
    if end.alt_deg is None or end.az_deg is None:
        return f"({end.x:.0f}, {end.y:.0f})"
    return f"{end.alt_deg:.1f}/{end.az_deg:.1f}"
