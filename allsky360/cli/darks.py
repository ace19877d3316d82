"""``allsky360 darks take | build | list | check``: the library of master bias, dark and flat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from allsky360.darks import BuildReport, Built

app = typer.Typer(help="Take, build, list and check master frames.", no_args_is_help=True)


@app.command()
def take(
    exposures: Annotated[list[float], typer.Argument(help="Exposure times of darks, seconds.")],
    count: Annotated[int, typer.Option(min=0, max=500, help="Darks of each time.")] = 20,
    biases: Annotated[int, typer.Option(min=0, max=500, help="Biases.")] = 40,
    flats: Annotated[int, typer.Option(min=0, max=500, help="Flats: light the lens.")] = 0,
    flat_exposure: Annotated[float, typer.Option(min=0, help="Exposure of a flat, seconds.")] = 1.0,
    gain: Annotated[
        float | None, typer.Option(help="Camera units; left out: as the camera is.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the single frames.")] = False,
) -> None:
    """Cover the lens, then take frames through the running owner and build masters of them."""
    from datetime import UTC, datetime

    from allsky360.config import load_settings
    from allsky360.darks import Order
    from allsky360.darks import take as take_frames
    from allsky360.masters import master_folder
    from allsky360.net import netloc
    from allsky360.owner.client import OwnerClient

    settings = load_settings()
    order = Order(tuple(exposures), count, gain, biases, flats, flat_exposure)
    run_id = f"darks-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    with OwnerClient(f"http://{netloc(settings.owner.host, settings.owner.port)}") as owner:
        report = take_frames(owner, settings, order, run_id=run_id, keep=keep, tell=_event)
    for made in report.built:
        _built(made)
    _finish(report)
    typer.echo(f"applied from the next frame on: {master_folder(settings)}")


@app.command()
def build(
    paths: Annotated[list[Path], typer.Argument(help="Frames, or folders of frames.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; left out: that of the settings.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="bias, dark or flat, for files that do not say it.")
    ] = "",
) -> None:
    """Build masters of frames taken with any program."""
    from allsky360.config import load_settings
    from allsky360.darks import KINDS
    from allsky360.darks import build as build_masters
    from allsky360.masters import master_folder

    if kind and kind not in KINDS:
        raise typer.BadParameter("say bias, dark or flat", param_hint="--kind")
    folder = out if out is not None else master_folder(load_settings())
    _finish(build_masters(paths, folder, kind=kind or None, report=_built))


@app.command("list")
def list_masters() -> None:
    """List the masters at hand."""
    from allsky360.config import load_settings
    from allsky360.masters import load_masters, master_folder

    masters = load_masters(master_folder(load_settings()))
    for m in masters.frames:
        size = f"{m.pixels.shape[1]}x{m.pixels.shape[0]} bin {m.binning}"
        what = f"{m.kind:<4} {m.exposure_s:>9.6g} s  gain {_number(m.gain)}"
        noise = f"{m.frames or '?'} frames of noise {_number(m.noise_adu)}"
        typer.echo(f"{what}  {_number(m.temperature_c)} C  {size}  {noise}  {m.date}  {m.name}")
    typer.echo(f"{len(masters.frames)} masters")


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Frames; left out: the archive's newest.")
    ] = None,
) -> None:
    """Say which masters each exposure would get, or why none; exits with 1 if any gets none."""
    from itertools import islice

    from allsky360.camera.files import read_exposures
    from allsky360.config import load_settings
    from allsky360.darks import check as check_masters
    from allsky360.darks import latest_exposures
    from allsky360.masters import load_masters, master_folder

    settings = load_settings()
    masters = load_masters(master_folder(settings))
    exposures = (
        [e for path in files for e in islice(read_exposures(path), 1)]
        if files
        else list(latest_exposures(settings))
    )
    lacking = 0
    for item in check_masters(masters, exposures):
        lacking += not item.used
        head = f"{item.exposure_s:g} s, gain {_number(item.gain)}, {_number(item.temperature_c)} C"
        typer.echo(f"{head}: {', '.join(item.used) or 'nothing fits'}")
        for problem in item.problems:
            typer.echo(f"  {problem}")
    if lacking:
        raise typer.Exit(1)


def _event(event: dict[str, Any]) -> None:
    if event.get("event") == "frame":
        celsius = _number(event.get("temperature_c"))
        typer.echo(f"{event['kind']} {event['number']}: {event['exposure_s']:g} s, {celsius} C")
    elif event.get("event") == "fault":
        typer.echo(f"fault {event.get('name')}: {event.get('message')}", err=True)


def _built(made: Built) -> None:
    typer.echo(
        f"{made.path}: {made.frames} frames, noise {made.noise_adu:.2f} ADU, {made.hot} hot and"
        f" {made.unstable} unstable pixels"
    )
    for name in made.left_out:
        typer.echo(f"  left out for its level: {name}")


def _finish(report: BuildReport) -> None:
    for source, reason in report.failed:
        typer.echo(f"failed: {source}: {reason}", err=True)
    typer.echo(f"{len(report.built)} masters, {len(report.failed)} frames failed")
    if report.failed:
        raise typer.Exit(1)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
