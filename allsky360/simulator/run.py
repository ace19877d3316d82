"""Run the simulator as a process: options over settings, faults from the start, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from allsky360.config import Settings, clock_from
from allsky360.errors import SettingsError
from allsky360.logs import set_up_logging
from allsky360.simulator.factory import create_server, site_or_demo
from allsky360.simulator.faults import FAULTS, parse_option
from allsky360.simulator.server import IndigoServer


def with_options(
    settings: Settings,
    *,
    start: datetime | None = None,
    rate: float | None = None,
    **simulator: Any,
) -> Settings:
    """Return the settings with command line options over them; None leaves a setting as it is.

    Raises
    ------
    SettingsError
        Naming the option whose value is not allowed.
    """
    data = settings.model_dump()
    data["simulator"] |= {key: value for key, value in simulator.items() if value is not None}
    if start is not None:
        data["clock"] |= {"start": start, "anchor": datetime.now(UTC)}
    elif rate is not None and settings.clock.start is None:
        data["clock"] |= {"start": datetime.now(UTC), "anchor": datetime.now(UTC)}
    if rate is not None:
        data["clock"]["rate"] = rate
    changed: dict[str, Any] = {}
    problems = []
    for name in ("simulator", "clock"):
        try:
            changed[name] = type(getattr(settings, name))(**data[name])
        except ValidationError as error:
            for item in error.errors():
                problems.append(f"--{item['loc'][0]} = {item['input']!r}: {item['msg']}.")
    if problems:
        raise SettingsError("\n".join(problems))
    return settings.model_copy(update=changed)


def fault_table() -> str:
    """Return one line a fault knob."""
    width = max(map(len, FAULTS))
    lines = []
    for spec in FAULTS.values():
        value = f" [{spec.meaning}: {spec.value!r}]" if spec.meaning else ""
        lines.append(f"{spec.name:<{width}}  {spec.kind:<6}  {spec.description}{value}")
    return "\n".join(lines)


def serve(settings: Settings, faults: Sequence[str], *, say: Callable[[str], Any]) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        The whole tree.
    faults
        ``--fault`` options.
    say
        Prints one line for the person who started it.

    Raises
    ------
    AllskyError
        When the address is taken, a fault does not exist, or there is nothing to replay.
    """
    set_up_logging("simulator", settings.logging.format)
    clock = clock_from(settings)
    wanted: dict[str, object] = {}
    for option in faults:
        wanted |= parse_option(option)
    site, is_demo = site_or_demo(settings, clock)
    if is_demo:
        say(f"no site is set: {site.name}, latitude {site.latitude_deg:+.2f}°")
    server = create_server(settings, site, clock)
    asyncio.run(_serve(server, wanted, say))


async def _serve(
    server: IndigoServer, faults: dict[str, object], say: Callable[[str], Any]
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with server:
        say(f"{server.camera.name} on indigo://{server.host}:{server.port} (Ctrl-C stops it)")
        server.arm(faults)
        await stop.wait()
    say("simulator stopped")
