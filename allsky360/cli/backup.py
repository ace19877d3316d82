"""``allsky360 backup`` and ``allsky360 restore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup(
    file: Annotated[Path, typer.Argument(help="What to write, ….tar.gz; must not exist.")],
) -> None:
    """Keep settings, the files they name, Prefect's database, lenses and masters in one file.

    The file holds the settings and the files they name as they are, passwords included: keep it as
    you keep them. Works while the system runs. Nights are not in it: see 'allsky360 offsite'.
    """
    from allsky360.backup.write import write_backup
    from allsky360.config import load_settings, settings_file

    written = write_backup(file, load_settings(), settings_file())
    typer.echo(f"wrote {file}: {written.files} files, {written.bytes / 1e6:.1f} MB before packing")
    for note in written.notes:
        typer.echo(f"  {note}")
    typer.echo("It holds the settings and the files they name as they are, passwords included.")


def restore(
    file: Annotated[Path, typer.Argument(help="What 'allsky360 backup' wrote.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check it, and say what would go where.")
    ] = False,
) -> None:
    """Bring a backup back, while nothing runs; what it replaces is kept under a dated name.

    The settings go to the file of --config or ALLSKY360_CONFIG, else ./allsky360.toml; all else
    where they say. Every checksum is compared before anything is touched.
    """
    from allsky360.backup.restore import restore as run
    from allsky360.config import DEFAULT_FILE, settings_file

    found = run(file, settings_file() or DEFAULT_FILE, dry_run=dry_run)
    for r in found:
        if r.same and r.kept is None:
            what = "is there already"
        elif dry_run:
            what = "would replace what is there" if r.kept else "would be written"
        else:
            what = f"restored; what was there is {r.kept.name}" if r.kept else "restored"
        typer.echo(f"{r.path}: {what}")
    typer.echo(f"{len(found)} files {'checked' if dry_run else 'in place'}")
