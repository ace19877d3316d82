"""Pictures read for a video: JPEG stays YCbCr from file to encoder, everything else goes by RGB.

Measured at 2280x2180 (one core): FFmpeg's JPEG decoder to planes 19 ms, libjpeg-turbo to RGB 36 ms
and back to planes 20 ms more; so the planes are kept.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from allsky360.errors import AllskyError
from allsky360.products.video.colour import stated, to_video_colours

_ORIENTATION = 0x0112
_PLANAR = ("yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p", "gray")
_TAIL = 65_536


class BadPicture(AllskyError):
    """A picture that cannot be shown; says why."""


class PictureReader:
    """Reads pictures at the size of a video; one a thread.

    Parameters
    ----------
    width, height
        Of the video.
    full_chroma
        Keep chroma at full size.
    """

    def __init__(self, width: int, height: int, *, full_chroma: bool = False) -> None:
        self.width, self.height = width, height
        self._format = "yuv444p" if full_chroma else "yuv420p"
        self._scale = VideoReformatter()
        self._to_rgb = VideoReformatter()
        self._from_rgb = VideoReformatter()
        self._decoder = _decoder()

    def frame(self, path: Path, gain: float = 1.0) -> av.VideoFrame:
        """Return a picture as a frame of the video, all sRGB codes multiplied by ``gain``.

        Raises
        ------
        BadPicture
            It is missing or damaged.
        """
        data = _bytes(path)
        decoded = self._decoded(data)
        if decoded is None:
            return self.from_rgb(self._resized(_rgb(data)), gain)
        scaled = self._scale.reformat(
            decoded,
            width=self.width,
            height=self.height,
            format=self._format,  # full range, whatever its name: the colours follow
            interpolation=Interpolation.AREA,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        scaled.make_writable()
        return _plain(to_video_colours(scaled, gain))

    def rgb(self, path: Path) -> NDArray[np.uint8]:
        """Return a picture as ``(height, width, 3)`` uint8 sRGB.

        Raises
        ------
        BadPicture
            It is missing or damaged.
        """
        return self._resized(self.whole(path))

    def whole(self, path: Path) -> NDArray[np.uint8]:
        """Return a picture at its own size, ``(H, W, 3)`` uint8 sRGB; raises as :meth:`rgb`."""
        return _rgb(_bytes(path))

    def from_rgb(self, picture: NDArray[np.uint8], gain: float = 1.0) -> av.VideoFrame:
        """Return ``(height, width, 3)`` uint8 sRGB as a frame of the video."""
        if gain != 1.0:
            codes = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
            picture = np.asarray(cv2.LUT(picture, codes), np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        out = self._from_rgb.reformat(
            frame,
            format=self._format,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            threads=1,
        )
        return _plain(stated(out))

    def _decoded(self, data: bytes) -> av.VideoFrame | None:
        """Decode a JPEG that needs no turning; None for everything else."""
        if data[:2] != b"\xff\xd8":
            return None
        if b"\xff\xd9" not in data[-_TAIL:]:
            raise BadPicture("it is cut short.")
        if _turned(data):
            return None
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.FFmpegError as error:
            self._decoder = _decoder()
            raise BadPicture(f"it is damaged: {error.strerror}.") from error
        if not frames or not isinstance(frames[0], av.VideoFrame) or frames[0].is_corrupt:
            raise BadPicture("it is damaged.")
        return frames[0] if frames[0].format.name in _PLANAR else None

    def _resized(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if picture.shape[:2] == (self.height, self.width):
            return picture
        larger = picture.shape[0] < self.height
        way = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
        return np.asarray(cv2.resize(picture, (self.width, self.height), interpolation=way))


def _decoder() -> av.VideoCodecContext:
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    return decoder


def _plain(frame: av.VideoFrame) -> av.VideoFrame:
    """Forget that the frame came from a key frame: the encoder would make each one a key frame."""
    frame.pict_type = PictureType.NONE
    return frame


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPicture(f"it cannot be read: {error.strerror or error}.") from error
    if not data:
        raise BadPicture("it is empty.")
    return data


def _rgb(data: bytes) -> NDArray[np.uint8]:
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-_TAIL:]:
        raise BadPicture("it is cut short.")  # OpenCV would fill it up with grey
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise BadPicture(f"it cannot be decoded: {error}") from error
    if picture is None:
        raise BadPicture("it is damaged, or no picture.")
    return np.asarray(picture, np.uint8)


def _turned(data: bytes) -> bool:
    """Whether EXIF says the picture has to be turned or mirrored to stand upright."""
    if b"Exif\0" not in data[:4096]:
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except (OSError, ValueError, SyntaxError):
        return False
