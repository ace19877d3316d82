"""``allsky360 sky now | overlay | solve | calibrate | lens | transients``: the sky, its lens."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allsky360.cli.sky_transients import transients

if TYPE_CHECKING:
    from allsky360.model import Exposure

app = typer.Typer(help="Sun, Moon, planets, stars; overlays; the lens.", no_args_is_help=True)

app.command()(transients)

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


@app.command()
def solve(
    files: Annotated[
        list[Path], typer.Argument(help="FITS, RAW, DNG, TIFF, PNG, JPEG, CDF files.")
    ],
    at: Annotated[
        str | None,
        typer.Option(help="UTC middle of the exposure, instead of the time in the file."),
    ] = None,
    latitude: Annotated[
        float | None, typer.Option(min=-90, max=90, help="Instead of the settings' site.")
    ] = None,
    longitude: Annotated[
        float | None, typer.Option(min=-180, max=180, help="East positive.")
    ] = None,
    elevation: Annotated[float, typer.Option(min=-500, max=9000, help="Metres.")] = 0.0,
    frames: Annotated[
        str, typer.Option(help="Frames A:B (before B) of files that hold many.")
    ] = "0",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Lens file, fitted to all solved frames.")
    ] = None,
    wcs: Annotated[
        Path | None, typer.Option(help="FITS header with the world coordinates of the first frame.")
    ] = None,
) -> None:
    """Solve the lens of files blind: no knowledge of it is needed, only time and site."""
    from allsky360.cli.process import _slice
    from allsky360.config import load_settings, site_from
    from allsky360.lens_calibration import lens_of_files, solve_files, wcs_header
    from allsky360.lens_calibration.words import file_line, lens_line
    from allsky360.model import Site
    from allsky360.sky.lens_file import write_lens

    settings = load_settings()
    if (latitude is None) != (longitude is None):
        raise typer.BadParameter("--latitude and --longitude go together")
    if latitude is not None and longitude is not None:
        site = Site("", latitude, longitude, elevation)
    else:
        site = site_from(settings)
    if at and len(files) > 1:
        raise typer.BadParameter("one time fits one file only", param_hint="--at")
    results = solve_files(
        files,
        settings,
        site=site,
        at=instant(at) if at else None,
        frames=_slice(frames),
        report=lambda result: typer.echo(file_line(result)),
    )
    solved = [r for r in results if r.solution is not None]
    if solved and out is not None:
        content = lens_of_files(results, site)
        typer.echo(f"{write_lens(out, content)}  {lens_line(content.lens)}")
    if solved and wcs is not None:
        first = solved[0]
        assert first.solution is not None
        assert first.seen is not None
        wcs.write_text(
            wcs_header(first.solution.lens, site, first.seen.middle).tostring(), encoding="ascii"
        )
        typer.echo(f"{wcs}  world coordinates of {first.source}")
    if len(solved) < len(results):
        raise typer.Exit(1)


@app.command()
def calibrate(
    camera: Annotated[str, typer.Argument(help="Camera; left out: all of the archive.")] = "",
    night: Annotated[str, typer.Argument(help="Night 2026-11-22; left out: the newest.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Write a lens file even where nothing moved.")
    ] = False,
) -> None:
    """Solve the lens from a night of the archive; keep it where it still fits."""
    from allsky360.config import load_settings
    from allsky360.lens_calibration import calibrate_night
    from allsky360.lens_calibration.words import report_markdown

    settings = load_settings()
    refused = False
    for slug, which in nights_asked(settings.storage.root, camera, night):
        report = calibrate_night(settings.storage.root, slug, which, settings, force=force)
        typer.echo(report_markdown(report))
        refused |= report.solution is None
    if refused:
        raise typer.Exit(1)


@app.command()
def lens(
    camera: Annotated[str, typer.Argument(help="Camera; left out: all of the archive.")] = "",
) -> None:
    """Show the lens that counts, its residuals by altitude, and how it drifted."""
    from allsky360.archive import Archive
    from allsky360.archive.empty import nothing_archived
    from allsky360.config import load_settings
    from allsky360.lens_calibration import read_history
    from allsky360.lens_calibration.words import file_lines, history_lines
    from allsky360.lenses import newest_lens

    root = load_settings().storage.root
    archive = Archive(root)
    slugs = [archive.slug(camera)] if camera else archive.cameras()
    if not slugs:
        raise nothing_archived(root)
    for slug in slugs:
        content = newest_lens(root, slug)
        typer.echo("\n".join(file_lines(content)) if content else f"{slug} has no lens file yet")
        typer.echo("\n".join(["", *history_lines(read_history(root, slug)), ""]))


def nights_asked(root: Path, camera: str, night: str) -> list[tuple[str, date]]:
    """Return cameras with the night asked for, or each one's newest."""
    from allsky360.archive import Archive
    from allsky360.archive.empty import nothing_archived
    from allsky360.errors import AllskyError

    archive = Archive(root)
    cameras = [archive.slug(camera)] if camera else archive.cameras()
    found = []
    for slug in cameras:
        nights = archive.nights(slug)
        if not nights:
            raise AllskyError(
                f"the archive {root} holds no night of {slug}.",
                mend="Check the name, or storage.root.",
            )
        try:
            found.append((slug, date.fromisoformat(night) if night else nights[-1]))
        except ValueError as error:
            raise typer.BadParameter(f"{night!r} is no night such as 2026-11-22") from error
    if not found:
        raise nothing_archived(root)
    return found


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
