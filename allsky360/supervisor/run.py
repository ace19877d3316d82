"""Start every part, show them, stop them: the body of ``allsky360 up``."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping

import httpx
from rich.console import Console
from rich.live import Live

from allsky360.config import Settings, clock_from, load_settings, site_from
from allsky360.errors import AllskyError
from allsky360.logs import as_json_line
from allsky360.supervisor import view
from allsky360.supervisor.parts import (
    clock_environment,
    demo_environment,
    latest_url,
    owner_status_url,
    parts_of,
)
from allsky360.supervisor.process import Keeper, PartState

REFRESH_S = 1.0


def up(settings: Settings, console: Console | None = None) -> None:
    """Run the whole system on this machine until Ctrl-C or SIGTERM.

    Raises
    ------
    SettingsError
        A real camera without a site, or wrong settings.
    AllskyError
        ``storage.root`` cannot be written, or another ``up`` runs on it.
    """
    # Children read the same settings; what is decided here reaches them through the environment.
    os.environ.update(demo_environment(settings))
    os.environ.update(clock_environment(settings))
    settings = load_settings()
    site_from(settings)
    asyncio.run(_run(settings, console or view.console()))


async def _run(settings: Settings, console: Console) -> None:
    site = site_from(settings)
    root = settings.storage.root.absolute()
    progress = view.Progress(
        site=f"{site.name or 'site'} {site.latitude_deg:+.2f} {site.longitude_deg:+.2f}",
        archive=str(root),
        clock=clock_from(settings),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    live, form = console.is_terminal, settings.logging.format
    states: dict[str, PartState] = {}

    def said(text: str) -> None:
        line = as_json_line("up", text) if form == "json" else text
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def changed(status: PartState) -> None:
        if not live:
            said(view.change_line(status))

    logs = root / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        lock = (logs / "up.lock").open("ab")
        keepers = [
            Keeper(p, {}, logs / f"{p.name}.log", states, changed, form) for p in parts_of(settings)
        ]
    except OSError as error:
        raise AllskyError(
            f"storage.root {root} cannot be written: {error.filename}: {error.strerror}.",
            mend="Mend its permissions or mount, or set another storage.root.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise AllskyError(
            f"another 'allsky360 up' already runs on storage.root {root}.",
            mend="Stop it, or give this one another storage.root and other ports.",
        ) from error
    states.update({k.status.part.name: k.status for k in keepers})
    tasks = [asyncio.create_task(k.run()) for k in keepers]
    try:
        await _watch(settings, progress, states, stop, console if live else None, said)
    finally:
        # last part first: nobody asks a part that is gone already
        for keeper, task in zip(reversed(keepers), reversed(tasks), strict=True):
            keeper.stop()
            await asyncio.wait({task})
        lock.close()
        said("allsky360 stopped")
    await asyncio.gather(*tasks)  # a keeper that broke down kept no other from being stopped


async def _watch(
    settings: Settings,
    progress: view.Progress,
    states: Mapping[str, PartState],
    stop: asyncio.Event,
    terminal: Console | None,
    said: Callable[[str], None],
) -> None:
    shown = Live(console=terminal, auto_refresh=False, transient=False) if terminal else None
    seen: object = None
    with shown or contextlib.nullcontext():
        async with httpx.AsyncClient(timeout=3.0, trust_env=False) as client:
            while not stop.is_set():
                await _ask(settings, progress, states, client)
                if shown is not None:
                    shown.update(view.render(list(states.values()), progress), refresh=True)
                elif progress.latest is not None and progress.latest.get("id") != seen:
                    seen = progress.latest.get("id")
                    said(view.frame_line(progress))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REFRESH_S)


async def _ask(
    settings: Settings,
    progress: view.Progress,
    states: Mapping[str, PartState],
    client: httpx.AsyncClient,
) -> None:
    """Read the owner's status and the newest frame; no answer is shown, not raised.

    Only parts of ours are asked: on a port that blocks one, another program answers.
    """
    progress.owner = latest = None
    if states["owner"].healthy:
        progress.owner = await _json(client, owner_status_url(settings))
    if states["api"].healthy:
        latest = await _json(client, latest_url(settings))
    if latest is not None:
        if progress.first_frame_s is None:
            progress.first_frame_s = time.monotonic() - progress.started
        progress.latest = latest


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, object] | None:
    try:
        reply = await client.get(url)
        body = reply.json() if reply.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) else None
