"""A sign of life for parts that serve nothing else: a socket that their own event loop answers.

An abstract Unix socket (Linux): no port, no file, so a full or read-only disk is no sign of death.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

from allsky360.config import Settings

log = logging.getLogger(__name__)

WORD = b"alive\n"


def pulse_name(settings: Settings, part: str) -> str:
    """Return the socket's name: one for each part of each archive."""
    root = str(settings.storage.root.absolute()).encode()
    return f"allsky360-{part}-{hashlib.sha256(root).hexdigest()[:12]}"


async def give_pulse(name: str, lives: Callable[[], bool] = lambda: True) -> asyncio.Server:
    """Answer on the socket as long as the server that is returned is kept, and the part lives.

    Raises
    ------
    OSError
        The name is taken: another process of this part runs on the same archive.
    """

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if lives():
            writer.write(WORD)
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, path=f"\0{name}")


async def pulse_of(
    settings: Settings, part: str, lives: Callable[[], bool] = lambda: True
) -> asyncio.Server | None:
    """Give a part's pulse to the supervisor; None, and a warning, where another one gives it."""
    try:
        return await give_pulse(pulse_name(settings, part), lives)
    except OSError as error:  # nobody asks where no supervisor runs
        log.warning("no sign of life is given: %s", error)
        return None


async def beats(name: str) -> bool:
    """Return whether somebody answers.

    Raises
    ------
    OSError
        Nobody listens.
    """
    reader, writer = await asyncio.open_unix_connection(f"\0{name}")
    try:
        return await reader.readline() == WORD
    finally:
        writer.close()
