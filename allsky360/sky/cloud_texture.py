"""Clouds without stars: by day from colour, under the Moon from texture.

By day cloud is as white as the Sun and clear sky much bluer; the ratio of white-balanced blue to
red tells them apart (the classic of whole-sky imagers: Long et al. 2006, J. Atmos. Oceanic Technol.
23, 633), with a limit that falls toward the horizon, where clear sky pales. By moonlight colour is
too weak. There an uneven sky proves cloud, while an even one may be clear or wholly overcast: it
remains unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_mean, to_host
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.clouds import CloudMap, clouds_from_chances
from allsky360.sky.ephemeris import SunMoon
from allsky360.sky.lens import LensModel
from allsky360.sky.sky_cells import SkyCells, sky_cells

Float = NDArray[np.float64]

BLUENESS_LIMIT, BLUENESS_LIMIT_LOW = 1.05, 0.57
"""log2(blue / red), 0 for sunlight, between cloud and clear sky: zenith, horizon."""

UNKNOWN_GAINS = -0.24
"""What the settings' default gains make of that scale on a typical sensor."""

BLUENESS_SIGMA = 0.22
ROUGHNESS_LIMIT = 0.10
"""RMS of log brightness within a cell, about a plane, from which a moonlit sky is clouded."""

SUN_GLARE_DEG, MOON_GLARE_DEG = 18.0, 12.0
DAY_ABOVE_DEG, MOON_UP_DEG, MOON_LIT = 0.0, 8.0, 0.3
_SHORT_SIDE = 270
FEWEST_BLOCKS = 6
_COMMON_SIGMA = 0.05


