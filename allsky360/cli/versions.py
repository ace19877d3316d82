"""``allsky360 versions``: what reprocessing made beside what was there."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Versions of a night's processed frames.", no_args_is_help=True)

Night = Annotated[str, typer.Argument(help="2026-11-14, a range, latest or all.")]
Camera = Annotated[str, typer.Option(help="Camera; all when left out.")]


@app.command("list")
def list_versions(nights: Night = "all", camera: Camera = "") -> None:
    """List the versions of nights, how they were made, and which one is shown."""
    from rich.console import Console
    from rich.table import Table

    from allsky360.archive import Archive
    from allsky360.archive.layout import current_version, night_folder
    from allsky360.archive.versions import read_record, versions
    from allsky360.reprocess.nights import nights_of

    root = _root()
    table = Table()
    for name in ("camera", "night", "version", "shown", "frames", "made", "changes"):
        table.add_column(name, overflow="fold")
    for slug, night in nights_of(Archive(root), nights, camera):
        folder = night_folder(root, slug, night)
        for version in versions(folder):
            record = read_record(folder, version)
            archive = Archive(root, version)
            total = archive.count(slug, night)
            done = total - len(archive.unprocessed(slug, night))
            made = "live"
            if record is not None:
                whole = record.whole_at
                made = f"{whole:%Y-%m-%d %H:%M}" if whole else "not whole yet"
            changes = ", ".join(f"{k}={v}" for k, v in record.overrides.items()) if record else ""
            shown = "yes" if version == current_version(folder) else ""
            table.add_row(slug, night.isoformat(), version, shown, f"{done}/{total}", made, changes)
    Console().print(table)


@app.command()
def switch(
    night: Night, version: Annotated[str, typer.Argument(help="v0001, …")], camera: Camera = ""
) -> None:
    """Show another version of a night, such as the one from before."""
    from allsky360.archive import versions

    for folder in _folders(night, camera):
        versions.switch(folder, version)
        typer.echo(f"{folder}: {version} is shown")


@app.command()
def drop(
    night: Night, version: Annotated[str, typer.Argument(help="v0001, …")], camera: Camera = ""
) -> None:
    """Delete a version that is not shown, with its products. Raw frames stay."""
    from allsky360.archive import versions

    for folder in _folders(night, camera):
        versions.drop(folder, version)
        typer.echo(f"{folder}: {version} deleted")


@app.command()
def compare(
    night: Night,
    old: Annotated[str, typer.Argument(help="v0001, …")],
    new: Annotated[str, typer.Argument(help="v0002, …")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")],
    camera: Camera = "",
    frames: Annotated[int, typer.Option(min=1, max=200, help="Frames shown side by side.")] = 6,
) -> None:
    """Write a page that shows two versions of a night side by side, pictures and numbers."""
    from allsky360.archive import Archive
    from allsky360.reprocess.compare import write_comparison
    from allsky360.reprocess.nights import nights_of

    root = _root()
    for slug, which in nights_of(Archive(root), night, camera):
        page = write_comparison(root, slug, which, old, new, _folder(out, slug, which), frames)
        typer.echo(f"{page}")


def _folder(out: Path, camera: str, night: date) -> Path:
    return out / f"{camera}-{night}"


def _root() -> Path:
    from allsky360.config import load_settings

    return load_settings().storage.root


def _folders(night: str, camera: str) -> list[Path]:
    from allsky360.archive import Archive
    from allsky360.archive.layout import night_folder
    from allsky360.reprocess.nights import nights_of

    root = _root()
    return [night_folder(root, c, n) for c, n in nights_of(Archive(root), night, camera)]
