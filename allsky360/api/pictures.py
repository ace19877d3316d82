"""Pictures at any size, made once: scaled with area averaging, kept encoded in a bounded cache."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from allsky360.errors import AllskyError

CACHE_BYTES = 48 * 2**20
DEFAULT_QUALITY = 85


class UnreadablePicture(AllskyError):
    """A stored picture that is not a JPEG."""


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
        if (kept := self._find(key)) is not None:
            return kept
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                if (kept := self._find(key)) is not None:
                    return kept
                data = make()
                self._keep(key, data)
                return data
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _find(self, key: Hashable) -> bytes | None:
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


def scaled_jpeg(jpeg: bytes, width: int, quality: int = DEFAULT_QUALITY) -> bytes:
    """Scale a JPEG down to ``width`` pixels, keeping its proportions; never enlarge.

    Parameters
    ----------
    jpeg
        The stored picture.
    width
        Wanted width in pixels.
    quality
        JPEG quality of the answer, 1 to 100.
    """
    import cv2

    image = None
    if jpeg:
        how = _reduced(jpeg, width) | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how)
    if image is None:
        raise UnreadablePicture(
            "The stored picture is not a readable JPEG.",
            mend="Check the night with 'allsky360 verify' and process the frame again.",
        )
    height, full = image.shape[:2]
    if width < full:
        size = (width, max(1, round(height * width / full)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UnreadablePicture("The scaled picture could not be encoded.")
    return bytes(encoded)


def _reduced(jpeg: bytes, width: int) -> int:
    """Choose the decoder's own 2, 4 or 8 times reduction where at least 2 times stays to average.

    libjpeg reduces in the frequency domain, which is an area average too, and far quicker.
    """
    import cv2
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg)) as header:
            spare = header.width // (2 * width)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        spare = 0
    for factor, flag in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if spare >= factor:
            return int(flag)
    return int(cv2.IMREAD_COLOR)
