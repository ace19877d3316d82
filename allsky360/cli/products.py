"""``allsky360 products make | list | from``: what is made of a night."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from allsky360.archive import Archive

app = typer.Typer(
    help="Keogram, star trails, stack, panorama and videos of a night.", no_args_is_help=True
)

Camera = Annotated[str, typer.Argument(help="Camera; the only one when left out.")]
Night = Annotated[str, typer.Argument(help="YYYY-MM-DD; the newest when left out.")]
Only = Annotated[str, typer.Option(help="Names, with commas: keogram,startrails,stack,panorama,…")]


@app.command()
def make(
    camera: Camera = "",
    night: Night = "",
    only: Only = "",
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget what grew before; begin at the first frame.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Grow with the night until it ends.")
    ] = False,
    over: Annotated[
        bool, typer.Option("--over", help="No frame will follow, though it is before noon.")
    ] = False,
) -> None:
    """Bring a night's products up to its newest frame; killed at any moment, it goes on."""
    from allsky360.config import load_settings
    from allsky360.products.grow import grow_night
    from allsky360.products.registry import growers_for

    settings = load_settings()
    archive, slug, which = chosen_night(settings.storage.root, camera, night)
    site = archive.site(slug, which)
    until = site.noon_utc(which + timedelta(days=1)) if watch and site is not None else None
    with bar(f"{slug} {which}") as progress:
        report = grow_night(
            settings.storage.root,
            slug,
            which,
            settings,
            growers=growers_for(settings.products, names(only)),
            until=until,
            closed=True if over else None,
            anew=anew,
            progress=progress,
        )
    for record in sorted(report.products, key=lambda r: r.name):
        main = record.main()
        left = len(record.frames.left_out)
        typer.echo(
            f"{record.name:18} {record.frames.used:5} frames, {left} left out"
            f"{'' if record.complete else ', growing'}  {main.path if main else ''}"
        )
    for index, reason in sorted(report.unusable.items()):
        typer.echo(f"frame {index} could not be used: {reason}", err=True)
    if report.waiting:
        typer.echo(f"{report.waiting} frames are not processed yet", err=True)
    for name, reason in report.failed.items():
        typer.echo(f"failed: {name}: {reason}", err=True)
    typer.echo(f"{report.offered} frames in {report.seconds:.1f} s")
    if report.failed:
        raise typer.Exit(1)


@app.command("list")
def show(camera: Camera = "", night: Night = "") -> None:
    """List a night's products and what they were made from."""
    from rich.console import Console
    from rich.table import Table

    from allsky360.archive.products import products_folder, read_products
    from allsky360.config import load_settings

    archive, slug, which = chosen_night(load_settings().storage.root, camera, night)
    version = archive.version(slug, which)
    table = Table()
    for name in ("name", "title", "frames", "left out", "whole", "files"):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for r in read_products(archive.root, slug, which, version):
        files = ", ".join(f.path for f in r.files)
        table.add_row(
            r.name, r.title, str(r.frames.used), str(len(r.frames.left_out)),
            "yes" if r.complete else "no", files,
        )  # fmt: skip
    if not table.row_count:
        typer.echo(f"{slug}, {which} has no products; make them with 'allsky360 products make'")
        return
    Console(soft_wrap=False).print(table)
    typer.echo(str(products_folder(archive.root, slug, which, version)))


@app.command("from")
def of_pictures(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures that say when they were taken.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the products.")],
    only: Only = "keogram,startrails",
    lens: Annotated[Path | None, typer.Option(help="Lens file of these pictures.")] = None,
) -> None:
    """Make products of a folder of pictures, without an archive."""
    from allsky360.config import load_settings
    from allsky360.processing.chain import site_or_none
    from allsky360.products.pictures import grow_pictures
    from allsky360.products.registry import growers_for
    from allsky360.sky.lens_file import read_lens

    settings = load_settings()
    with bar(str(out)) as progress:
        report = grow_pictures(
            pictures,
            out,
            settings,
            growers_for(settings.products, names(only)),
            site=site_or_none(settings),
            lens=read_lens(lens).lens if lens is not None else None,
            progress=progress,
        )
    for what, reason in report.left_out:
        typer.echo(f"left out: {what}: {reason}", err=True)
    for draft in report.drafts:
        typer.echo(f"{draft.name:18} {', '.join(f.path for f in draft.files)}")
    typer.echo(f"{report.used} pictures used, files in {out}")


def names(text: str) -> list[str]:
    """Split names at commas."""
    return [n.strip() for n in text.split(",") if n.strip()]


def chosen_night(root: Path, camera: str, night: str) -> tuple[Archive, str, date]:
    """Return the archive, the camera's slug and the night that the arguments mean.

    Raises
    ------
    ArchiveError
        Nothing fits, or a name is needed.
    """
    from allsky360.archive import Archive, ArchiveError
    from allsky360.archive.empty import nothing_archived
    from allsky360.archive.layout import parse_night

    archive = Archive(root)
    cameras = archive.cameras()
    if not cameras:
        raise nothing_archived(root)
    if not camera:
        if len(cameras) != 1:
            known = ", ".join(cameras)
            raise ArchiveError(f"the archive has these cameras: {known}.", mend="Name one.")
        camera = cameras[0]
    slug = archive.slug(camera)
    nights = archive.nights(slug)
    if not nights:
        raise ArchiveError(
            f"the archive holds no night of {camera}.", mend=f"It has {', '.join(cameras)}."
        )
    if not night:
        return archive, slug, nights[-1]
    which = parse_night(night)
    if which is None:
        raise ArchiveError(f"{night!r} is not a night.", mend="Write it as YYYY-MM-DD.")
    if which not in nights:
        raise ArchiveError(
            f"the archive holds no frames of {camera}, {night}.",
            mend="'allsky360 versions list' shows the nights.",
        )
    return archive, slug, which


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress where a person looks on."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=None)
        yield lambda done, known: progress.update(task, completed=done, total=known)
