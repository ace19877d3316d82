"""How the camera is doing, as one word and one sentence a person understands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from allsky360.config import Settings

State = Literal["live", "stale", "fault", "paused", "waiting"]


@dataclass(frozen=True)
class Condition:
    """``state`` for programs, ``message`` for people."""

    state: State
    message: str


def stale_after_s(settings: Settings) -> float:
    """Age at which a newest frame means that something is wrong.

    Two slots and one longest bracket (or the pause between brackets, where it is longer), so that a
    single slow or missed slot raises no alarm; on a
    clock that runs fast, the seconds that processing takes pass faster too.
    """
    e = settings.exposure
    longest = max(
        max(
            p.every_s,
            p.max_exposure_s * sum(math.pow(2.0, -p.step_ev * i) for i in range(p.exposures)),
        )
        for p in (e.day, e.twilight, e.night)
    )
    return 2.0 * settings.capture.slot_s + longest + 30.0 * settings.clock.rate


def judge(
    now: datetime, newest: datetime | None, owner: Mapping[str, Any] | None, limit_s: float
) -> Condition:
    """Say how the camera is doing.

    Parameters
    ----------
    now
        The present instant of the installation's clock.
    newest
        Time of the newest frame, None when there is none.
    owner
        The owner's status, None when it does not answer.
    limit_s
        Age above which the newest frame is stale.
    """
    age_s = None if newest is None else (now - newest).total_seconds()
    fault = (owner or {}).get("fault")
    state = str((owner or {}).get("state", ""))
    if state == "fault" or fault:
        about = fault if isinstance(fault, Mapping) else {}
        name = about.get("name") or "fault"
        message = about.get("message") or "The camera owner reports a fault."
        return Condition("fault", f"Camera fault ({name}): {message}")
    if state == "paused":
        return Condition("paused", "Capture is paused: the camera owner takes no frames now.")
    plan = (owner or {}).get("plan")
    if isinstance(plan, Mapping) and plan.get("enabled") is False:
        period = plan.get("period") or "this period"
        return Condition("paused", f"Capture is switched off for {period} in the settings.")
    nobody = "" if owner is not None else " The camera owner does not answer."
    if age_s is None:
        doing = {
            "connecting": " The camera owner is connecting to the camera.",
            "ready": " The camera is ready; the first frame comes with the next slot.",
            "exposing": " The first exposure is running.",
        }.get(state, nobody)
        return Condition("waiting", f"Nothing has been captured yet.{doing}")
    if age_s < -limit_s:
        ahead = duration(-age_s)
        return Condition(
            "stale", f"The newest frame lies {ahead} in the future. Is the clock right?"
        )
    if age_s > limit_s:
        return Condition("stale", f"No new frame for {duration(age_s)}.{nobody}")
    return Condition("live", f"Frames are coming in.{nobody}")


def duration(seconds: float) -> str:
    """Write a duration the way people say it: ``45 s``, ``12 min``, ``3 h 20 min``, ``5 d``."""
    whole = int(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d"
