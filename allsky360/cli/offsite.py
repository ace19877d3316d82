"""``allsky360 offsite``: the safe copy of the archive."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

app = typer.Typer(help="The safe copy of the archive elsewhere.", no_args_is_help=True)

Nights = Annotated[str, typer.Argument(help="2026-11-14, a range, latest or all.")]
Camera = Annotated[str, typer.Option(help="Camera; all when left out.")]


@app.command()
def copy(nights: Nights = "all", camera: Camera = "") -> None:
    """Copy what is new to offsite.url, prove it and record it; goes on where it ended."""
    from allsky360.archive import Archive
    from allsky360.config import load_settings
    from allsky360.offsite.copy import copy_nights
    from allsky360.reprocess.nights import nights_of

    settings = load_settings()
    chosen = nights_of(Archive(settings.storage.root), nights, camera)
    done = copy_nights(settings, chosen)
    typer.echo(
        f"{done.files} files, {done.bytes / 1e6:.1f} MB copied; {done.there} files were safe"
    )


@app.command()
def verify(
    nights: Nights = "all",
    camera: Camera = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare size and ETag; read nothing back.")
    ] = False,
) -> None:
    """Read the copy and compare; exit code 1 where an object is missing or damaged."""
    from allsky360.archive import Archive
    from allsky360.config import load_settings
    from allsky360.offsite.select import units_of
    from allsky360.offsite.verify import verify_unit
    from allsky360.reprocess.nights import nights_of

    settings = load_settings()
    archive = Archive(settings.storage.root)
    wrong = 0
    for unit in units_of(archive, nights_of(archive, nights, camera)):
        count, found = verify_unit(archive.root, unit, settings.offsite, deep=not quick)
        for damage in found:
            fate = "and is not here either: LOST" if damage.lost else "the next copy mends it"
            typer.echo(f"{damage.key} {damage.what}; {fate}")
        wrong += len(found)
        typer.echo(f"{unit.camera} {unit.name}: {count} objects, {len(found)} wrong")
    if wrong:
        raise typer.Exit(1)


@app.command()
def fetch(
    night: Annotated[str, typer.Argument(help="YYYY-MM-DD.")],
    camera: Annotated[
        str, typer.Option(help="Camera's folder name; the only one if left out.")
    ] = "",
) -> None:
    """Bring a night back from offsite.url, every file proven; files that are here stay."""
    from allsky360.archive.layout import night_folder, parse_night
    from allsky360.config import load_settings
    from allsky360.errors import AllskyError
    from allsky360.objects.push import nights_there
    from allsky360.offsite.fetch import NoCopy, fetch_unit
    from allsky360.offsite.select import SHARED, Unit

    settings = load_settings()
    wanted = parse_night(night)
    if wanted is None:
        raise AllskyError(f"{night!r} is no night.", mend="Write it as YYYY-MM-DD.")
    known = sorted({c for c, n, _ in nights_there(settings.offsite) if n == night})
    cameras = [camera] if camera else known
    if len(cameras) != 1:
        said = f"{len(cameras)} cameras have" if cameras else "no camera has"
        mend = "Name one with --camera." if cameras else "Check the night and offsite.url."
        raise AllskyError(f"{said} a night {night} there.", mend=mend)
    root, slug = settings.storage.root, cameras[0]
    done = fetch_unit(root, Unit(slug, night, night_folder(root, slug, wanted)), settings.offsite)
    for name in SHARED:
        with contextlib.suppress(NoCopy):
            done += fetch_unit(root, Unit(slug, name, root / slug / name), settings.offsite)
    typer.echo(f"{slug} {night}: {done.files} files, {done.bytes / 1e6:.1f} MB brought and proven")
    typer.echo(f"'allsky360 favourite {night}' keeps retention from removing it again")


@app.command()
def status() -> None:
    """Say what is safe, what waits, and why."""
    from allsky360.config import load_settings
    from allsky360.offsite.state import read_state

    settings = load_settings()
    state = read_state(settings.storage.root)
    if not settings.offsite.url:
        typer.echo("no off-site copy is set up (offsite.url)")
        return
    if state is None or state.url != settings.offsite.url:
        typer.echo(f"nothing was copied to {settings.offsite.url} yet")
        return
    typer.echo(f"{state.url}: {state.safe_files} files are safe")
    typer.echo(
        f"{state.waiting_files} files, {state.waiting_bytes / 1e9:.2f} GB waited "
        f"at {state.tried_at:%Y-%m-%d %H:%M} UTC"
    )
    whole = f"{state.whole_at:%Y-%m-%d %H:%M} UTC" if state.whole_at else "never"
    typer.echo(f"last copy without trouble: {whole}")
    if state.problem:
        typer.echo(f"the last try ended early: {state.problem}")
