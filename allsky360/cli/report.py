"""``allsky360 report``: the night report by hand, without Prefect."""

from __future__ import annotations

from typing import Annotated

import typer

Nights = Annotated[str, typer.Argument(help="2026-11-14, a range, latest or all.")]
Camera = Annotated[str, typer.Option(help="Camera; all when left out.")]


def report(nights: Nights = "latest", camera: Camera = "") -> None:
    """Write the night report of nights, as it is made after dawn."""
    from allsky360.archive import Archive
    from allsky360.archive.products import product_file
    from allsky360.config import clock_from, load_settings
    from allsky360.report.make import make_report
    from allsky360.reprocess.nights import nights_of

    settings = load_settings()
    archive = Archive(settings.storage.root)
    for slug, night in nights_of(archive, nights, camera):
        made = make_report(archive, slug, night, settings, now=clock_from(settings).now())
        typer.echo(f"{product_file(archive.root, made.record, 'report.html')}")
