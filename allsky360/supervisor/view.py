"""The status view in the terminal: a live table, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from allsky360.clock import REAL_CLOCK, Clock
from allsky360.supervisor.process import PartState

COLOURS = {
    "running": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "stopping": "yellow",
    "restarting": "red",
    "not answering": "red",
    "blocked": "red",
    "stopped": "dim",
}


@dataclass
class Progress:
    """What the view shows below the parts."""

    site: str
    archive: str
    clock: Clock = REAL_CLOCK
    started: float = field(default_factory=time.monotonic)
    owner: Mapping[str, Any] | None = None
    latest: Mapping[str, Any] | None = None
    first_frame_s: float | None = None


def render(states: Sequence[PartState], progress: Progress) -> RenderableType:
    """Build the whole view.

    In a narrow terminal only addresses are cut, so that a part stays one line; what ails it stands
    below the table, where it has the whole width.
    """
    table = Table(expand=False, pad_edge=False, box=None)
    for heading, least in (("part", 9), ("state", 13), ("for", 6), ("restarts", 0), ("address", 0)):
        table.add_column(heading, no_wrap=True, min_width=least)
    for s in states:
        table.add_row(
            s.part.name,
            Text(s.state, style=COLOURS.get(s.state, "")),
            duration(time.monotonic() - s.since),
            str(s.restarts) if s.restarts else "",
            s.part.address,
        )
    lines: list[RenderableType] = [
        Text(f"allsky360  {progress.site}   archive {progress.archive}", style="bold"),
        table,
        *(
            Text(f"{s.part.name:9} {s.detail}", COLOURS.get(s.state, ""))
            for s in states
            if s.detail
        ),
        Text(camera_line(progress.owner)),
        Text(frame_line(progress)),
        Text("Ctrl-C stops everything cleanly.", style="dim"),
    ]
    return Group(*lines)


def camera_line(owner: Mapping[str, Any] | None) -> str:
    """One line on the camera, from the owner's status."""
    if owner is None:
        return "camera    no answer from the owner yet"
    line = f"camera    {owner.get('camera') or 'none yet'}: {owner.get('state')}"
    fault = owner.get("fault")
    if fault:
        line += f" ({fault.get('name')}: {fault.get('message')})"
    plan = owner.get("plan") or {}
    if plan.get("exposures_s"):
        times = ", ".join(f"{t:.4g} s" for t in plan["exposures_s"])
        line += f"; {plan.get('period')}: {times} at gain {plan.get('gain'):g}"
    return line


def frame_line(progress: Progress) -> str:
    """One line on the newest processed frame."""
    if progress.latest is None:
        return "frame     none on the live page yet"
    when = str(progress.latest.get("time", ""))
    age = ""
    try:
        seconds = (progress.clock.now() - datetime.fromisoformat(when)).total_seconds()
        age = f", {duration(seconds)} ago" if seconds >= 0 else ""
    except ValueError:
        when = when or "unknown time"
    first = progress.first_frame_s
    since = f"; first one {first:.0f} s after the start" if first is not None else ""
    return f"frame     {progress.latest.get('id')} at {when}{age}{since}"


def duration(seconds: float) -> str:
    """``5 s``, ``3 min``, ``2.1 h``, ``4.0 d``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def change_line(status: PartState) -> str:
    """One plain line for a state change, where there is no terminal to redraw."""
    stamp = datetime.now(UTC).strftime("%H:%M:%S")
    tail = f": {status.detail}" if status.detail else ""
    if status.state == "running" and status.part.address:
        tail = f" at {status.part.address}"
    return f"{stamp} {status.part.name} {status.state}{tail}"


def console() -> Console:
    """Return the console of this process."""
    return Console()
