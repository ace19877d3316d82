"""The night as a time-lapse that grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from allsky360.config_video import TimelapseSettings, VideoSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.video import deflicker
from allsky360.products.video.grow import GrowingVideo
from allsky360.products.video.looks import Look, look_for
from allsky360.products.video.night import is_dark, labels_for
from allsky360.products.video.plan import VideoPlan
from allsky360.products.video.shot import Shot


class Timelapse(GrowingVideo):
    """Grows the time-lapse."""

    name = "timelapse"
    title = "Time-lapse"

    def __init__(self, settings: TimelapseSettings, video: VideoSettings) -> None:
        super().__init__(video, settings.model_dump(mode="json", exclude={"enabled"}))
        self.settings = settings
        self.ahead = 0 if settings.deflicker == "off" else settings.deflicker_frames

    def why_not(self, frame: ProductFrame) -> str | None:
        """Leave out what was taken while the Sun is up."""
        below = self.settings.sun_below_deg
        if not is_dark(frame.scalars, frame.site, frame.middle, below):
            return "the Sun is too high"
        return None

    def size(self, frame: ProductFrame) -> tuple[int, int]:
        """Return the picture's."""
        height, width = frame.picture.shape[:2]
        return width, height

    def make_look(self, plan: VideoPlan) -> Look:
        """Return the mode's."""
        return look_for(self.settings.mode, self.settings.window)

    def shot(self, frame: ProductFrame, path: Path) -> Shot:
        """Measure the picture, and lay labels out where they are wanted."""
        how = self.settings.deflicker
        if how == "picture":
            self.levels.append(deflicker.picture_level(frame.picture))
        elif how == "exposure":
            gain_db = frame.scalars.get("gain", 0.0) * self.context.settings.camera.gain_unit_db
            self.levels.append(deflicker.exposure_level(frame.exposure_s, gain_db=gain_db))
        overlay = self.context.settings.overlay if self.settings.overlay else None
        labels = labels_for(frame, overlay) if overlay is not None else None
        return Shot(path, frame.ref.id, labels=labels)

    def ready(self, start: int, shots: Sequence[Shot]) -> list[Shot]:
        """Even out the levels with the neighbours on both sides."""
        if self.settings.deflicker == "off":
            return list(shots)
        reach = self.settings.deflicker_frames
        first = max(0, start - reach)
        near = self.levels[first : start + len(shots) + reach]
        factors = deflicker.gains(near, reach)[start - first :]
        return [replace(s, gain=float(factors[k])) for k, s in enumerate(shots)]
