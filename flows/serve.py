"""The single-machine runner: ``python -m flows.serve``.

In this order: wait for the server, end what a killed runner left, drop the runs that nobody was
there for, register the deployments of ``prefect.yaml``, serve them until SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from allsky360 import systemd
from allsky360.config import Settings, load_settings
from allsky360.errors import AllskyError
from allsky360.logs import set_up_logging
from allsky360.supervisor.prefect_env import prefect_environment, prefect_secrets
from allsky360.supervisor.pulse import beats, pulse_name, pulse_of
from tasks.slots import prefetch_s, slot_at

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

log = logging.getLogger("flows.serve")

SERVER_WAIT_S = 180.0
PLACES_EVERY_S = 10.0
QUERY_S = 2.0  # a query costs the server a few milliseconds
CATCH_UP = "process-pending/catch-up"
CAPTURE = "capture-burst/every-slot"
WORTH_STARTING_S = 10.0  # a run needs 4 to 10 s to start


class ServerUnreachable(AllskyError):
    """No Prefect server answers."""


class DeploymentsGone(AllskyError):
    """The server has a new database: it does not know our deployments."""


def main() -> None:
    """Serve until stopped; exit status 2 with one message for what a person can mend."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load_settings()
        set_up_logging("runner", settings.logging.format)
        # before Prefect is imported: it reads them once, and so do the flow runs we start
        os.environ.update(prefect_environment(settings) | prefect_secrets(settings))
        os.makedirs(os.environ["PREFECT_HOME"], exist_ok=True)
        serve(settings, only_reap="--reap" in sys.argv[1:])
    except AllskyError as error:
        log.error("%s", error)  # to standard error, also where the settings cannot be read
        sys.exit(2)


def serve(settings: Settings, *, only_reap: bool = False) -> None:
    """Prepare the server and serve our deployments until SIGTERM or SIGINT.

    ``only_reap`` (``--reap``) prepares and returns: what a fleet runs before its workers start.
    """
    from prefect.client.orchestration import get_client

    from flows.deployments import read_deployments, runner_deployments

    deployments = runner_deployments(read_deployments(settings))
    wait_for_server(os.environ["PREFECT_API_URL"])
    with get_client(sync_client=True) as client:
        prepare(client, deployments)
    if only_reap:
        return
    systemd.give_signs(lambda: asyncio.run(_beats(settings)))
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(settings, deployments))
    log.info("stopped")


def prepare(client: SyncPrefectClient, deployments: Sequence[RunnerDeployment]) -> None:
    """End stale runs and drop missed ones, of our own deployments only."""
    from flows.reaper import Places, clear_late, deployment_ids, reap

    names = [f"{d.flow_name}/{d.name}" for d in deployments]
    ours = deployment_ids(client, names)
    stale = reap(client, ours)
    missed = clear_late(client, ours, datetime.now(UTC))
    if stale or missed:
        log.warning("%d run(s) of a killed runner ended, %d missed run(s) dropped", stale, missed)
    places = Places()
    places.check(client, ours)  # nothing of ours lives now: twice at once is safe
    if freed := places.check(client, ours):
        log.warning("%d place(s) that no run held given back", freed)


async def _serve(settings: Settings, deployments: Sequence[RunnerDeployment]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.runner import Runner
    from prefect.states import Scheduled

    runner = Runner(
        name="allsky360",
        query_seconds=QUERY_S,
        prefetch_seconds=prefetch_s(settings.capture.slot_s),
        limit=None,  # the deployments have their own limits
        pause_on_shutdown=True,  # no runs are made while nobody is there to take them
    )
    ids = {}
    for deployment in deployments:
        name = f"{deployment.flow_name}/{deployment.name}"
        ids[name] = await runner.aadd_deployment(deployment)
        log.info("serving %s", name)
    async with get_client() as client:
        for name, (due, parameters) in runs_at_start(settings, datetime.now(UTC)).items():
            if name in ids:
                await client.create_flow_run_from_deployment(
                    ids[name],
                    parameters=parameters,
                    name="at start",
                    state=Scheduled(scheduled_time=due),
                )
    running = asyncio.create_task(runner.start())
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # let it set its own handler first: it exits without cleaning up
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stopped = asyncio.create_task(stopping.wait())
    watching = asyncio.create_task(_watch_places(list(ids.values())))
    pulse = await pulse_of(settings, "runner")
    await asyncio.wait({running, stopped, watching}, return_when=asyncio.FIRST_COMPLETED)
    gone = watching.exception() if watching.done() else None
    watching.cancel()
    if pulse is not None:
        pulse.close()
    if gone is not None:
        running.cancel()
        raise gone
    if stopping.is_set() and not running.done():
        log.info("stopping")
        await runner.astop()
    await running


async def _beats(settings: Settings) -> bool:
    """Ask our own loop, as the supervisor does."""
    try:
        return await asyncio.wait_for(beats(pulse_name(settings, "runner")), systemd.ANSWER_S)
    except (OSError, TimeoutError):
        return False


async def _watch_places(deployments: list[UUID]) -> None:
    """Give back places that a killed server left taken, before the next run is claimed.

    Raises
    ------
    DeploymentsGone
        The server does not know them: it was given a new database.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectException

    from flows.reaper import Places

    places = Places()

    def check() -> int:
        with get_client(sync_client=True) as client:
            return places.check(client, deployments)

    while True:
        await asyncio.sleep(PLACES_EVERY_S)
        try:
            freed = await asyncio.to_thread(check)
        except ObjectNotFound as error:
            raise DeploymentsGone(
                "the Prefect server does not know our deployments any more.",
                mend="It has a new database; the runner is started anew and registers them.",
            ) from error
        except (httpx.HTTPError, PrefectException) as error:
            log.warning("places not checked: %s: %s", type(error).__name__, error)
            continue
        if freed:
            log.warning("%d place(s) that no run held given back", freed)


def runs_at_start(
    settings: Settings, now: datetime
) -> dict[str, tuple[datetime, dict[str, object]]]:
    """Return the runs to start at once, with the time each is due and its parameters.

    The rest of the present slot (due when the slot began: should the run start too late for it, it
    is skipped like any other), and what the time before left unprocessed.
    """
    found: dict[str, tuple[datetime, dict[str, object]]] = {CATCH_UP: (now, {"nights": 30})}
    slot = slot_at(now, settings.capture.slot_s)
    if slot.remaining_s(now) > WORTH_STARTING_S:
        found[CAPTURE] = (slot.start, {})
    return found


def wait_for_server(api_url: str, timeout_s: float = SERVER_WAIT_S) -> None:
    """Wait until the server answers; its start takes 15 to 35 s on a small machine.

    Raises
    ------
    ServerUnreachable
        It did not in time.
    """
    import httpx

    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{api_url}/health", timeout=5).status_code == 200:
                return
        if time.monotonic() >= deadline:
            raise ServerUnreachable(
                f"no Prefect server answers at {api_url}.",
                mend="Start one with 'allsky360 up' or its unit, or correct prefect.url.",
            )
        time.sleep(0.5)


if __name__ == "__main__":
    main()
