"""Opaque cursors: a position in the order (night, index), never an offset.

A night grows while it is read; a position stays where it is, so a reader that follows cursors
sees every frame once.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import date
from typing import Literal

from allsky360.api.problems import BadCursor

Order = Literal["oldest", "newest"]


@dataclass(frozen=True)
class Position:
    """The last frame (``index``) or night (``index`` -1) delivered, and what was being read."""

    camera: str
    night: date
    index: int
    order: Order = "oldest"


def encode(position: Position) -> str:
    """Write a cursor."""
    plain = [position.camera, position.night.isoformat(), position.index, position.order]
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> Position:
    """Read a cursor; anything this service did not write is a :class:`BadCursor`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        camera, night, index, order = json.loads(raw.decode())
        position = Position(str(camera), date.fromisoformat(night), int(index), order)
        known = order in ("oldest", "newest") and -1 <= position.index <= 10**9
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        known = False
    if not known:
        raise BadCursor(
            "The cursor is not one of this service.",
            mend="Take it unchanged from `cursor` or `links.next`, or leave it out to start over.",
        )
    return position
