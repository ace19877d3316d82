"""What a video is encoded with: the encoder that really opens here, its options, size and rate."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np

from allsky360.arrays.bands import threads
from allsky360.config_video import Codec, VideoSettings
from allsky360.errors import AllskyError
from allsky360.products.video.scheduling import as_scheduled

log = logging.getLogger(__name__)

SOFTWARE: dict[str, str] = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
HARDWARE: dict[str, str] = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "av1": "av1_nvenc"}
QUALITY: dict[str, int] = {"h264": 20, "hevc": 22, "av1": 30}
PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
_SVT_PRESET = dict(zip(PRESETS, (12, 11, 10, 9, 8, 7, 5, 3, 2), strict=True))
_NVENC_PRESET = dict(zip(PRESETS, ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7"),
                         strict=True))  # fmt: skip
LARGEST = 16_384


class VideoError(AllskyError):
    """A video that cannot be made."""


@dataclass(frozen=True)
class VideoPlan:
    """Everything that decides how frames become bytes.

    Attributes
    ----------
    width, height
        Pixels, even.
    rate
        Frames a second, exact.
    encoder
        FFmpeg's name of it.
    options
        Its options.
    pixel_format
        FFmpeg's name of it.
    piece_frames
        Frames of a piece.
    threads
        Of one encoder. x264's bytes depend on it (not the picture's quality), so that it is part of
        the plan.
    """

    width: int
    height: int
    rate: Fraction
    encoder: str
    options: tuple[tuple[str, str], ...]
    pixel_format: str
    piece_frames: int
    threads: int

    @property
    def key(self) -> str:
        """Hash of the plan and of the libraries that follow it."""
        text = json.dumps([asdict(self), av.__version__, av.library_versions], default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return plain JSON values for a product's record."""
        return {
            "encoder": self.encoder,
            "options": dict(self.options),
            "fps": float(self.rate),
            "width": self.width,
            "height": self.height,
            "pixel_format": self.pixel_format,
            "piece_frames": self.piece_frames,
        }


def plan_video(
    settings: VideoSettings, width: int, height: int, *, encoder_threads: int = 0
) -> VideoPlan:
    """Plan a video of pictures of a size.

    Parameters
    ----------
    settings
        ``[products.video]``.
    width, height
        Of the pictures.
    encoder_threads
        Of one encoder; 0 takes what this process may use.

    Raises
    ------
    VideoError
        Nothing here encodes it.
    """
    encoder = choose_encoder(settings.codec, settings.encoder, settings.pixel_format)
    w, h = target_size(width, height, settings.size_px)
    return VideoPlan(
        width=w,
        height=h,
        rate=Fraction(settings.fps).limit_denominator(1001),
        encoder=encoder,
        options=tuple(sorted(encoder_options(encoder, settings).items())),
        pixel_format=settings.pixel_format,
        piece_frames=settings.piece_frames,
        threads=encoder_threads or min(threads(), 16),
    )


def target_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return even sides, the longer one ``longest`` or less; 0 keeps the size."""
    if not (2 <= width <= LARGEST and 2 <= height <= LARGEST):
        raise VideoError(f"no video is made of pictures of {width} x {height}.")
    factor = min(1.0, longest / max(width, height)) if longest else 1.0
    if factor == 1.0:
        return width // 2 * 2, height // 2 * 2
    return max(2, round(width * factor / 2) * 2), max(2, round(height * factor / 2) * 2)


def encoder_options(encoder: str, settings: VideoSettings) -> dict[str, str]:
    """Return an encoder's options; every piece begins with a key frame and refers to no other."""
    quality = settings.quality if settings.quality is not None else QUALITY[settings.codec]
    rate = f"{settings.bitrate_kbps}k" if settings.bitrate_kbps else None
    options = {"g": str(settings.piece_frames)}
    if encoder.endswith("_nvenc"):
        options |= {"preset": _NVENC_PRESET[settings.preset], "tune": "hq"}
        return options | ({"b": rate} if rate else {"rc": "vbr", "cq": str(quality), "b": "0"})
    options |= {"b": rate} if rate else {"crf": str(min(quality, 51))}
    if encoder == "libsvtav1":
        options |= {} if rate else {"crf": str(quality)}
        return options | {"preset": str(_SVT_PRESET[settings.preset])}
    options["preset"] = settings.preset
    if encoder == "libx265":
        # JPEG's chroma lies in the middle of its four pixels
        return options | {"x265-params": "open-gop=0:log-level=error:chromaloc=1"}
    return options | {"x264-params": "chromaloc=1"}


def choose_encoder(codec: Codec, prefer: str, pixel_format: str = "yuv420p") -> str:
    """Return the first encoder that opens: NVENC (with ``prefer`` "auto"), then software.

    Raises
    ------
    VideoError
        None does, with this pixel format.
    """
    names = [SOFTWARE[codec]] if prefer == "software" else [HARDWARE[codec], SOFTWARE[codec]]
    for name in names:
        if opens(name, pixel_format):
            return name
    raise VideoError(
        f"no encoder here makes {codec} with {pixel_format}.",
        mend="Take h264 with yuv420p; PyAV from its wheels has x264, x265 and SVT-AV1.",
    )


@lru_cache(maxsize=32)
def opens(name: str, pixel_format: str = "yuv420p") -> bool:
    """Whether an encoder encodes here: a name in the library says nothing about the driver."""
    quiet_encoders()
    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height = 256, 256
        context.pix_fmt = pixel_format
        context.time_base = Fraction(1, 25)
        context.framerate = Fraction(25)
        if name == "libx265":
            context.options = {"x265-params": "log-level=error"}
        with as_scheduled():
            context.open()
        frame = av.VideoFrame.from_ndarray(np.zeros((256, 256, 3), np.uint8), format="rgb24")
        frame = frame.reformat(format=pixel_format)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        packets = [*context.encode(frame), *context.encode(None)]
    except (av.FFmpegError, ValueError, OSError) as error:
        log.info("%s does not open here: %s", name, error)
        return False
    return sum(p.size for p in packets) > 0


def quiet_encoders() -> None:
    """Keep SVT-AV1 from writing its banner to the terminal; it asks the environment only."""
    os.environ.setdefault("SVT_LOG", "1")
