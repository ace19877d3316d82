"""The night unwrapped to all directions, as a video."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from allsky360.config_products import PanoramaSettings
from allsky360.config_video import PanoramaVideoSettings, VideoSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.panorama import render_view, with_ticks
from allsky360.products.panorama_map import View, panorama_view
from allsky360.products.video.grow import GrowingVideo
from allsky360.products.video.looks import Independent, Look
from allsky360.products.video.night import is_dark
from allsky360.products.video.plan import VideoError, VideoPlan
from allsky360.products.video.reader import BadPicture, PictureReader
from allsky360.products.video.shot import Shot
from allsky360.sky.lens import LensModel


class ViewLook(Independent):
    """A view of every picture, by the lens of its shot.

    Parameters
    ----------
    view
        Of the video's size.
    ticks
        Draw azimuths and compass points.
    """

    def __init__(self, view: View, *, ticks: bool) -> None:
        self.view, self.ticks = view, ticks
        self.key = f"view-1-{ticks}-{sorted(view.as_dict().items())}"

    def show(self, reader: PictureReader, shot: Shot) -> av.VideoFrame:
        """Unwrap the picture."""
        picture = reader.whole(shot.path)
        lens = shot.lens
        if lens is None or picture.shape[:2] != (lens.height, lens.width):
            raise BadPicture("it is not of the size its lens is for.")
        shown = render_view(picture, lens, self.view)
        if self.ticks:
            mark, share = _ticks(self.view)
            shown = np.where(share > 0, mark, shown)
        return reader.from_rgb(shown)


@lru_cache(maxsize=2)
def _ticks(view: View) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ticks ``(H, W, 3)`` and where they are ``(H, W, 1)``."""
    black = np.zeros((view.height, view.width, 3), np.uint8)
    on_black, on_white = with_ticks(black, view), with_ticks(black + 255, view)
    drawn = (on_white != 255).any(axis=2) | (on_black != 0).any(axis=2)
    return on_black, drawn[..., None].astype(np.uint8)


def video_view(lens: LensModel, panorama: PanoramaSettings, longest: int) -> View:
    """Return the panorama's view no wider than a video, with even sides."""
    view = panorama_view(
        lens,
        width_px=panorama.width_px,
        azimuth_deg=panorama.centre_azimuth_deg,
        bottom_deg=panorama.lowest_altitude_deg,
    )
    width = min(view.width, longest or view.width) // 2 * 2
    height = max(2, round(width * view.height / view.width / 2) * 2)
    return replace(view, width=width, height=height)


class PanoramaVideo(GrowingVideo):
    """Grows the panorama's video."""

    name = "panorama-video"
    title = "Panorama, video"

    def __init__(
        self, settings: PanoramaVideoSettings, panorama: PanoramaSettings, video: VideoSettings
    ) -> None:
        shown = panorama.model_dump(mode="json", exclude={"enabled", "quality"})
        super().__init__(video, {"sun_below_deg": settings.sun_below_deg, "panorama": shown})
        self.settings, self.panorama = settings, panorama

    def why_not(self, frame: ProductFrame) -> str | None:
        """Leave out frames without a lens, and with the Sun up."""
        if frame.lens is None:
            return "its lens is not known"
        if not is_dark(frame.scalars, frame.site, frame.middle, self.settings.sun_below_deg):
            return "the Sun is too high"
        return None

    def size(self, frame: ProductFrame) -> tuple[int, int]:
        """Return the view's."""
        if frame.lens is None:
            raise VideoError("a panorama needs the lens.")
        view = video_view(frame.lens, self.panorama, self.video.size_px)
        return view.width, view.height

    def shot(self, frame: ProductFrame, path: Path) -> Shot:
        """Let the shot know its lens."""
        return Shot(path, frame.ref.id, lens=frame.lens)

    def make_look(self, plan: VideoPlan) -> Look:
        """Return the view of the video's size."""
        view = View(
            "equirectangular",
            plan.width,
            plan.height,
            self.panorama.centre_azimuth_deg,
            top_deg=90.0,
            bottom_deg=self.panorama.lowest_altitude_deg,
        )
        return ViewLook(view, ticks=self.panorama.ticks)
