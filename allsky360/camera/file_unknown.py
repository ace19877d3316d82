"""What to say when a file does not tell when, or for how long, it was exposed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

MTIME = "file modification time (the file does not tell)"


def start_or_mtime(found: tuple[datetime, str] | None, path: Path) -> tuple[datetime, str]:
    """Return the start and where it comes from; the file's age when nothing better is known."""
    if found is not None:
        return found
    return datetime.fromtimestamp(path.stat().st_mtime, UTC), MTIME


def exposure_or_one(seconds: float | None, source: str = "header") -> tuple[float, str]:
    """Return the exposure time and where it comes from; 1 s when it is unknown."""
    if seconds is None or not 0 <= seconds < 1e6:
        return 1.0, "unknown"
    return float(seconds), source
