"""Star trails as they grow through the night, as a video."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from allsky360.config_products import StarTrailSettings
from allsky360.config_video import StarTrailsVideoSettings, VideoSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.light import Comet
from allsky360.products.startrails import why_not
from allsky360.products.video.grow import GrowingVideo
from allsky360.products.video.looks import Look
from allsky360.products.video.plan import VideoPlan
from allsky360.products.video.reader import PictureReader
from allsky360.products.video.shot import Shot


class TrailLook:
    """Every picture laid over the trails of all before it.

    Parameters
    ----------
    width, height
        Of the video.
    fade
        Share of light lost with each picture.
    """

    earlier = 0
    carries = True

    def __init__(self, width: int, height: int, fade: float) -> None:
        self.fade = fade
        self.start: NDArray[np.uint16] = np.zeros((height, width, 3), np.uint16)
        self.comet = Comet(self.start.shape, fade)

    @property
    def key(self) -> str:
        """Names the fade and the trails a piece begins with."""
        return f"trails-1-{self.fade}-{hashlib.blake2b(self.start.tobytes()).hexdigest()[:32]}"

    def begin(self, reader: PictureReader, earlier: Sequence[Shot]) -> None:
        """Go back to the end of the piece before."""
        self.comet.trail[:] = self.start

    def show(self, reader: PictureReader, shot: Shot) -> av.VideoFrame:
        """Lay the next picture over."""
        self.comet.add(reader.rgb(shot.path))
        return reader.from_rgb(self.comet.picture())

    def keep(self) -> None:
        """Let the next piece begin where this one ended."""
        self.start[:] = self.comet.trail

    def save(self, folder: Path) -> None:
        """Write the trails that the next piece begins with."""
        np.save(folder / "trail.npy", self.start)

    def load(self, folder: Path) -> None:
        """Read them back."""
        self.start[:] = np.load(folder / "trail.npy")


class StarTrailsVideo(GrowingVideo):
    """Grows the video of the trails."""

    name = "startrails-video"
    title = "Star trails, video"
    poster_at = 1.0

    def __init__(
        self, settings: StarTrailsVideoSettings, frames: StarTrailSettings, video: VideoSettings
    ) -> None:
        chosen = frames.model_dump(mode="json", exclude={"enabled", "fade", "quality"})
        super().__init__(video, {"fade": settings.fade, "frames": chosen})
        self.settings, self.frames = settings, frames

    def why_not(self, frame: ProductFrame) -> str | None:
        """Choose frames as the picture of the trails does."""
        return why_not(frame, self.frames)

    def size(self, frame: ProductFrame) -> tuple[int, int]:
        """Return the picture's."""
        height, width = frame.picture.shape[:2]
        return width, height

    def make_look(self, plan: VideoPlan) -> Look:
        """Begin with no trail."""
        return TrailLook(plan.width, plan.height, self.settings.fade)
