"""One frame as the service knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from allsky360.archive import FrameRef


@dataclass(frozen=True)
class FrameInfo:
    """One frame as the archive describes it.

    Attributes
    ----------
    ref
        Which frame.
    time
        UTC start.
    exposures_s, gain
        What was exposed, longest first.
    scalars
        Every measurement along time, of capture and of processing.
    stamp
        When the processed frame was committed, nanoseconds since 1970; 0 while it is not.
    version
        Version of the processed frame; empty while it is not.
    """

    ref: FrameRef
    time: datetime
    exposures_s: tuple[float, ...]
    gain: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    stamp: int = 0
    version: str = ""

    @property
    def camera(self) -> str:
        """Camera slug."""
        return self.ref.camera

    @property
    def night(self) -> date:
        """Night the frame belongs to."""
        return self.ref.night

    @property
    def index(self) -> int:
        """Number within the night."""
        return self.ref.index

    @property
    def processed(self) -> bool:
        """Whether picture and measurements are there."""
        return self.stamp > 0

    @property
    def revision(self) -> str | None:
        """Changes whenever the frame is processed again."""
        return f"{self.version}-{self.stamp // 1000:x}" if self.processed else None
