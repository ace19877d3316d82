"""What came of a night, in words: for the terminal and for Prefect."""

from __future__ import annotations

from collections.abc import Sequence

from allsky360.reprocess.run import NightResult

NAMED = 10
"""Frames named one by one; more are counted."""


def result_lines(result: NightResult) -> list[str]:
    """Return the outcome, then each frame that failed."""
    head = f"{result.camera} {result.night}: {result.version}"
    if result.error:
        head += f" not made: {result.error}"
    elif result.lost:
        head += (
            f" has {result.frames} frames but lacks {len(result.lost)} that {result.before} shows"
            f" ({named(result.lost)}); {result.before} stays"
        )
    else:
        head += f" is shown, {result.frames} frames ({result.made} made now)"
    lines = [head]
    for index in sorted(result.failed)[:NAMED]:
        lines.append(f"  frame {index} failed: {result.failed[index]}")
    if len(result.failed) > NAMED:
        lines.append(f"  and {len(result.failed) - NAMED} more")
    return lines


def named(frames: Sequence[int]) -> str:
    """Name a few frames."""
    more = f" and {len(frames) - NAMED} more" if len(frames) > NAMED else ""
    return ", ".join(str(i) for i in frames[:NAMED]) + more


def results_markdown(results: Sequence[NightResult]) -> str:
    """Return the outcome of several nights for Prefect's UI."""
    lines = ["| camera | night | version | frames | failed | shown |", "|---|---|---|---|---|---|"]
    for r in results:
        shown = "yes" if r.switched else f"no: {r.error or f'lacks {len(r.lost)} frames'}"
        lines.append(
            f"| {r.camera} | {r.night} | {r.version} | {r.frames} | {len(r.failed)} | {shown} |"
        )
    details = [line for r in results for line in result_lines(r)[1:]]
    return "\n".join([*lines, "", *details])
