"""How videos are encoded and which are made: tables of ``[products]``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allsky360.config_section import Section

Codec = Literal["h264", "hevc", "av1"]
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
PixelFormat = Literal["yuv420p", "yuv420p10le", "yuv444p"]
Mode = Literal["plain", "mean", "max", "sigma-clip", "difference", "motion"]
Deflicker = Literal["off", "picture", "exposure"]


class VideoSettings(Section):
    """How every video is encoded."""

    codec: Codec = Field(
        "h264", description="h264 plays everywhere; hevc and av1 give smaller files."
    )
    encoder: Literal["auto", "software"] = Field(
        "auto", description="auto: the GPU's encoder where one opens, else x264, x265 or SVT-AV1."
    )
    preset: Preset = Field("veryfast", description="Slower presets give smaller files.")
    quality: int | None = Field(
        None,
        ge=0,
        le=63,
        description="Constant quality (CRF), lower is better; left out: 20 for h264, 22 for hevc,"
        " 30 for av1.",
    )
    bitrate_kbps: int | None = Field(
        None, ge=50, le=500_000, description="Mean bit rate instead of a constant quality."
    )
    fps: float = Field(25.0, ge=1, le=120, description="Frames a second.")
    size_px: int = Field(
        2160,
        ge=0,
        le=8192,
        description="Longest side; larger pictures are reduced. 0: as they are.",
    )
    pixel_format: PixelFormat = Field(
        "yuv420p", description="yuv420p plays everywhere; the others need players that can."
    )
    piece_frames: int = Field(
        50,
        ge=2,
        le=1000,
        description="Frames encoded as one piece, and the longest way between key frames.",
    )


class TimelapseSettings(Section):
    """The night as a time-lapse."""

    enabled: bool = Field(True, description="Make it.")
    sun_below_deg: float = Field(0.0, ge=-90, le=90, description="Frames with the Sun below it.")
    mode: Mode = Field(
        "plain",
        description="plain; mean or max of the last frames; sigma-clip: their mean without what"
        " passes through; difference from the frame before; motion: what moves, before a dim sky.",
    )
    window: int = Field(8, ge=2, le=31, description="Frames that mean, max, … look at.")
    deflicker: Deflicker = Field(
        "off",
        description="picture: evens out the brightness measured on the pictures; exposure: that"
        " which follows from exposure time, for pictures developed without a tone of their own.",
    )
    deflicker_frames: int = Field(
        12, ge=1, le=500, description="Frames before and after that brightness is compared with."
    )
    overlay: bool = Field(
        False, description="Draw the [overlay] into the video, where the lens is known."
    )


class StarTrailsVideoSettings(Section):
    """Star trails growing through the night; frames are chosen as for the picture."""

    enabled: bool = Field(True, description="Make it.")
    fade: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Comet tails: share of light that older trails lose with every frame;"
        " 0 keeps them.",
    )


class PanoramaVideoSettings(Section):
    """The night unwrapped to all directions."""

    enabled: bool = Field(True, description="Make it.")
    sun_below_deg: float = Field(0.0, ge=-90, le=90, description="Frames with the Sun below it.")
