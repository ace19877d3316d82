"""Pictures at any size, made once: scaled with area averaging, kept encoded in a bounded cache."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from allsky360.errors import AllskyError
from allsky360.imaging.encode import PictureFormat, encode
from allsky360.overlay.draw import burn_in
from allsky360.overlay.scene import OverlayScene

CACHE_BYTES = 48 * 2**20
DEFAULT_QUALITY = 85


class UnreadablePicture(AllskyError):
    """A stored picture that is not a JPEG."""


class NotAcceptable(AllskyError):
    """No format the client takes can be made."""


class EncodedCache:
    """Least recently used encoded pictures, bounded by bytes; safe from several threads.

    A picture asked for twice at once is made once: later callers wait for the first.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return the picture of ``key``; ``make`` it where it is not kept."""
        if (kept := self.find(key)) is not None:
            return kept
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                if (kept := self.find(key)) is not None:
                    return kept
                data = make()
                self._keep(key, data)
                return data
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def find(self, key: Hashable) -> bytes | None:
        """Return the picture of ``key`` where it is kept."""
        with self._lock:
            data = self._kept.get(key)
            if data is not None:
                self._kept.move_to_end(key)
            return data

    def _keep(self, key: Hashable, data: bytes) -> None:
        with self._lock:
            if len(data) > self.max_bytes or key in self._kept:
                return
            self._kept[key] = data
            self.bytes += len(data)
            while self.bytes > self.max_bytes:
                _, old = self._kept.popitem(last=False)
                self.bytes -= len(old)


@dataclass(frozen=True)
class Wanted:
    """How a picture was asked for; ``layers`` are drawn into it, None draws none."""

    width: int | None = None
    height: int | None = None
    format: PictureFormat = "jpeg"
    quality: int = DEFAULT_QUALITY
    layers: str | None = None

    @property
    def as_stored(self) -> bool:
        """Whether the stored file is the answer."""
        return self == Wanted(quality=self.quality)

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the answer: into the box asked for, same proportions, not enlarged."""
        scale = min((self.width or width) / width, (self.height or height) / height, 1.0)
        return max(1, round(width * scale)), max(1, round(height * scale))


def negotiate(accept: str | None, wanted: str | None) -> PictureFormat:
    """Return the format of an answer.

    JPEG wherever the client takes it: the others cost 15 to 30 times as much to make. Another one
    where ``wanted`` names it, or where the Accept header leaves JPEG out.
    """
    if wanted is not None:
        return cast(PictureFormat, wanted)
    if not accept:
        return "jpeg"
    taken: dict[str, float] = {}
    for part in accept.split(",")[:50]:
        kind, _, rest = part.partition(";")
        taken[kind.strip().lower()] = _weight(rest)
    known = ("jpeg", "webp", "png", "avif")
    weights = {
        name: taken.get(f"image/{name}", taken.get("image/*", taken.get("*/*", 0.0)))
        for name in known
    }
    if weights["jpeg"] > 0.0:
        return "jpeg"
    best = max(known, key=lambda name: weights[name])
    if weights[best] <= 0.0:
        raise NotAcceptable(
            "The picture cannot be given in a format the Accept header takes.",
            mend="Take image/jpeg, image/webp, image/png or image/avif.",
        )
    return cast(PictureFormat, best)


def _weight(parameters: str) -> float:
    for part in parameters.split(";"):
        name, _, value = part.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a stored picture, from its header."""
    try:
        with Image.open(path) as header:
            return header.width, header.height
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable() from error


def made_picture(
    jpeg: bytes, wanted: Wanted, scene: Callable[[int, int], OverlayScene] | None = None
) -> bytes:
    """Make a picture of a stored one.

    Parameters
    ----------
    jpeg
        The stored picture.
    wanted
        Size, format and quality.
    scene
        Lays out what is drawn into it, for a width and height.
    """
    import cv2

    image = None
    if jpeg:
        try:
            with Image.open(io.BytesIO(jpeg)) as header:
                size = wanted.size_of(header.width, header.height)
                spare = header.width // size[0]
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
            size, spare = (0, 0), 0
        how = _reduced(spare) | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how)
    if image is None or not size[0]:
        raise _unreadable()
    if (image.shape[1], image.shape[0]) != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if scene is None and wanted.format == "jpeg":
        done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, wanted.quality])
        if not done:
            raise UnreadablePicture("The scaled picture could not be encoded.")
        return bytes(encoded)
    rgb = np.ascontiguousarray(image[..., ::-1])
    if scene is not None:
        rgb = burn_in(rgb, scene(*size))
    return encode(rgb, format=wanted.format, quality=wanted.quality).data


def _unreadable() -> UnreadablePicture:
    return UnreadablePicture(
        "The stored picture is not a readable JPEG.",
        mend="Check the night with 'allsky360 verify' and process the frame again.",
    )


def _reduced(spare: int) -> int:
    """Choose the decoder's own 2, 4 or 8 times reduction, as far as the picture stays large enough.

    libjpeg reduces in the frequency domain, which is an area average too, and far quicker.
    """
    import cv2

    for factor, flag in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if spare >= factor:
            return int(flag)
    return int(cv2.IMREAD_COLOR)
