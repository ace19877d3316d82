"""The newest warnings and errors of the parts' logs, read from their ends only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal, cast

from allsky360.api.models_system import LogLine

TAIL_BYTES = 32 * 1024
MOST, MOST_OF_A_PART = 50, 12
_LEVEL = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
_LOGIN = re.compile(r"(?<=://)[^\s/@]+@")


def newest_troubles(folder: Path) -> list[LogLine]:
    """Return the last warnings and errors of every ``<part>.log``; none where there are no logs."""
    try:
        logs = sorted(p for p in folder.iterdir() if p.suffix == ".log" and p.is_file())
    except OSError:
        return []
    found = [line for path in logs for line in _troubles(path)[-MOST_OF_A_PART:]]
    return found[-MOST:]


def _troubles(path: Path) -> list[LogLine]:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for raw in text.splitlines()[1:] if len(text) >= TAIL_BYTES else text.splitlines():
        line = _as_text(raw)
        match = _LEVEL.search(line)
        if match is not None:
            level = cast(Literal["warning", "error", "critical"], match[1].lower())
            shown = _LOGIN.sub("***@", line.strip())[:400]
            found.append(LogLine(part=path.stem, level=level, text=shown))
    return found


def _as_text(line: str) -> str:
    """Return a line of a log that is JSON as one for people."""
    if not line.startswith("{"):
        return line
    try:
        entry = json.loads(line)
        return f"{entry['time']} {entry['level']} {entry['message']}"
    except (ValueError, KeyError, TypeError):
        return line
