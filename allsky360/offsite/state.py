"""How far the copy is, for people and alarms: ``<storage.root>/offsite.json``."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from allsky360.archive.durable import write_atomic

log = logging.getLogger(__name__)

FILE = "offsite.json"


@dataclass(frozen=True)
class State:
    """What the last try of a copy found.

    Attributes
    ----------
    url
        Where the copy is.
    tried_at
        UTC.
    waiting_files, waiting_bytes
        What of the whole archive was not safe when the try ended.
    safe_files
        What was.
    problem
        Why the try ended early; empty where it did not.
    whole_at
        Last time a try to copy everything ended without a problem, None where none did.
    """

    url: str
    tried_at: datetime
    waiting_files: int
    waiting_bytes: int
    safe_files: int
    problem: str = ""
    whole_at: datetime | None = None


def note_state(root: Path, state: State, *, everything: bool) -> None:
    """Store it; a disk that refuses costs the note only.

    Parameters
    ----------
    root
        Of the archive.
    state
        What the try found; its ``whole_at`` is found here.
    everything
        Whether all of the archive was to be copied.
    """
    before = read_state(root)
    whole = state.tried_at if everything and not state.problem else None
    if whole is None and before is not None and before.url == state.url:
        whole = before.whole_at
    content = asdict(state) | {
        "tried_at": state.tried_at.isoformat(),
        "whole_at": whole.isoformat() if whole else None,
    }
    try:
        write_atomic(root / FILE, json.dumps(content, indent=1).encode(), sync=False)
    except OSError as error:
        log.warning("%s: %s", root / FILE, error)


def read_state(root: Path) -> State | None:
    """Return the last note; None where there is none, or it is damaged."""
    try:
        content = json.loads((root / FILE).read_bytes())
        whole = content["whole_at"]
        return State(
            str(content["url"]),
            datetime.fromisoformat(content["tried_at"]),
            int(content["waiting_files"]),
            int(content["waiting_bytes"]),
            int(content["safe_files"]),
            str(content["problem"]),
            datetime.fromisoformat(whole) if whole else None,
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
