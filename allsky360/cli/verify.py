"""``allsky360 verify``."""

from __future__ import annotations

from typing import Annotated

import typer


def verify(
    camera: Annotated[str, typer.Argument(help="Camera; all when left out.")] = "",
    night: Annotated[str, typer.Argument(help="YYYY-MM-DD; all when left out.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not decode images, only look for files.")
    ] = False,
) -> None:
    """Check the archive; says what is wrong where, and exits with 1 when data is damaged."""
    from rich.console import Console
    from rich.table import Table

    from allsky360.archive import Archive, ArchiveError, verify_night
    from allsky360.archive.empty import nothing_archived
    from allsky360.archive.layout import night_folder, parse_night
    from allsky360.config import load_settings

    archive = Archive(load_settings().storage.root)
    wanted = parse_night(night) if night else None
    if night and wanted is None:
        raise ArchiveError(f"{night!r} is not a night.", mend="Write it as YYYY-MM-DD.")
    folders = [
        night_folder(archive.root, c, n)
        for c in ([archive.slug(camera)] if camera else archive.cameras())
        for n in ([wanted] if wanted else archive.nights(c))
    ]
    if not archive.cameras():
        raise nothing_archived(archive.root)
    if not folders:
        raise ArchiveError(
            f"nothing to verify below {archive.root}.", mend="Check camera and night."
        )
    table = Table()
    for name in ("severity", "where", "what", "mend"):
        table.add_column(name, overflow="fold")  # a cut path would not say where
    errors = 0
    for folder in folders:
        problems = verify_night(folder, deep=not quick)
        errors += sum(p.severity == "error" for p in problems)
        for p in problems:
            table.add_row(p.severity, p.where, p.what, p.mend)
    if table.row_count:
        Console(soft_wrap=False).print(table)
    typer.echo(f"{len(folders)} nights checked, {errors} errors")
    if errors:
        raise typer.Exit(1)
