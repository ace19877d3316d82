"""What was taken out of a night on purpose, so that nobody takes it for damage; favourites.

``<night>/removed.json`` names each kind of data that retention removed, and when. A night with a
file ``<night>/favourite`` keeps everything.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from allsky360.archive.durable import sync_folder, write_atomic

Kind = Literal["versions", "raw", "linear", "pictures", "products"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they give way when space is short: what can be made again goes first."""

FILE = "removed.json"
FAVOURITE = "favourite"


def removed(folder: Path) -> dict[Kind, datetime]:
    """Return what was removed from a night's folder, and when; empty where nothing was."""
    try:
        content = json.loads((folder / FILE).read_bytes())
        return {kind: datetime.fromisoformat(content[kind]) for kind in KINDS if kind in content}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        return {}  # a damaged note: `allsky360 verify` will name what it cannot explain


def note_removed(folder: Path, kind: Kind, when: datetime) -> None:
    """Note that a kind of data leaves a night; OSError where the disk refuses."""
    known = {k: at.isoformat() for k, at in removed(folder).items()}
    text = json.dumps(known | {kind: when.isoformat()}, indent=1)
    write_atomic(folder / FILE, text.encode(), sync=True)
    sync_folder(folder)


def is_favourite(folder: Path) -> bool:
    """Whether a night is to be kept whole."""
    return (folder / FAVOURITE).exists()


def set_favourite(folder: Path, wanted: bool) -> None:
    """Keep a night whole, or no longer; OSError where the disk refuses."""
    if wanted:
        (folder / FAVOURITE).touch()
    else:
        (folder / FAVOURITE).unlink(missing_ok=True)
    sync_folder(folder)
