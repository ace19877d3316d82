"""The two tasks of a burst: take it, and settle its frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.tasks import Task

from allsky360.config import Settings
from allsky360.net import netloc
from tasks.artifacts import Progress, publish_picture, publish_report
from tasks.burst_log import BurstFailed, BurstLog, report_markdown
from tasks.handover import Handover, Log
from tasks.slots import settle_s

MAX_DELAY_S = 15.0
ANSWERS_S = 600.0
WORTH_A_TRY_S = 1.0  # less than this left of the slot is left to the next run
RetryCondition = Callable[[Task[..., Any], TaskRun, State[Any]], bool]
RETRY_DELAYS = 50  # Prefect takes no more; the last one repeats


@task(name="take-burst", cache_policy=NO_CACHE, persist_result=False)
def take_burst(
    settings: Settings, handover: Handover, burst: BurstLog, run_id: str
) -> dict[str, Any]:
    """Ask the camera owner for brackets until the slot ends; hand each frame to processing.

    The slot's end is fixed, so every retry asks for what remains of it.

    Raises
    ------
    BurstFailed
        The owner gave up (the message names the fault), or the slot passed between two tries.
    OwnerUnreachable
        Nobody answers at the owner's address, or its stream broke off.
    """
    from allsky360.owner.client import OwnerClient

    log = run_log()
    progress = Progress(burst.slot, log)
    burst.tries += 1
    remaining = burst.slot.remaining_s(datetime.now(UTC))
    if remaining <= 0 and burst.tries > 1:
        fault = burst.faults[-1] if burst.faults else {"name": "the owner did not answer"}
        raise BurstFailed(f"the slot ended before a try succeeded ({fault.get('name')}).")
    log.info("slot ends %s: %.1f s of brackets", f"{burst.slot.end:%H:%M:%S}", remaining)
    with OwnerClient(f"http://{netloc(settings.owner.host, settings.owner.port)}") as owner:
        for event in owner.burst(burst.slot.end, run_id):
            burst.note(event)
            _tell(event, log)
            if event.get("event") == "bracket":
                night = date.fromisoformat(event["night"])
                handover.give(event["camera"], night, int(event["index"]), log)
                progress.show(len(burst.brackets))
            elif event.get("event") == "failed":
                raise BurstFailed(f"{event.get('name')}: {event.get('message')}")
    progress.show(len(burst.brackets), done=True)
    return burst.summary()


@task(name="settle-burst", cache_policy=NO_CACHE, persist_result=False)
def settle_burst(settings: Settings, handover: Handover, burst: BurstLog) -> dict[str, Any]:
    """Wait, less than half a slot, for this burst's frames; publish report and picture."""
    log = run_log()
    longest_s = settle_s(settings.capture.slot_s)
    since_end_s = (datetime.now(UTC) - burst.slot.end).total_seconds()
    settled = handover.settle(min(longest_s, longest_s - since_end_s))
    for frame, error in settled["errors"].items():
        log.error("%s failed: %s", frame, error)
    if settled["running"] or settled["left"]:
        log.warning(
            "%d frame(s) still running, %d left to catch-up", settled["running"], settled["left"]
        )
    publish_report(report_markdown(burst, settled), log)
    if burst.brackets and settled["processed"]:
        publish_picture(settings, burst.brackets[-1], log)
    return {key: value for key, value in settled.items() if key != "errors"}


def _tell(event: Mapping[str, Any], log: Log) -> None:
    """Log one event of the burst."""
    kind = event.get("event")
    if kind == "bracket":
        night, index = event["night"], event["index"]
        exposures, gain = event.get("exposures_s"), event.get("gain")
        log.info("frame %s #%s: %s s, gain %s", night, index, exposures, gain)
    elif kind == "fault":
        name, message, again = event.get("name"), event.get("message"), event.get("retry_in_s")
        log.warning("camera fault %s: %s (again in %s s)", name, message, again)
    elif kind == "idle":
        log.info("no exposure: %s", event.get("reason"))


def take_burst_for(settings: Settings, burst: BurstLog) -> Task[..., dict[str, Any]]:
    """Return :func:`take_burst` with the retries, back-off and time limit of these settings.

    The last bracket may begin just before the slot ends, and wait for one of the burst before: the
    limit leaves room for both and for the owner's own grace, and only ends a stream that hangs.
    """
    capture = settings.capture
    return take_burst.with_options(
        retries=capture.retries,
        retry_delay_seconds=retry_delays_s(capture.retries, capture.retry_delay_s),
        retry_condition_fn=worth_another_try(burst),
        timeout_seconds=_try_limit_s(settings, burst),
    )


def burst_limit_s(settings: Settings, burst: BurstLog) -> float:
    """Return how long a burst may take until all of it is settled, before it counts as hung.

    A try that begins while the slot lasts has its own limit; what Prefect and Dask may take to
    answer, or not to, is added.
    """
    return 2 * _try_limit_s(settings, burst) + settle_s(settings.capture.slot_s) + ANSWERS_S


def _try_limit_s(settings: Settings, burst: BurstLog) -> float:
    periods = (settings.exposure.day, settings.exposure.twilight, settings.exposure.night)
    longest_s = max(p.max_exposure_s * p.exposures for p in periods)
    remaining_s = burst.slot.remaining_s(datetime.now(UTC))
    return max(0.0, remaining_s) + 2 * (longest_s + settings.camera.timeout_s)


def retry_delays_s(retries: int, first_s: float) -> list[float]:
    """Double the pause from try to try, up to 15 s (or the first, where that is longer)."""
    longest = max(MAX_DELAY_S, first_s)
    return [min(longest, first_s * 2**n) for n in range(min(max(retries, 1), RETRY_DELAYS))]


def worth_another_try(burst: BurstLog) -> RetryCondition:
    """Return the test that tries again, whatever went wrong, while enough of the slot is left."""

    def check(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
        return burst.slot.remaining_s(datetime.now(UTC)) > WORTH_A_TRY_S

    return check


def run_log() -> Log:
    """Return Prefect's logger of the run, or a plain one outside of it (tests, notebooks)."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("tasks")
