"""The story of a burst.

A scheduled run takes brackets until its slot ends, hands each frame to processing as it comes, and
waits a little for the last ones. Bursts never overlap: the camera owner lets a second caller wait
until the running burst's last bracket has ended.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from allsky360.config import load_settings
from tasks.burst import burst_limit_s, run_log, settle_burst, take_burst_for
from tasks.burst_log import BurstLog
from tasks.handover import Handover
from tasks.patience import end_if_hung
from tasks.slots import slot_to_capture


@flow(name="capture-burst", persist_result=False, validate_parameters=False)
def capture_burst() -> State[Any]:
    """Take brackets back to back until the present slot ends."""
    settings = load_settings()
    scheduled = flow_run.scheduled_start_time
    slot = slot_to_capture(datetime.now(UTC), scheduled, settings.capture.slot_s)
    if slot is None:
        message = f"its slot of {scheduled:%H:%M:%S} UTC has passed"
        run_log().warning("skipped: %s", message)
        return Completed(name="Skipped", message=message)
    burst = BurstLog(slot)
    handover = Handover(settings)
    run_id = str(flow_run.id or "by-hand")
    take_burst = take_burst_for(settings, burst)
    end_if_hung(burst_limit_s(settings, burst))
    taken = cast("State[Any]", take_burst(settings, handover, burst, run_id, return_state=True))
    settle_burst(settings, handover, burst)  # also after a failure: frames were taken before it
    handover.close()
    if not taken.is_completed():
        return Failed(message=f"{burst.sentence()}; {taken.message}")
    return Completed(message=burst.sentence())
