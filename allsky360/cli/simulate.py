"""``allsky360 simulate``: a camera server with a real sky."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    host: Annotated[str | None, typer.Option(help="Address to bind to.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind to.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Turn a fault knob: name, name=value, name=count:value; list shows all."),
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder for one truth file a frame.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Serve the frames of this folder.")] = None,
    start: Annotated[
        str | None, typer.Option(help="UTC instant the simulated clock begins at, ISO 8601.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Simulated seconds per real second.")] = None,
) -> None:
    """Serve a simulated all-sky camera on the INDIGO wire until Ctrl-C."""
    from allsky360.cli.priority import come_first
    from allsky360.config import load_settings
    from allsky360.simulator import run

    if fault and "list" in fault:
        typer.echo(run.fault_table())
        return
    settings = run.with_options(
        load_settings(),
        host=host,
        port=port,
        truth_dir=truth,
        replay_dir=replay,
        start=_instant(start),
        rate=rate,
    )
    come_first()  # it stands for a camera, which has a processor of its own
    run.serve(settings, fault or [], say=typer.echo)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    from datetime import UTC

    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no ISO 8601 instant such as 2026-11-22T21:00:00Z", param_hint="--start"
        ) from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)
