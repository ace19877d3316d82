"""``allsky360 retention`` and ``allsky360 favourite``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer


def retention(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go now, and why.")
    ] = False,
) -> None:
    """Remove what the settings' table ``retention`` no longer keeps; says what and why."""
    from rich.console import Console
    from rich.table import Table

    from allsky360.archive.elsewhere import elsewhere_of
    from allsky360.archive.retention import plan, tidy
    from allsky360.config import load_settings

    settings = load_settings()
    act = plan if dry_run else tidy
    floor = settings.storage.min_free_gb * 1e9
    now = datetime.now(UTC)
    copy = elsewhere_of(settings.offsite)
    root, rules = settings.storage.root, settings.retention
    found = act(root, rules, now, floor_bytes=floor, elsewhere=copy)
    table = Table()
    for name in ("camera", "night", "what", "files", "GB", "why"):
        table.add_column(name, justify="right" if name in ("files", "GB") else "left")
    for r in found:
        size = f"{r.bytes / 1e9:.3f}"
        table.add_row(r.camera, r.night.isoformat(), r.kind, str(r.files), size, r.reason)
    if found:
        Console(soft_wrap=False).print(table)
    total = sum(r.bytes for r in found if not r.waits) / 1e9
    typer.echo(f"{total:.3f} GB {'would be' if dry_run else 'were'} removed")
    waits = sum(r.bytes for r in found if r.waits) / 1e9
    if waits:
        typer.echo(f"{waits:.3f} GB stay until they are safe at {settings.offsite.url}")


def favourite(
    night: Annotated[str, typer.Argument(help="YYYY-MM-DD.")],
    camera: Annotated[str, typer.Option(help="Camera; the only one when left out.")] = "",
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
) -> None:
    """Keep a night whole: retention removes nothing of it."""
    from allsky360.archive import Archive, ArchiveError
    from allsky360.archive.empty import nothing_archived
    from allsky360.archive.layout import night_folder, parse_night
    from allsky360.archive.removed import set_favourite
    from allsky360.config import load_settings

    archive = Archive(load_settings().storage.root)
    wanted = parse_night(night)
    if wanted is None:
        raise ArchiveError(f"{night!r} is not a night.", mend="Write it as YYYY-MM-DD.")
    cameras = [archive.slug(camera)] if camera else archive.cameras()
    if not cameras:
        raise nothing_archived(archive.root)
    holding = [c for c in cameras if wanted in archive.nights(c)]
    if len(holding) != 1:
        held = f"{len(holding)} cameras have" if holding else "no camera has"
        mend = (
            "Name one with --camera." if holding else "'allsky360 versions list' shows the nights."
        )
        raise ArchiveError(f"{held} a night {night}.", mend=mend)
    set_favourite(night_folder(archive.root, holding[0], wanted), not off)
    typer.echo(f"{holding[0]} {night} is {'no longer' if off else 'now'} a favourite")
