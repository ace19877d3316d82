"""``allsky360 migrate``."""

from __future__ import annotations

from typing import Annotated

import typer


def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which stores are of another schema.")
    ] = False,
) -> None:
    """Bring the archive to the layout of this allsky360; killed, it goes on where it was.

    Exits with 1 where a store is damaged, or newer than this allsky360.
    """
    from allsky360.archive.layout import SCHEMA
    from allsky360.archive.migrate import migrate as run
    from allsky360.archive.migrate import outdated
    from allsky360.config import load_settings

    root = load_settings().storage.root
    good = bad = 0
    for found in outdated(root) if dry_run else run(root):
        where = f"{found.camera} {found.night} {found.store}"
        if found.problem:
            bad += 1
            typer.echo(f"{where}: left as it is: {found.problem}")
        else:
            good += 1
            typer.echo(f"{where}: schema {found.schema} to {SCHEMA}")
    words = "would be migrated" if dry_run else "migrated"
    typer.echo(f"{good} stores {words}, {bad} left as they are; schema {SCHEMA} is the present one")
    if bad:
        raise typer.Exit(1)
