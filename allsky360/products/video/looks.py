"""What a video shows of its pictures: as they are, or what a run of them has or lacks.

A look keeps what it has seen; :meth:`begin` makes that the same whether a piece is made in turn or
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled
from allsky360.config_video import Mode
from allsky360.products.video.reader import BadPicture, PictureReader
from allsky360.products.video.shot import Shot

Picture = NDArray[np.uint8]

CLIP_SIGMA = 2.5
DIFFERENCE_GAIN = 4
MOTION_DIM = 0.35
MOTION_NOISE = 10.0
"""sRGB codes by which a pixel has to differ from the steady sky to count as half moving."""


class Look(Protocol):
    """How pictures become frames."""

    @property
    def key(self) -> str:
        """Names look and parameters."""
        ...

    @property
    def earlier(self) -> int:
        """How many pictures before a piece it has to see."""
        ...

    @property
    def carries(self) -> bool:
        """Whether it carries more from piece to piece than pictures, so that none can be passed."""
        ...

    def begin(self, reader: PictureReader, earlier: Sequence[Shot]) -> None:
        """Forget everything, then see what came before a piece."""
        ...

    def show(self, reader: PictureReader, shot: Shot) -> av.VideoFrame:
        """Return the frame of the next picture; raises BadPicture and then has not seen it."""
        ...

    def keep(self) -> None:
        """Note that a piece is done and the next one begins after it."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was kept last."""
        ...

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote."""
        ...


class Independent:
    """What looks share that need nothing but pictures."""

    earlier = 0
    carries = False

    def begin(self, reader: PictureReader, earlier: Sequence[Shot]) -> None:
        """Keep nothing."""

    def keep(self) -> None:
        """Keep nothing."""

    def save(self, folder: Path) -> None:
        """Write nothing."""

    def load(self, folder: Path) -> None:
        """Read nothing."""


def look_for(mode: Mode, window: int) -> Look:
    """Return the look of a mode; ``window`` pictures where it looks at several."""
    return Plain() if mode == "plain" else Running(mode, window)


class Plain(Independent):
    """Pictures as they are."""

    key = "plain-1"

    def show(self, reader: PictureReader, shot: Shot) -> av.VideoFrame:
        """Return the picture; without labels its planes go straight through."""
        if shot.labels is None:
            return reader.frame(shot.path, shot.gain)
        return reader.from_rgb(shot.labels.draw(reader.rgb(shot.path)), shot.gain)


class Running(Independent):
    """What the last few pictures have in common, or not.

    Parameters
    ----------
    mode
        Any but plain.
    window
        Pictures looked at, the newest among them.
    """

    def __init__(self, mode: Mode, window: int) -> None:
        self.window = 2 if mode == "difference" else window
        self.key = f"{mode}-1-{self.window}"
        self.earlier = self.window - 1
        self._combine = _COMBINE[mode]
        self._seen: NDArray[np.uint8] | None = None
        self._count = 0

    def begin(self, reader: PictureReader, earlier: Sequence[Shot]) -> None:
        """See the pictures before; those that cannot be read are passed over."""
        self._count = 0
        for shot in earlier:
            try:
                self._take(reader, shot)
            except BadPicture:
                continue

    def show(self, reader: PictureReader, shot: Shot) -> av.VideoFrame:
        """Return what the window shows with the picture in it."""
        newest = self._take(reader, shot)
        assert self._seen is not None
        shown: Picture = self._combine(self._seen[: min(self._count, self.window)], newest)
        if shot.labels is not None:
            shown = shot.labels.draw(shown)
        return reader.from_rgb(shown)

    def _take(self, reader: PictureReader, shot: Shot) -> int:
        """Put a picture into the window; return where it is."""
        picture = reader.rgb(shot.path)
        if shot.gain != 1.0:
            picture = np.asarray(cv2.convertScaleAbs(picture, alpha=shot.gain), np.uint8)
        if self._seen is None or self._seen.shape[1:] != picture.shape:
            self._seen = np.empty((self.window, *picture.shape), np.uint8)
        at = self._count % self.window
        self._seen[at] = picture
        self._count += 1
        return at


def _mean(seen: Picture, newest: int) -> Picture:
    total = np.zeros(seen.shape[1:], np.float32)
    for picture in seen:
        cv2.accumulate(picture, total)
    return np.asarray(cv2.convertScaleAbs(total, alpha=1.0 / len(seen)), np.uint8)


def _max(seen: Picture, newest: int) -> Picture:
    out: Picture = seen[0].copy()
    for picture in seen[1:]:
        cv2.max(out, picture, dst=out)
    return out


def _sigma_clip(seen: Picture, newest: int) -> Picture:
    if len(seen) < 3:
        return _mean(seen, newest)
    out = np.empty(seen.shape[1:], np.uint8)
    _clipped(seen.reshape(len(seen), -1), np.float32(CLIP_SIGMA), out.reshape(-1))
    return out


def _difference(seen: Picture, newest: int) -> Picture:
    if len(seen) < 2:
        return np.zeros(seen.shape[1:], np.uint8)
    apart = cv2.absdiff(seen[newest], seen[1 - newest])
    return np.asarray(cv2.convertScaleAbs(apart, alpha=DIFFERENCE_GAIN), np.uint8)


def _motion(seen: Picture, newest: int) -> Picture:
    """Show what differs from the window's steady sky in its colours, the rest dim and grey."""
    steady = _sigma_clip(seen, newest)
    picture = seen[newest]
    apart = cv2.absdiff(picture, steady).max(axis=2)
    # noise differs too, in single pixels: what moves is wider than that
    moving = cv2.GaussianBlur(apart, (0, 0), 1.5).astype(np.float32)
    share = np.square(moving) / (np.square(moving) + np.float32(MOTION_NOISE**2))
    share[share < 0.1] = 0.0
    grey = cv2.cvtColor(steady, cv2.COLOR_RGB2GRAY).astype(np.float32) * np.float32(MOTION_DIM)
    out = picture * share[..., None] + (grey * (1 - share))[..., None]
    return np.asarray(cv2.convertScaleAbs(out), np.uint8)


@compiled
def _clipped(seen: Any, sigma: float, out: Any) -> None:
    """Mean of each column of ``(N, P)`` uint8 without values far from its median.

    The scale is 1.4826 times the median absolute deviation, two codes at least, since codes are
    whole numbers.
    """
    count, pixels = seen.shape
    values = np.empty(count, np.int32)
    for p in range(pixels):
        for k in range(count):  # insertion sort: a window holds few
            value = np.int32(seen[k, p])
            j = k - 1
            while j >= 0 and values[j] > value:
                values[j + 1] = values[j]
                j -= 1
            values[j + 1] = value
        median = values[count // 2]
        # half of the values lie within the deviation: walk outward from the middle
        low = high = count // 2
        while high - low + 1 <= count // 2:
            down = median - values[low - 1] if low > 0 else 1 << 20
            up = values[high + 1] - median if high + 1 < count else 1 << 20
            if down <= up:
                low -= 1
            else:
                high += 1
        deviation = max(median - values[low], values[high] - median)
        limit = sigma * max(1.4826 * deviation, 2.0)
        total = kept = 0
        for k in range(count):
            if abs(values[k] - median) <= limit:
                total += values[k]
                kept += 1
        out[p] = np.uint8((2 * total + kept) // (2 * kept))


_COMBINE: dict[str, Callable[[Picture, int], Picture]] = {
    "mean": _mean,
    "max": _max,
    "sigma-clip": _sigma_clip,
    "difference": _difference,
    "motion": _motion,
}
