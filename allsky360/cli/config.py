"""``allsky360 config init | check``, and how every command gets its settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from allsky360.config import DEFAULT_FILE, ENV_FILE, Settings, load_settings, settings_file
from allsky360.config_text import default_text
from allsky360.errors import SettingsError

app = typer.Typer(help="Write and check the settings file.", no_args_is_help=True)


def remember_file(path: Path | None) -> None:
    """Put the ``--config`` file where this process and its children look for it."""
    if path is not None:
        os.environ[ENV_FILE] = str(path.absolute())


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write the commented default settings."""
    if path.exists() and not force:
        raise SettingsError(f"{path} exists.", mend="Give another name, or --force.")
    try:
        path.write_text(default_text(Settings, Settings.model_construct()), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror}.", mend="Name a file where you may write."
        ) from error
    typer.echo(f"wrote {path}")


@app.command()
def check() -> None:
    """Validate settings file and environment as a whole."""
    load_settings()
    file = settings_file()
    typer.echo(f"{file or 'defaults (no settings file)'}: good")
