"""Noise measured on tiles: what the noise-driven filters have in common.

A few dozen tiles inside the mask are laid side by side on a canvas of about half a megapixel, which
a filter then treats like an image. What comes home from a device is one number a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, namespace, to_host
from allsky360.arrays.generic import on_device_of
from allsky360.imaging.noise import NoiseModel

TILE = 128
"""Side of a tile, px."""
TILES = 16
MARGIN = 24
"""Border of a tile that its neighbours on the canvas reach into, px."""
QUIET = 0.25
"""Quantile over the tiles that is the noise of the frame: others hold stars, cloud, trees."""
MAD = 1.4826

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Square parts ``(side, side, C)`` of an image."""

    parts: tuple[Array, ...]
    side: int

    def canvas(self) -> Array:
        """Lay the tiles side by side, row by row; the first ones fill the last row up."""
        xp = namespace(self.parts[0])
        columns = self._columns
        rows = -(-len(self.parts) // columns)
        full = [self.parts[i % len(self.parts)] for i in range(rows * columns)]
        lines = [xp.concat(full[i * columns : (i + 1) * columns], axis=1) for i in range(rows)]
        return xp.concat(lines, axis=0)

    def level(self) -> Tiles:
        """Take each tile's plane away, so that tiles meet on the canvas without a step."""
        return Tiles(tuple(_level_out(part) for part in self.parts), self.side)

    @property
    def _columns(self) -> int:
        return int(np.ceil(np.sqrt(len(self.parts))))

    def medians(self, plane: Array) -> Numbers:
        """Median of each tile of a plane ``(h, w)`` made from the canvas."""
        return to_host(_median(self._middles(plane, 1))).astype(np.float64)

    def spreads(self, planes: list[tuple[Array, int]]) -> Numbers:
        """Robust standard deviation of each plane in each tile, ``(planes, tiles)``.

        Each plane comes with how many times it is smaller than the canvas.
        """
        xp = namespace(planes[0][0])
        found = [_median(xp.abs(self._middles(plane, step))) for plane, step in planes]
        return MAD * to_host(xp.stack(found)).astype(np.float64)

    def _middles(self, plane: Array, step: int) -> Array:
        """Inner pixels of each tile, one row a tile; of large ones a quarter is enough."""
        xp = namespace(plane)
        side = -(-self.side // step)
        margin = min(MARGIN // step, side // 4)
        stride = 1 if step > 1 or side < 64 else 2
        cut = slice(margin, side - margin, stride)
        rows = []
        for i in range(len(self.parts)):
            y, x = i // self._columns * side, i % self._columns * side
            rows.append(xp.reshape(plane[y : y + side, x : x + side][cut, cut], (1, -1)))
        return xp.concat(rows, axis=0)


def _median(values: Array) -> Array:
    middle = values.shape[1] // 2
    if isinstance(values, np.ndarray):
        return np.partition(values, middle, axis=1)[:, middle]
    return namespace(values).sort(values, axis=1)[:, middle]


def cut_tiles(image: Array, mask: Array | None) -> Tiles:
    """Cut tiles all inside the mask, spread over it; smaller ones where none fits.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    mask
        ``(H, W)`` bool, on the host or the image's device, or None.
    """
    h, w = image.shape[:2]
    step = 8
    small = None if mask is None else to_host(mask[::step, ::step]).astype(bool)
    side = min(TILE, h // 2 * 2, w // 2 * 2)
    while side >= 32:
        corners = [
            (y, x)
            for y in _starts(h, side)
            for x in _starts(w, side)
            if small is None or small[_over(y, side, step), _over(x, side, step)].all()
        ]
        if corners:
            count = min(TILES, len(corners))
            chosen = [corners[round(i)] for i in np.linspace(0, len(corners) - 1, count)]
            return Tiles(tuple(image[y : y + side, x : x + side, ...] for y, x in chosen), side)
        side //= 2
    side = min(TILE, h, w)
    cut = np.s_[(h - side) // 2 : (h + side) // 2, (w - side) // 2 : (w + side) // 2]
    part = image[(*cut, ...)]
    if mask is not None:
        known = mask[cut]
        if isinstance(known, np.ndarray):
            known = on_device_of(image, known, "bool")
        part = namespace(image).where(known[..., None], part, namespace(image).zeros_like(part))
    return Tiles((part,), side)


def _over(start: int, side: int, step: int) -> slice:
    return slice(-(-start // step), (start + side - 1) // step + 1)


def _starts(n: int, side: int) -> list[int]:
    count = max(1, min(12, n // side))
    return sorted({int(i) // 2 * 2 for i in np.linspace(0, n - side, count)})


def _level_out(tile: Array) -> Array:
    """Take the plane of least squares away; its slopes follow from the means along each axis."""
    xp = namespace(tile)
    plane = xp.mean(xp.mean(tile, axis=0, keepdims=True), axis=1, keepdims=True)
    for axis in (0, 1):
        n = tile.shape[axis]
        ramp = np.arange(n, dtype=np.float32) - np.float32(0.5 * (n - 1))
        ramp = ramp / np.float32(max(float(np.sum(ramp**2)), 1.0) ** 0.5)
        along = on_device_of(tile, ramp.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)))
        line = xp.mean(tile, axis=1 - axis, keepdims=True)
        plane = plane + along * xp.sum(line * along, axis=axis, keepdims=True)
    return tile - plane


def quiet_shares(spreads: Numbers, levels: Numbers, noise: NoiseModel) -> list[float]:
    """Return each plane's noise over that of one pixel: a low quantile over the tiles."""
    expected = np.sqrt(noise.read_var + noise.shot * np.maximum(levels, 0.0))
    rows = np.quantile(spreads / np.maximum(expected, 1e-15), QUIET, axis=1)
    return [float(v) for v in rows]


def fit_noise(levels: Numbers, sigmas: Numbers) -> NoiseModel:
    """Fit ``read_var + shot * level`` to the tiles; noise that grows with light where it cannot."""
    variance, level = sigmas**2, np.maximum(levels, 0.0)
    middle = float(np.median(variance))
    if np.ptp(level) < 0.3 * max(float(np.median(level)), 1e-12):
        base = float(np.median(level))
        return NoiseModel(0.0, middle / base) if base > 0 else NoiseModel(middle, 0.0)
    keep = np.ones(level.shape, bool)
    read, shot = middle, 0.0
    for _ in range(4):
        weight = 1.0 / np.maximum(read + shot * level, 1e-30)
        design = np.stack([np.ones_like(level), level], axis=1) * weight[:, None]
        read, shot = np.linalg.lstsq(design[keep], (variance * weight)[keep], rcond=None)[0]
        if shot < 0:
            read, shot = float(np.median(variance[keep])), 0.0
        elif read < 0:
            read, shot = 0.0, float(np.median((variance / np.maximum(level, 1e-12))[keep]))
        keep = variance < 1.6 * (read + shot * level)
        if keep.sum() < 4:
            break
    return NoiseModel(float(read), float(shot))
