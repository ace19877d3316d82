"""Telling people, by whatever Apprise reaches."""

from __future__ import annotations

from pathlib import Path

from allsky360.alarms.ledger import Message
from allsky360.errors import AllskyError


class NotifyError(AllskyError):
    """Nobody can be told."""


def addresses(file: Path) -> list[str]:
    """Read the addresses of a file: one a line, ``#`` begins a comment.

    Raises
    ------
    NotifyError
        The file cannot be read, or an address is none. It does not quote it: it holds secrets.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotifyError(f"{file}: {error}.", mend="Correct alarms.notify_file.") from error
    import apprise

    found = []
    for number, line in enumerate(lines, 1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        if apprise.Apprise.instantiate(address, suppress_exceptions=True) is None:
            raise NotifyError(
                f"{file}, line {number}: not an address that Apprise knows.",
                mend="See https://github.com/caronc/apprise for how to write it.",
            )
        found.append(address)
    return found


def tell(address: str, message: Message) -> bool:
    """Send a message to one address; return whether it was taken. Blocks."""
    import apprise

    sender = apprise.Apprise()
    sender.add(address)
    kind = apprise.NotifyType.WARNING if message.grave else apprise.NotifyType.INFO
    return bool(sender.notify(title=message.title, body=message.body, notify_type=kind))
