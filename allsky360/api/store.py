"""The service's view of the archive: what a request needs of a frame, and nothing that writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, order=True)
class FrameKey:
    """Which frame; sorts by camera, night, index."""

    camera: str
    night: date
    index: int


@dataclass(frozen=True)
class FrameInfo:
    """One frame as the archive describes it.

    Attributes
    ----------
    camera
        Camera slug.
    exposures_s, gain
        What was exposed, longest first.
    scalars
        Every measurement along time, of capture and of processing.
    stamp
        When the processed frame was committed, nanoseconds since 1970; 0 while it is not.
    version
        Version of the processed frame; empty while it is not.
    """

    camera: str
    night: date
    index: int
    time: datetime
    exposures_s: tuple[float, ...]
    gain: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    stamp: int = 0
    version: str = ""

    @property
    def processed(self) -> bool:
        """Whether picture and measurements are there."""
        return self.stamp > 0

    @property
    def revision(self) -> str | None:
        """Changes whenever the frame is processed again."""
        return f"{self.version}-{self.stamp:x}" if self.processed else None
