"""Addresses of the service's resources."""

from __future__ import annotations

from datetime import date
from typing import Protocol
from urllib.parse import quote

API = "/api/v1"


class HasFrameId(Protocol):
    """Whatever names a frame."""

    @property
    def camera(self) -> str:
        """Camera slug."""

    @property
    def night(self) -> date:
        """Night."""

    @property
    def index(self) -> int:
        """Number in the night."""


def frame_id(frame: HasFrameId) -> str:
    """Return the id of a frame: ``2026-11-22/000017``."""
    return f"{frame.night}/{frame.index:06d}"


def frame_address(frame: HasFrameId, part: str = "", **query: object) -> str:
    """Address of a frame or one of its parts; always names the camera."""
    return f"{API}/frames/{frame_id(frame)}{part}?{_query(**query, camera=frame.camera)}"


def night_address(night: date, camera: str, part: str = "") -> str:
    """Address of a night or one of its parts."""
    return f"{API}/nights/{night}{part}?{_query(camera=camera)}"


def _query(**query: object) -> str:
    return "&".join(f"{k}={quote(str(v), safe='')}" for k, v in query.items())
