"""What is wrong, judged from one look at the system. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from allsky360.config_alarms import AlarmSettings


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong now.

    Attributes
    ----------
    name
        Stable, for programs: ``no-new-frame``, ``camera-timeout``, ``part-down-dask``, …
    says
        One sentence for people.
    grave
        Whether frames are being lost, so that quiet hours do not hold it back.
    """

    name: str
    says: str
    grave: bool = False


@dataclass(frozen=True)
class Look:
    """One look at the system.

    Attributes
    ----------
    now
        UTC.
    newest
        Start of the newest raw frame, None where there is none.
    owner
        The owner's ``/status``, None where it does not answer.
    silent
        Names of parts that do not answer.
    free_bytes, min_free_bytes
        Disk, and the least that capture needs; None where the disk does not answer.
    backlog
        Frames of the present night that wait for processing.
    temperature_c
        Of the sensor at the newest frame.
    measured
        Numbers of the newest processed frame, for MQTT.
    safety
        Verdict on the sky and its reason.
    offsite
        What is wrong with the off-site copy; empty where nothing is.
    offsite_holds_bytes
        What was not safe elsewhere when that was looked at last.
    short
        Whether the disk is below retention's low mark.
    """

    now: datetime
    newest: datetime | None = None
    owner: Mapping[str, Any] | None = None
    silent: tuple[str, ...] = ()
    free_bytes: float | None = None
    min_free_bytes: float = 0.0
    backlog: int = 0
    temperature_c: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    safety: tuple[str, str] = ("unknown", "")
    offsite: str = ""
    offsite_holds_bytes: float = 0.0
    short: bool = False


def troubles(look: Look, settings: AlarmSettings, stale_after_s: float) -> list[Trouble]:
    """Say what is wrong; empty when all is well.

    Parameters
    ----------
    look
        What was seen.
    settings
        Limits.
    stale_after_s
        Age of the newest frame above which it is too old.
    """
    found: list[Trouble] = []
    fault = (look.owner or {}).get("fault")
    if isinstance(fault, Mapping):
        name, says = str(fault.get("name", "fault")), str(fault.get("message", ""))
        found.append(Trouble(f"camera-{name}", f"The camera is in trouble: {says}", grave=True))
    elif (age := _age_s(look)) is not None and age > stale_after_s and _wanted(look):
        minutes = age / 60
        says = f"No new frame for {minutes:.0f} minutes."
        found.append(Trouble("no-new-frame", says, grave=True))
    if look.newest is not None and look.newest - look.now > timedelta(seconds=stale_after_s):
        says = "The newest frame lies in the future: the clock was or is wrong."
        found.append(Trouble("clock", says))
    found += [
        Trouble(f"part-down-{part}", f"The part {part!r} does not answer.", grave=part == "owner")
        for part in look.silent
    ]
    if look.free_bytes is None:
        found.append(Trouble("disk-gone", "The archive's disk does not answer.", grave=True))
    elif look.free_bytes < look.min_free_bytes:
        says = f"The disk has {look.free_bytes / 1e9:.2f} GB left: capture is paused."
        found.append(Trouble("disk-full", says, grave=True))
    if look.offsite:
        found.append(Trouble("offsite", look.offsite))
    if look.short and look.offsite_holds_bytes:
        says = (
            f"The disk is nearly full, and {look.offsite_holds_bytes / 1e9:.2f} GB must not be "
            "removed before they are safe at offsite.url: capture will pause."
        )
        found.append(Trouble("offsite-holds-disk", says, grave=True))
    if look.backlog > settings.backlog_frames:
        found.append(Trouble("backlog", f"{look.backlog} frames wait for processing."))
    if (t := look.temperature_c) is not None:
        if t > settings.temperature_max_c:
            found.append(Trouble("too-hot", f"The sensor is at {t:.1f} °C.", grave=True))
        elif t < settings.temperature_min_c:
            found.append(Trouble("too-cold", f"The sensor is at {t:.1f} °C."))
    return found


def _age_s(look: Look) -> float | None:
    return None if look.newest is None else (look.now - look.newest).total_seconds()


def _wanted(look: Look) -> bool:
    """Whether frames are wanted now: not while capture is switched off for the period."""
    plan = (look.owner or {}).get("plan")
    return not (isinstance(plan, Mapping) and plan.get("enabled") is False)
