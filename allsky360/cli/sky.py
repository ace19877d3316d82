"""``allsky360 sky now | overlay``: what stands in the sky, and its names on a picture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from allsky360.model import Exposure

app = typer.Typer(help="Sun, Moon, planets, stars; overlays.", no_args_is_help=True)

At = Annotated[str | None, typer.Option(help="UTC instant, ISO 8601. Default: see the command.")]


@app.command()
def now(at: At = None) -> None:
    """Say what stands in the sky, and when this night begins and ends (default: now)."""
    from allsky360.config import clock_from, load_settings, site_from
    from allsky360.sky.report import sky_report

    settings = load_settings()
    when = instant(at) if at else clock_from(settings).now()
    typer.echo(sky_report(site_from(settings), when))


@app.command()
def overlay(
    picture: Annotated[Path, typer.Argument(help="8-bit picture (JPEG, PNG, TIFF).")],
    lens: Annotated[Path, typer.Option(help="Lens file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help=".svg, .png or .jpg; the last two hold the picture.")
    ],
    at: At = None,
    layer: Annotated[
        bool, typer.Option("--layer", help="PNG: only the overlay, on nothing.")
    ] = False,
) -> None:
    """Draw names, figures and grids over a picture, as [overlay] of the settings says.

    The time is the middle of the exposure; left out, it is read from the picture.
    """
    from allsky360.config import load_settings, site_from
    from allsky360.overlay import layout
    from allsky360.overlay.files import read_lens, write_overlay
    from allsky360.overlay.fit import fitted

    settings = load_settings()
    exposure = _exposure(picture)
    when = instant(at) if at else _middle(exposure)
    height, width = exposure.pixels.shape[:2]
    scene = layout(
        fitted(read_lens(lens), width, height),
        site_from(settings),
        when,
        settings.overlay,
        {"exposure_s": exposure.exposure_s or None, "gain": exposure.gain},
    )
    write_overlay(out, scene, None if layer else exposure.pixels)
    typer.echo(f"{out}  {len(scene.texts)} labels")


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no ISO 8601 instant such as 2026-11-22T21:00:00Z", param_hint="--at"
        ) from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _exposure(picture: Path) -> Exposure:
    from allsky360.camera.files import read_exposures

    return next(iter(read_exposures(picture)))


def _middle(exposure: Exposure) -> datetime:
    return exposure.start + (exposure.end - exposure.start) / 2