def clouds_from_texture(
    linear: Array,
    lens: LensModel,
    lights: SunMoon,
    *,
    white_balance: tuple[float, float] = (1.35, 1.65),
    calibrated: bool = False,
    clipped: Array | None = None,
    pedestal: float = 0.0,
    mask: NDArray[np.bool_] | None = None,
    cells: SkyCells | None = None,
) -> CloudMap:
    """Return the clouds by colour (day) or texture (moonlight); nothing known in between.

    Parameters
    ----------
    linear
        ``(H, W, 3)`` or ``(H, W, 1)`` float32, not white balanced; mono has no colour.
    lights
        Sun and Moon.
    white_balance
        Gains of red and blue that make daylight white.
    calibrated
        Whether they were measured on this camera's stars.
    clipped
        ``(H, W)`` uint8, 255 = saturated.
    mask
        ``(H, W)`` host bool, True = sky.
    """
    cells = cells or sky_cells()
    unknown = np.zeros(len(cells), dtype=bool)
    half = np.full(len(cells), 0.5)
    day = lights.sun_altitude_deg > DAY_ABOVE_DEG
    moonlit = (
        lights.sun_altitude_deg < -12.0
        and lights.moon_altitude_deg > MOON_UP_DEG
        and lights.moon_illumination > MOON_LIT
    )
    colour = linear.shape[2] == 3
    if not (day and colour) and not moonlit:
        return clouds_from_chances(cells, half, unknown, common_sigma=0.0)
    blocks = blocks_of(linear, lens, cells, clipped=clipped, mask=mask, pedestal=pedestal)
    source = (
        (lights.sun_altitude_deg, lights.sun_azimuth_deg, SUN_GLARE_DEG)
        if day
        else (lights.moon_altitude_deg, lights.moon_azimuth_deg, MOON_GLARE_DEG)
    )
    toward = horizon_vectors(np.array(source[0]), np.array(source[1]))
    free = cells.vectors @ toward < math.cos(math.radians(source[2]))
    known = free & (blocks.count >= FEWEST_BLOCKS)
    if day:
        chance = _by_colour(blocks, cells, white_balance, calibrated)
        return clouds_from_chances(
            cells, chance, known & (np.abs(chance - 0.5) > 0.1), common_sigma=_COMMON_SIGMA
        )
    rough = _roughness(blocks)
    return clouds_from_chances(
        cells, np.where(rough > ROUGHNESS_LIMIT, 0.9, 0.5), known & (rough > ROUGHNESS_LIMIT),
        common_sigma=_COMMON_SIGMA,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Blocks:
    """A frame shrunk to blocks of pixels, those that show sky; ``(N,)`` unless said otherwise.

    Attributes
    ----------
    light
        ``(N, channels)`` mean of each block, all above zero.
    cell
        The cell each lies in.
    x, y
        Places in units of blocks.
    count
        ``(cells,)`` blocks of each cell.
    """

    light: Float
    cell: NDArray[np.intp]
    x: Float
    y: Float
    count: NDArray[np.intp]

    def blueness(self, white_balance: tuple[float, float]) -> Float:
        """Return log2 of white-balanced blue over red, 0 for sunlight, ``(N,)``."""
        red, blue = self.light[:, 0] * white_balance[0], self.light[:, 2] * white_balance[1]
        return np.asarray(np.log2(blue / red))

    def mean(self, values: Float) -> Float:
        """Return the mean over the blocks of each cell, ``(cells,)``; 0 where there are none."""
        total = np.bincount(self.cell, values, minlength=self.count.size)
        return np.asarray(total / np.maximum(self.count, 1))


def blocks_of(
    linear: Array,
    lens: LensModel,
    cells: SkyCells,
    *,
    clipped: Array | None = None,
    mask: NDArray[np.bool_] | None = None,
    pedestal: float = 0.0,
) -> Blocks:
    """Shrink a frame to some hundred blocks across, without saturated or landscape ones."""
    size = max(1, round(min(lens.width, lens.height) / _SHORT_SIDE))
    small = np.asarray(to_host(block_mean(linear, size)), dtype=np.float64) - pedestal
    rows, columns = small.shape[:2]
    y, x = np.mgrid[:rows, :columns] * float(size) + (size - 1) / 2
    altitude, azimuth = lens.unproject(x, y)
    cell = cells.index_of(altitude, azimuth)
    good = (cell >= 0) & np.all(small > 0.0, axis=2)
    if clipped is not None:
        share = np.asarray(to_host(block_mean((clipped > 127) * np.float32(1.0), size)))
        good &= share < 0.05
    if mask is not None:
        sky = block_mean(mask.astype(np.float32), size)
        good &= np.asarray(sky) > 0.95
    count = np.bincount(cell[good], minlength=len(cells))
    return Blocks(small[good], cell[good], x[good] / size, y[good] / size, count)


def _by_colour(
    blocks: Blocks, cells: SkyCells, white_balance: tuple[float, float], calibrated: bool
) -> Float:
    """Return the chance that most of each cell is as white as cloud."""
    low = np.cos(np.radians(cells.altitude_deg)) ** 4
    limit = BLUENESS_LIMIT + (BLUENESS_LIMIT_LOW - BLUENESS_LIMIT) * low
    if not calibrated:
        limit = limit + UNKNOWN_GAINS
    pull = (limit[blocks.cell] - blocks.blueness(white_balance)) / BLUENESS_SIGMA
    return blocks.mean(1.0 / (1.0 + np.exp(-np.clip(1.702 * pull, -40, 40))))


def _roughness(blocks: Blocks) -> Float:
    """Return the RMS of log brightness in each cell about its own plane; 0 where too few."""
    value, n = np.log(blocks.light.mean(axis=1)), blocks.count.size
    out = np.zeros(n)
    order = np.argsort(blocks.cell, kind="stable")
    edges = np.searchsorted(blocks.cell[order], np.arange(n + 1))
    for k in range(n):
        part = order[edges[k] : edges[k + 1]]
        if part.size < FEWEST_BLOCKS:
            continue
        design = np.stack([np.ones(part.size), blocks.x[part], blocks.y[part]], axis=1)
        answer, *_ = np.linalg.lstsq(design, value[part], rcond=None)
        rest = value[part] - design @ answer
        out[k] = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    return out
