"""``allsky360 watch``."""

from __future__ import annotations

from typing import Annotated

import typer


def watch(
    test: Annotated[
        bool, typer.Option("--test", help="Send one test message to everybody, and end.")
    ] = False,
) -> None:
    """Watch the system; tell people by Apprise and home automation by MQTT what is wrong."""
    from allsky360.alarms.ledger import Message
    from allsky360.alarms.notify import NotifyError, addresses, tell
    from allsky360.alarms.watch import run
    from allsky360.config import load_settings

    settings = load_settings()
    if not test:
        run(settings)
        return
    file = settings.alarms.notify_file
    where = addresses(file) if file is not None else []
    if not where:
        raise NotifyError("there is nobody to tell.", mend="Set alarms.notify_file.")
    message = Message("allsky360: test", "This is a test; all is well.", grave=False)
    missed = [address for address in where if not tell(address, message)]
    if missed:
        says = f"{len(missed)} of {len(where)} addresses did not take the message."
        raise NotifyError(says, mend="Check them.")
    typer.echo(f"{len(where)} told")
