"""What a streak is, and what streaks of consecutive frames make together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Kind = Literal["meteor", "satellite", "aircraft", "unknown"]


@dataclass(frozen=True)
class Streak:
    """A streak in one frame.

    Attributes
    ----------
    x1, y1, x2, y2
        Ends, pixels.
    alt1_deg, az1_deg, alt2_deg, az2_deg
        The ends as apparent directions; NaN without a lens.
    length_px, width_px
        Length, and full width at half maximum across (of the light, the filter taken out).
    peak_snr
        Highest significance of one star-sized spot on it, in the difference of the two frames.
    snr
        Significance of the light along the whole length.
    flux
        Light in plane units, summed over pixels.
    flashes
        Regular flashes counted along it; 0 where there are none.
    start, exposure_s
        Of its frame: the event lasted no longer than its frames say.
    track
        Number shared by the streaks of one object in consecutive frames.
    frames
        Consecutive frames in which the object was seen so far, this one included.
    kind
        What it looks like so far; a "meteor" that goes on in the next frame becomes another kind
        there. ``StreakResult.finished`` has the last word, a frame later.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    alt1_deg: float
    az1_deg: float
    alt2_deg: float
    az2_deg: float
    length_px: float
    width_px: float
    peak_snr: float
    snr: float
    flux: float
    flashes: int
    start: datetime
    exposure_s: float
    track: int = 0
    frames: int = 1
    kind: Kind = "unknown"

    @property
    def end(self) -> datetime:
        """End of the exposure."""
        return self.start + timedelta(seconds=self.exposure_s)


@dataclass(frozen=True)
class Track:
    """One object over all frames that saw it.

    ``duration_s`` is an upper limit: from the start of its first to the end of its last exposure.
    """

    number: int
    streaks: tuple[Streak, ...]
    kind: Kind

    @property
    def duration_s(self) -> float:
        """Seconds from the first exposure's start to the last one's end."""
        return (self.streaks[-1].end - self.streaks[0].start).total_seconds()
