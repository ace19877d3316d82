"""The story of a dark library: cover the lens, take biases and darks, build masters, say how.

Started by hand. Bursts wait while the frames are taken.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from allsky360.config import load_settings
from allsky360.darks import Order
from tasks.artifacts import attempt
from tasks.burst import run_log
from tasks.darks import take_masters


@flow(name="take-darks", persist_result=False)
def take_darks(
    exposures_s: list[float], count: int = 20, biases: int = 40, gain: float | None = None
) -> State[Any]:
    """Take ``count`` darks of each exposure time and ``biases`` biases, and build masters."""
    order = Order(tuple(exposures_s), count, gain, biases)
    made = take_masters(load_settings(), order, f"darks-{flow_run.id or 'by-hand'}")
    words = f"{len(made['built'])} masters built"
    lines = [words, *(f"- {name}" for name in made["built"])]
    lines += [f"- left out for its level: {name}" for name in made["left_out"]]
    lines += [f"- failed: {reason}" for reason in made["failed"]]
    attempt(lambda: create_markdown_artifact("\n".join(lines), key="take-darks"), run_log())
    if made["failed"]:
        return Failed(message=f"{words}, {len(made['failed'])} frames could not be used")
    return Completed(message=words)
