"""Solve each camera's lens from its stars, and follow it night by night.

Scheduled every half hour, so that measuring begins soon after the first clear frames; once a lens
is there and the last night has been looked at, a run ends at once.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from allsky360.config import load_settings
from allsky360.errors import AllskyError
from tasks.artifacts import attempt
from tasks.burst import run_log
from tasks.lens import NEEDS_A_PERSON, calibrate, due_nights, wanted_nights
from tasks.patience import HOUR_S, end_if_hung

NIGHT_S = 3 * HOUR_S


@flow(name="calibrate-lens", persist_result=False)
def calibrate_lens(camera: str = "", night: str = "", force: bool = False) -> State[Any]:
    """Calibrate what is due, or what is asked for.

    A night without usable stars (cloud, Moon, summer in the north) is Completed with the reason; a
    clock or site that must be wrong, and frames that cannot be read, are Failed.

    Parameters
    ----------
    camera
        Slug or device name; empty: every camera.
    night
        Such as 2026-11-22; empty: the newest.
    force
        Write a lens file even where nothing moved.
    """
    end_if_hung(HOUR_S)
    settings = load_settings()
    by_hand = bool(camera or night or force)
    todo = wanted_nights(settings, camera, night) if by_hand else due_nights(settings)
    said, failed = [], []
    for slug, which in todo:
        end_if_hung(NIGHT_S)
        try:
            made = calibrate(settings, slug, which, force)
        except (AllskyError, ValueError, OSError) as error:  # the other cameras go on
            run_log().error("%s %s: %s", slug, which, error)
            failed.append(f"{slug} {which}: {error}")
            continue
        _publish(made)
        words = f"{made['camera']} {made['night']}: {made['outcome']}, {made['message']}"
        (failed if made["reason"] in NEEDS_A_PERSON else said).append(words)
    if failed:
        return Failed(message="; ".join(failed + said))
    return Completed(message="; ".join(said) or "nothing due")


def _publish(made: dict[str, Any]) -> None:
    """Show the night in the UI: one series of artifacts a camera."""
    key = f"lens-{made['camera']}"
    attempt(lambda: create_markdown_artifact(made["markdown"], key=key), run_log())
