"""The table of a campaign."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]
HEAD = (
    "fault", "part", "times", "held s", "seen s", "worst", "well s", "worst", "gap s", "worst",
    "in flight lost", "committed lost", "not well",
)  # fmt: skip


def rows(injections: Sequence[Record]) -> list[list[str]]:
    """One row a fault: medians and worst cases."""
    found = []
    for name in sorted({r["fault"] for r in injections}):
        mine = [r for r in injections if r["fault"] == name]
        found.append(
            [
                name,
                mine[0]["part"],
                str(len(mine)),
                f"{mine[0]['held_s']:.0f}",
                *_both([r["detection_s"] for r in mine]),
                *_both([r["recovery_s"] for r in mine]),
                *_both([r["gap_s"] for r in mine]),
                str(sum(r["exposures_lost"] for r in mine)),
                str(sum(r["frames_lost"] for r in mine)),
                str(sum(not r["well"] for r in mine)),
            ]
        )
    return found


def _both(values: Sequence[float | None]) -> tuple[str, str]:
    known = [v for v in values if v is not None]
    if not known:
        return "-", "-"
    return f"{statistics.median(known):.1f}", f"{max(known):.1f}"


def table(injections: Sequence[Record]) -> str:
    """Write it in Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(injections)]
    lost = sum(r["exposures_lost"] for r in injections)
    gone = sum(r["frames_lost"] for r in injections)
    bad = [r["fault"] for r in injections if not r["well"]]
    lines.append("")
    lines.append(
        f"{len(injections)} injections of {len({r['fault'] for r in injections})} faults: "
        f"{gone} committed frames lost, {lost} exposures in flight lost, "
        f"{len(bad)} not well within the time{': ' + ', '.join(sorted(set(bad))) if bad else ''}."
    )
    return "\n".join(lines)
