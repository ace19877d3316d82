"""What the frames before hand on to the next: the picture's tone and the sky's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from allsky360.errors import AllskyError
from allsky360.imaging.tone import Tone

if TYPE_CHECKING:
    from allsky360.archive import Archive, FrameRef
    from allsky360.measure.memory import SkyMemory

log = logging.getLogger(__name__)

LOOK_BACK = 5
"""Frames searched backwards for a tone and a memory to continue."""

NIGHTS_BACK = 3
"""Earlier nights searched for what clear air looks like."""

T = TypeVar("T")


@dataclass(frozen=True)
class Before:
    """What the frames before hand on."""

    tone: Tone | None = None
    memory: SkyMemory | None = None


def previous(archive: Archive, ref: FrameRef) -> Before:
    """Read the newest processed frame before this one, so that pictures do not flicker.

    Frames are developed side by side, so the one just before may not be there yet. What clear air
    looks like is remembered from the night before, too.
    """
    tone = memory = None
    for index in range(ref.index - 1, max(ref.index - 1 - LOOK_BACK, -1), -1):
        provenance = _provenance(archive, replace(ref, index=index))
        tone = tone or _read_part(provenance, Tone.from_json, "tone")
        memory = memory or _read_part(provenance, memory_from_json, "sky", "memory")
        if tone is not None and memory is not None:
            break
    if memory is None:
        memory = memory_of_an_earlier_night(archive, ref)
    return Before(tone, memory)


def memory_of_an_earlier_night(archive: Archive, ref: FrameRef) -> SkyMemory | None:
    """Search the last frames of the nights before; the verdict of another night is not kept."""
    earlier = [n for n in archive.nights(ref.camera) if n < ref.night]
    for night in sorted(earlier, reverse=True)[:NIGHTS_BACK]:
        last = archive.count(ref.camera, night) - 1
        for index in range(last, max(last - LOOK_BACK, -1), -1):
            provenance = _provenance(archive, replace(ref, night=night, index=index))
            found = _read_part(provenance, memory_from_json, "sky", "memory")
            if found is not None:
                return replace(found, safety=type(found.safety)())
    return None


def memory_from_json(data: dict[str, Any]) -> SkyMemory:
    """Read a memory; the sky's rooms are imported when the first is."""
    from allsky360.measure.memory import SkyMemory

    return SkyMemory.from_json(data)


def _provenance(archive: Archive, ref: FrameRef) -> dict[str, Any]:
    try:
        found = archive.record(ref)["provenance"]
    except (AllskyError, OSError, KeyError, TypeError, ValueError) as error:
        log.debug("no record of frame %s: %s", ref.id, error)
        return {}
    return found if isinstance(found, dict) else {}


def _read_part(data: dict[str, Any], read: Callable[[dict[str, Any]], T], *path: str) -> T | None:
    """Read one part of a record; None where it is missing or another version wrote it."""
    part: Any = data
    for key in path:
        part = part.get(key) if isinstance(part, dict) else None
    if part is None:
        return None
    try:
        return read(part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.debug("%s of a record cannot be read: %s", ".".join(path), error)
        return None
