"""``allsky360 keogram long``: weeks and years as one picture."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Keograms over many nights.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keograms over many nights; those of one night: ``allsky360 products make``."""


@app.command()
def long(
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write, .png or .jpg.")],
    camera: Annotated[str, typer.Argument(help="Camera; the only one when left out.")] = "",
    first: Annotated[str, typer.Option("--from", help="First night, YYYY-MM-DD.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last night, YYYY-MM-DD.")] = "",
    within: Annotated[
        float, typer.Option(min=1, max=90, help="Degrees around the zenith that are averaged.")
    ] = 45.0,
) -> None:
    """Draw a column a night, time of day downward, from the nights' stored keograms."""
    from allsky360.cli.products import bar, chosen_night
    from allsky360.config import load_settings
    from allsky360.products.keogram_picture import long_title
    from allsky360.products.long_keogram import collect, draw_long_keogram, write_long_keogram

    archive, slug, newest = chosen_night(load_settings().storage.root, camera, "")
    with bar(slug) as progress:
        columns = collect(
            archive,
            slug,
            _night(first) or date.min,
            _night(last) or date.max,
            within_deg=within,
            progress=progress,
        )
    site = archive.site(slug, newest)
    title = long_title(slug, site, min(columns), max(columns))
    write_long_keogram(out, draw_long_keogram(columns, title=title, site=site))
    typer.echo(f"{len(columns)} nights in {out}")


def _night(text: str) -> date | None:
    from allsky360.archive.layout import parse_night
    from allsky360.errors import AllskyError

    found = parse_night(text) if text else None
    if text and found is None:
        raise AllskyError(f"{text!r} is not a night.", mend="Write it as YYYY-MM-DD.")
    return found
