"""What is made of a night: the ``[products]`` table. Each product has a table of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allsky360.config_section import Section
from allsky360.config_video import (
    PanoramaVideoSettings,
    StarTrailsVideoSettings,
    TimelapseSettings,
    VideoSettings,
)


class KeogramSettings(Section):
    """The night along one line of the sky, a column a frame."""

    enabled: bool = Field(True, description="Make it.")
    azimuth_deg: float = Field(
        0.0,
        ge=-360,
        le=360,
        description="Where the top of the column points; 0 is the meridian, north on top.",
    )
    lowest_altitude_deg: float = Field(
        0.0, ge=-5, lt=80, description="Apparent altitude at both ends of the column."
    )
    height_px: int = Field(
        0, ge=0, le=8192, description="Pixels of the column; 0: as many as the picture has there."
    )


class StarTrailSettings(Section):
    """Star trails: the brightest and the mean of every dark, clear frame."""

    enabled: bool = Field(True, description="Make them.")
    sun_below_deg: float = Field(-12.0, ge=-90, le=10, description="Frames with the Sun below it.")
    moon_below_deg: float = Field(
        90.0, ge=-90, le=90, description="Frames with the Moon below it, or hardly lit; 90: all."
    )
    moon_lit_above: float = Field(
        0.25, ge=0, le=1, description="Lit fraction from which the Moon counts."
    )
    max_cloud_fraction: float = Field(
        0.3, ge=0, le=1, description="Cloudy share above which a frame is left out; 1: take all."
    )
    max_median: float = Field(
        0.6, gt=0, le=1, description="Brightness of the picture above which a frame is left out."
    )
    fade: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Comet tails: share of light that older trails lose with every frame;"
        " 0 keeps them.",
    )
    quality: int = Field(92, ge=10, le=100, description="JPEG quality.")


class StackSettings(Section):
    """The deep stack: every dark, clear frame resampled to where the stars stood at one instant."""

    enabled: bool = Field(True, description="Make it.")
    source: Literal["linear", "picture"] = Field(
        "picture",
        description="linear: the archive's reduced linear frames; picture: full-size pictures,"
        " made linear as far as their tone allows.",
    )
    sun_below_deg: float = Field(-15.0, ge=-90, le=10, description="Frames with the Sun below it.")
    moon_below_deg: float = Field(
        0.0, ge=-90, le=90, description="Frames with the Moon below it, or hardly lit; 90: all."
    )
    moon_lit_above: float = Field(
        0.25, ge=0, le=1, description="Lit fraction from which the Moon counts."
    )
    max_cloud_fraction: float = Field(
        0.3, ge=0, le=1, description="Cloudy share above which a frame is left out; 1: take all."
    )
    min_altitude_deg: float = Field(
        8.0, ge=-5, lt=80, description="What a frame shows below this altitude is not used."
    )
    clip_sigma: float = Field(
        3.0, ge=1.5, le=10, description="Light further from the mean than this is left out."
    )
    hours: float = Field(
        24.0, gt=0, le=24, description="Only frames within half of this of the reference."
    )
    quality: int = Field(95, ge=10, le=100, description="JPEG quality.")


class PanoramaSettings(Section):
    """The night's best frame unwrapped to all directions."""

    enabled: bool = Field(True, description="Make it.")
    width_px: int = Field(
        0, ge=0, le=16384, description="Pixels around the horizon; 0: what the lens resolves."
    )
    centre_azimuth_deg: float = Field(
        180.0, ge=-360, le=360, description="Azimuth in the middle of the panorama."
    )
    lowest_altitude_deg: float = Field(
        -5.0, ge=-30, lt=60, description="Lower edge of the strip that is kept."
    )
    ticks: bool = Field(True, description="Draw azimuth ticks and compass points at the horizon.")
    quality: int = Field(92, ge=10, le=100, description="JPEG quality.")


class ProductsSettings(Section):
    """What is made of a night while it grows."""

    wait_frames: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Later frames that may be ready before one not processed yet is passed over.",
    )
    checkpoint_s: float = Field(
        60.0, ge=0, le=86400, description="Most seconds of work that a crash may cost."
    )
    publish_s: float = Field(
        600.0, ge=1, le=86400, description="How often growing products are shown to readers."
    )
    keogram: KeogramSettings = Field(default_factory=KeogramSettings)
    startrails: StarTrailSettings = Field(default_factory=StarTrailSettings)
    stack: StackSettings = Field(default_factory=StackSettings)
    panorama: PanoramaSettings = Field(default_factory=PanoramaSettings)
    video: VideoSettings = Field(default_factory=VideoSettings)
    timelapse: TimelapseSettings = Field(default_factory=TimelapseSettings)
    startrails_video: StarTrailsVideoSettings = Field(default_factory=StarTrailsVideoSettings)
    panorama_video: PanoramaVideoSettings = Field(default_factory=PanoramaVideoSettings)
