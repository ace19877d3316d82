"""``allsky360 warm-up``: compile before the first frame instead of during it."""

from __future__ import annotations

import time

import typer


def warm_up() -> None:
    """Compile for this machine what is else compiled during the first frames; once is enough."""
    from allsky360.warm_up import warm_up as run

    began = time.monotonic()
    typer.echo("compiling; this takes a minute or two")
    run()
    typer.echo(f"ready after {time.monotonic() - began:.0f} s")
