"""What happened in one burst, kept while its tasks run and are tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allsky360.errors import AllskyError
from tasks.slots import Slot


class BurstFailed(AllskyError):
    """The camera owner gave the burst up; the message carries the fault's name."""


class BurstLog:
    """Events of one burst over all tries. A plain class: Prefect must not walk or copy it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.brackets: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.idle: list[str] = []
        self.tries = 0
        self.open_s = 0.0
        self.elapsed_s = 0.0

    def note(self, event: Mapping[str, Any]) -> None:
        """Keep one event of the owner's stream; unknown kinds are left aside."""
        kind = event.get("event")
        if kind == "bracket":
            self.brackets.append(dict(event))
        elif kind in ("fault", "failed"):
            self.faults.append(dict(event))
        elif kind == "idle":
            self.idle.append(str(event.get("reason", "")))
        elif kind == "end":
            self.open_s += float(event.get("open_s", 0.0))
            self.elapsed_s += float(event.get("elapsed_s", 0.0))

    def summary(self) -> dict[str, Any]:
        """Return the small record a task may return."""
        return {
            "brackets": len(self.brackets),
            "open_s": round(self.open_s, 3),
            "elapsed_s": round(self.elapsed_s, 3),
            "faults": len(self.faults),
            "tries": self.tries,
        }

    def sentence(self) -> str:
        """Say in a few words what became of the burst."""
        if not self.brackets and self.idle:
            return f"idle: {self.idle[-1]}"
        words = f"{len(self.brackets)} frame(s)"
        if self.elapsed_s > 0:
            words += f", shutter open {100 * self.open_s / self.elapsed_s:.0f} % of the time"
        if self.faults:
            words += f", {len(self.faults)} fault(s)"
        return words


def report_markdown(log: BurstLog, settled: Mapping[str, Any]) -> str:
    """Write a burst as Markdown: a line, the frames, the faults."""
    lines = [
        f"**{log.slot.start:%Y-%m-%d %H:%M:%S} to {log.slot.end:%H:%M:%S} UTC**: {log.sentence()}",
        "",
        f"Processed {settled.get('processed', 0)}, failed {settled.get('failed', 0)}, "
        f"still running {settled.get('running', 0)}, "
        f"left to catch-up {settled.get('left', 0)}.",
    ]
    if log.brackets:
        lines += [
            "",
            "| frame | UTC | exposures (s) | gain | level | Sun (°) |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(b) for b in log.brackets]
    if log.faults:
        lines += ["", "| fault | message |", "|---|---|"]
        lines += [f"| {f.get('name', '')} | {_cell(f.get('message', ''))} |" for f in log.faults]
    if settled.get("errors"):
        lines += ["", "| frame | error |", "|---|---|"]
        lines += [f"| {name} | {_cell(text)} |" for name, text in settled["errors"].items()]
    return "\n".join(lines)


def _row(bracket: Mapping[str, Any]) -> str:
    exposures = ", ".join(f"{t:.4g}" for t in bracket.get("exposures_s", ()))
    numbers = (
        "" if bracket.get(key) is None else f"{bracket[key]:.4g}"
        for key in ("gain", "level", "sun_altitude_deg")
    )
    night, index = bracket.get("night"), bracket.get("index")
    return f"| {night} #{index} | {bracket.get('time', '')} | {exposures} | {' | '.join(numbers)} |"


def _cell(text: object) -> str:
    """Keep a text inside its table cell."""
    return " ".join(str(text).replace("|", "\\|").split())
