"""What came of each night's calibration: one small file beside a camera's lens files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from allsky360.archive.durable import locked, make_folder, sync_folder, write_atomic
from allsky360.lenses import LensStoreError, lens_folder

log = logging.getLogger(__name__)

Outcome = Literal["written", "kept", "refused"]
FILE = "nights.json"


@dataclass(frozen=True)
class NightEntry:
    """One night of one camera.

    Attributes
    ----------
    night
        The night.
    outcome
        ``written``: a new lens file; ``kept``: the lens still fits; ``refused``: not solved.
    reason
        Closed word: of :class:`allsky360.sky.solve.LensNotSolved`, ``no-dark-frames`` or
        ``unreadable``; of a written lens ``first``, ``forced``, ``moved``, ``more-frames``,
        ``other-set-up``.
    message
        For people.
    tried
        UTC instant.
    over
        Whether the night was over then; where not, it will be looked at again.
    frames
        Committed frames of the night at that time.
    used
        Frames the solution used.
    serial
        Lens file that counts since; 0 where there is none.
    rms_px
        Of this night's held-out stars with this night's solution.
    drift
        Fields of :class:`allsky360.sky.lens_drift.LensDrift` against the file that counted before,
        its serial as ``against``, ``moved_px`` and ``significance``; empty where there was none.
    """

    night: date
    outcome: Outcome
    reason: str
    message: str
    tried: datetime
    over: bool
    frames: int
    used: int = 0
    serial: int = 0
    rms_px: float | None = None
    drift: Mapping[str, Any] | None = None


def read_history(root: Path, camera: str) -> list[NightEntry]:
    """Return a camera's entries, oldest night first; a damaged file is begun anew, and said."""
    path = lens_folder(root, camera) / FILE
    try:
        return _entries(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is unreadable (%s: %s); begun anew", path, type(error).__name__, error)
        return []


def note_night(root: Path, camera: str, entry: NightEntry) -> None:
    """Write a night's entry in place of an older one of the same night.

    Raises
    ------
    LensStoreError
        The disk refuses.
    """
    folder = lens_folder(root, camera)
    try:
        make_folder(folder)
        with locked(folder / ".lock"):
            kept = [e for e in read_history(root, camera) if e.night != entry.night]
            nights = sorted([*kept, entry], key=lambda e: e.night)
            text = json.dumps({"nights": [_plain(e) for e in nights]}, indent=1, allow_nan=False)
            write_atomic(folder / FILE, text.encode(), sync=True)
            sync_folder(folder)
    except OSError as error:
        raise LensStoreError(
            f"cannot write into {folder}: {error.strerror}.",
            mend="Free space, or give the folder to the user that runs this.",
        ) from error


def _plain(entry: NightEntry) -> dict[str, Any]:
    return asdict(entry) | {"night": entry.night.isoformat(), "tried": entry.tried.isoformat()}


def _entries(data: Mapping[str, Any]) -> list[NightEntry]:
    return [
        NightEntry(
            **d
            | {
                "night": date.fromisoformat(d["night"]),
                "tried": datetime.fromisoformat(d["tried"]),
            }
        )
        for d in data["nights"]
    ]
