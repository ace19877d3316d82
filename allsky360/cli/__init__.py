"""The command line: ``allsky360 …``. One file a command; heavy imports live inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from allsky360 import __version__
from allsky360.cli import api as api_command
from allsky360.cli import backup as backup_command
from allsky360.cli import cameras as cameras_command
from allsky360.cli import cluster as cluster_command
from allsky360.cli import config as config_command
from allsky360.cli import darks as darks_command
from allsky360.cli import doctor as doctor_command
from allsky360.cli import keogram as keogram_command
from allsky360.cli import migrate as migrate_command
from allsky360.cli import objects as objects_command
from allsky360.cli import offsite as offsite_command
from allsky360.cli import owner as owner_command
from allsky360.cli import panorama as panorama_command
from allsky360.cli import process as process_command
from allsky360.cli import products as products_command
from allsky360.cli import report as report_command
from allsky360.cli import reprocess as reprocess_command
from allsky360.cli import retention as retention_command
from allsky360.cli import safety as safety_command
from allsky360.cli import simulate as simulate_command
from allsky360.cli import sky as sky_command
from allsky360.cli import timelapse as timelapse_command
from allsky360.cli import up as up_command
from allsky360.cli import verify as verify_command
from allsky360.cli import versions as versions_command
from allsky360.cli import warm_up as warm_up_command
from allsky360.cli import watch as watch_command
from allsky360.errors import AllskyError

app = typer.Typer(
    name="allsky360",
    help="All-sky camera system: capture, process, measure, archive, serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(config_command.app, name="config")
app.add_typer(darks_command.app, name="darks")
app.add_typer(keogram_command.app, name="keogram")
app.add_typer(products_command.app, name="products")
app.add_typer(sky_command.app, name="sky")
app.add_typer(versions_command.app, name="versions")
app.add_typer(objects_command.app, name="objects")
app.add_typer(offsite_command.app, name="offsite")
app.command("safety")(safety_command.safety)
app.command("up")(up_command.up)
app.command("verify")(verify_command.verify)
app.command("migrate")(migrate_command.migrate)
app.command("backup")(backup_command.backup)
app.command("restore")(backup_command.restore)
app.command("doctor")(doctor_command.doctor)
app.command("warm-up")(warm_up_command.warm_up)
app.command("watch")(watch_command.watch)
app.command("retention")(retention_command.retention)
app.command("favourite")(retention_command.favourite)
app.command("timelapse")(timelapse_command.timelapse)
app.command("simulate")(simulate_command.simulate)
app.command("api")(api_command.api)
app.command("api-token")(api_command.api_token)
app.command("panorama")(panorama_command.panorama)
app.command("process")(process_command.process)
app.command("reprocess")(reprocess_command.reprocess)
app.command("report")(report_command.report)
app.command("owner")(owner_command.owner)
app.command("cameras")(cameras_command.cameras)
app.command("cluster")(cluster_command.cluster)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"allsky360 {__version__}")
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings file.", envvar="ALLSKY360_CONFIG"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Read by every command through :func:`allsky360.cli.config.settings_of`."""
    config_command.remember_file(config)


def main() -> None:
    """Entry point: a mendable error becomes one clear message and exit status 2."""
    try:
        app()
    except AllskyError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
