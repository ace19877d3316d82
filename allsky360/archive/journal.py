"""The faults an installation met, a line each, so that a night's report can say why frames lack.

``<storage.root>/logs/faults.jsonl``; when it grows too long the older half moves to
``faults.1.jsonl``, which it replaces.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class FaultLine:
    """One fault: when (UTC), of which camera (its device name), its name and words."""

    time: datetime
    camera: str
    name: str
    message: str


def journal_path(root: Path) -> Path:
    """Return where the newest faults are written."""
    return root / "logs" / "faults.jsonl"


def note_fault(root: Path, line: FaultLine) -> None:
    """Append a fault. A disk that refuses costs the line, not the caller."""
    path = journal_path(root)
    content = {
        "time": line.time.isoformat(),
        "camera": line.camera,
        "name": line.name,
        "message": line.message[:500],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            os.replace(path, path.with_suffix(".1.jsonl"))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
    except OSError as error:
        log.warning("a fault was not noted in %s: %s", path, error)


def faults_between(root: Path, begin: datetime, end: datetime) -> list[FaultLine]:
    """Faults of a stretch of time in order; lines that cannot be read are left out."""
    found = []
    newest = journal_path(root)
    for path in (newest.with_suffix(".1.jsonl"), newest):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                content = json.loads(line)
                fault = FaultLine(
                    datetime.fromisoformat(content["time"]),
                    str(content["camera"]),
                    str(content["name"]),
                    str(content["message"]),
                )
                inside = begin <= fault.time <= end
            except (ValueError, KeyError, TypeError):
                continue  # half a line, of a power cut
            if inside:
                found.append(fault)
    return sorted(found, key=lambda f: f.time)
