"""Catch up: process what was stored but not processed (Dask away, a power cut, a killed worker)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.config import load_settings
from tasks.burst import run_log
from tasks.patience import HOUR_S, end_if_hung
from tasks.pending import (
    batch_limit_s,
    batches,
    due_frames,
    failures_of,
    pending_frames,
    process_batch,
    utc_now,
)


@flow(name="process-pending", persist_result=False)
def process_pending(nights: int = 3, batch_size: int = 20) -> State[Any]:
    """Process frames that have no picture yet, in the order they were taken.

    Parameters
    ----------
    nights
        How many of the newest nights of each camera to look through; 0: all of them.
    batch_size
        Frames in one task.
    """
    end_if_hung(HOUR_S)
    settings = load_settings()
    failures = failures_of(settings)
    frames = pending_frames(settings, nights)
    due = due_frames(frames, failures, utc_now())
    run_log().info("%d frame(s) pending, %d due", len(frames), len(due))
    done, errors = 0, {}
    for batch in batches(due, batch_size):
        end_if_hung(batch_limit_s(len(batch.keys)))
        record = process_batch(settings, batch.keys, batch)
        failures.note(batch.keys, record["errors"], utc_now())
        done += record["processed"]
        errors.update(record["errors"])
    if errors:
        first = next(iter(errors.items()))
        return Failed(
            message=f"{done} processed, {len(errors)} failed, first {first[0]}: {first[1]}"
        )
    return Completed(message=f"{done} frame(s) processed" if done else "nothing pending")
