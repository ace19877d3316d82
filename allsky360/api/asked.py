"""Which frame a request is about: one parameter for all routes of ``/frames/{night}/{index}``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import Depends, Query

from allsky360.api.conditional import IMMUTABLE, LIVE
from allsky360.api.parameters import CameraQuery, IndexPath, NightPath
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo


@dataclass(frozen=True)
class AskedFrame:
    """A frame's address as a request gives it."""

    night: date
    index: int
    camera: str | None

    def of(self, service: Service) -> FrameInfo:
        """Return the frame; refuse one that does not exist."""
        return service.need_frame(self.camera, self.night, self.index)


async def asked_frame(night: NightPath, index: IndexPath, camera: CameraQuery = None) -> AskedFrame:
    """Collect the parameters."""
    return AskedFrame(night, index, camera)


FrameDep = Annotated[AskedFrame, Depends(asked_frame)]
RevisionQuery = Annotated[
    str | None,
    Query(max_length=64, description="The frame's `revision`: the answer is then immutable."),
]


def cache_of(frame: FrameInfo, revision: str | None) -> str:
    """How long an answer made of one revision of a frame may be kept."""
    return IMMUTABLE if revision == frame.revision else LIVE
