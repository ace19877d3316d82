"""Adding pictures up: maxima and sums in one pass, and the way from sRGB to light and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands


@lru_cache(maxsize=1)
def light_of_codes() -> NDArray[np.float32]:
    """Return the light of each 8-bit sRGB code, 0 to 1, ``(256,)`` (IEC 61966-2-1)."""
    v = np.arange(256) / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


def codes_of_light(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return sRGB codes of light from 0 to 1 (clipped), same shape."""
    v = np.clip(light, 0.0, 1.0)
    coded = np.where(v <= 0.0031308, v * 12.92, 1.055 * np.power(v, 1 / 2.4) - 0.055)
    return np.asarray(coded * 255.0 + 0.5, np.uint8)


@compiled
def _add(first: int, last: int, a, b, c, d, many: int, greatest, partial) -> None:  # type: ignore[no-untyped-def]
    for row in range(first, last):
        g, s = greatest[row], partial[row]
        for k in range(g.size):  # no tests inside: these loops are vectorised
            g[k] = max(g[k], a[row, k])
            s[k] = np.uint16(s[k] + a[row, k])
        if many > 1:
            for k in range(g.size):
                g[k] = max(g[k], b[row, k])
                s[k] = np.uint16(s[k] + b[row, k])
        if many > 2:
            for k in range(g.size):
                g[k] = max(g[k], c[row, k])
                s[k] = np.uint16(s[k] + c[row, k])
        if many > 3:
            for k in range(g.size):
                g[k] = max(g[k], d[row, k])
                s[k] = np.uint16(s[k] + d[row, k])


@compiled
def _fade(first: int, last: int, picture, trail, keep: int) -> None:  # type: ignore[no-untyped-def]
    for row in range(first, last):
        p, t = picture[row], trail[row]
        for k in range(p.size):
            old = np.uint16((np.uint32(t[k]) * np.uint32(keep)) >> np.uint32(16))
            new = np.uint16(np.uint16(p[k]) << np.uint16(8))
            t[k] = max(old, new)


def flat(picture: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return rows of all bands, ``(H, W * C)``, a view."""
    return picture.reshape(picture.shape[0], -1)


class MaxAndSum:
    """The brightest and the sum of pictures of one size.

    Memory sets the pace: maxima and sums are read and written once for four pictures, which are
    kept until then, and sums are held in 16 bits for up to 256 pictures (255 x 257 = 65535) before
    they move to 32. A picture moves 2.5 bytes a value so, where it would move 11 alone.

    Parameters
    ----------
    shape
        ``(H, W, 3)`` of the pictures, which must not be written into after they were given.

    Attributes
    ----------
    greatest, partial, total
        ``(H, W, 3)`` uint8, uint16 and uint32; whole after :meth:`settle`.
    pending
        Pictures in ``partial``.
    count
        Pictures in all.
    """

    LIMIT = 256
    TOGETHER = 4

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.greatest = np.zeros(shape, np.uint8)
        self.partial = np.zeros(shape, np.uint16)
        self.total = np.zeros(shape, np.uint32)
        self.pending = 0
        self.count = 0
        self._waiting: list[NDArray[np.uint8]] = []

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Add one picture."""
        self._waiting.append(np.ascontiguousarray(picture))
        self.count += 1
        if len(self._waiting) == self.TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Bring the pictures that wait into the arrays."""
        many = len(self._waiting)
        if not many:
            return
        if self.pending + many > self.LIMIT:
            self.total += self.partial
            self.partial[:] = 0
            self.pending = 0
        rows = [flat(p) for p in self._waiting]
        rows += [rows[0]] * (self.TOGETHER - many)
        in_bands(_add, len(self.greatest), *rows, many, flat(self.greatest), flat(self.partial))
        self.pending += many
        self._waiting = []

    def mean(self) -> NDArray[np.uint8]:
        """Return the mean, rounded, ``(H, W, 3)`` uint8."""
        self.settle()
        n = max(1, self.count)
        out = np.empty(self.greatest.shape, np.uint8)
        for row in range(0, len(out), 64):  # in pieces: a night's products share the memory
            part = slice(row, row + 64)
            out[part] = (self.total[part] + self.partial[part] + n // 2) // n
        return out


class Comet:
    """The brightest with older light fading, as comet tails.

    Parameters
    ----------
    shape
        Of the pictures.
    fade
        Share of light lost with each picture.
    """

    def __init__(self, shape: tuple[int, ...], fade: float) -> None:
        self.trail = np.zeros(shape, np.uint16)
        self.keep = round((1.0 - fade) * 65536)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Fade what is there, then lay the picture over it."""
        in_bands(
            _fade, picture.shape[0], flat(np.ascontiguousarray(picture)), flat(self.trail),
            self.keep,
        )  # fmt: skip

    def picture(self) -> NDArray[np.uint8]:
        """Return ``(H, W, 3)`` uint8."""
        return (self.trail >> 8).astype(np.uint8)
