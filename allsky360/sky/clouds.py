"""Where the sky is clear, where cloudy, and where it cannot be told.

By night every cell of the sky compares the light of its stars with what clear air would let
through; by day colour tells blue sky from grey cloud. A cell is cloudy from an optical depth of 0.3
on (a quarter of the light lost): thin cirrus that photometry would suffer from. What decides is the
weighted median of its stars, so that a cell counts as cloudy when cloud hides half of it, however
thick; the mean would call it cloudy with a quarter hidden. A cell is decided only where its error
allows it, and what is not decided is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.ephemeris import SunMoon
from allsky360.sky.photometry import Photometry, StarFlag
from allsky360.sky.sky_cells import SkyCells, sky_cells

Float = NDArray[np.float64]

CLOUD_DEPTH = 0.3
"""Optical depth from which a cell counts as cloudy."""

DAY_ABOVE_DEG = -5.0
"""Sun altitude above which stars are not asked."""

KERNEL_DEG = 3.0
STAR_SCATTER = 0.08
"""Calibration error of one star, a share of its light: flat, colour, variability, blends."""

LOOSE_SIGMA = 0.15
"""Error of the transparency from which a cell's stars tell nothing (few, Moon, twilight)."""

UNDECIDED = 0.2
"""A cell whose chance of cloud lies within this of one half cannot be told: half clear, mostly."""

MOON_GLARE_DEG = 6.0
_BAD = StarFlag.SATURATED | StarFlag.EDGE | StarFlag.MASKED | StarFlag.PLANET
_FAR_TOO_BRIGHT = 1.6


Method = Literal["stars", "stars and colour", "texture", "none"]
Reference = Literal["remembered", "frame", "colour", "none"]


class CellState(IntEnum):
    """What is known of a cell."""

    UNKNOWN = -1
    CLEAR = 0
    CLOUDY = 1


@dataclass(frozen=True, eq=False)
class CloudMap:
    """The clouds of one frame; arrays are ``(cells,)``.

    Attributes
    ----------
    cells
        The cells, from 10 degrees to the zenith unless asked otherwise.
    method
        "stars", "stars and colour" (under the Moon), "texture" (colour by day, texture under the
        Moon without stars), or "none" where nothing could be used.
    reference
        What clear air is known from: "remembered" zero point; "frame": the clearest part of this
        frame, which uniform cloud would fool; "colour" of sunlit or moonlit air; "none".
    transparency, transparency_sigma
        Mean share of starlight let through, relative to clear air at that altitude, with its error;
        NaN where no star was used and in the texture method.
    cloud_chance
        Chance that most of the cell is cloudy, 0 to 1; 0.5 where unknown.
    raw_chance
        The same before it was decided which cells can be told.
    state
        :class:`CellState`, int8.
    clear, cloudy, unknown
        Shares of the sky's solid angle; they add up to 1.
    cloud_fraction, cloud_fraction_sigma
        Cloudy share of what could be told, with its error; NaN where nothing could.
    """

    cells: SkyCells
    method: Method
    reference: Reference
    transparency: Float
    transparency_sigma: Float
    cloud_chance: Float
    raw_chance: Float
    state: NDArray[np.int8]
    clear: float
    cloudy: float
    unknown: float
    cloud_fraction: float
    cloud_fraction_sigma: float

    def state_at(self, altitude_deg: float, azimuth_deg: float) -> CellState:
        """Return the state in a direction; unknown below the lowest cells."""
        cell = int(self.cells.index_of(altitude_deg, azimuth_deg))
        return CellState(int(self.state[cell])) if cell >= 0 else CellState.UNKNOWN


def clouds_from_stars(
    photometry: Photometry,
    *,
    lights: SunMoon | None = None,
    remembered: bool = False,
    cells: SkyCells | None = None,
) -> CloudMap:
    """Return the clouds that the stars of a frame show.

    Parameters
    ----------
    photometry
        Of the frame.
    lights
        Sun and Moon, apparent; the Moon's surroundings and a bright sky cannot be told.
    remembered
        Whether the photometry was given a zero point remembered from clear frames.
    cells
        Default: 7.5 degrees from 10 degrees up.
    """
    cells = cells or sky_cells()
    by_day = lights is not None and lights.sun_altitude_deg > DAY_ABOVE_DEG
    if by_day or not math.isfinite(photometry.zero_point_mag) or len(photometry) == 0:
        return nothing_known(cells)
    through, sigma, hidden = _transparency(photometry, cells)
    chance = hidden(1.0)
    known = (np.nan_to_num(sigma, nan=9.0) < LOOSE_SIGMA) & (np.abs(chance - 0.5) > UNDECIDED)
    if lights is not None and lights.moon_altitude_deg > -1.0:
        moon = horizon_vectors(
            np.array(lights.moon_altitude_deg), np.array(lights.moon_azimuth_deg)
        )
        known &= cells.vectors @ moon < math.cos(math.radians(MOON_GLARE_DEG))
    shifts = []
    for sign in (-1.0, 1.0):  # the zero point moves all cells together
        scale = 10.0 ** (0.4 * sign * photometry.zero_point_sigma)
        shifts.append(_fraction(cells, hidden(scale), known)[0])
    common = abs(shifts[1] - shifts[0]) / 2.0
    return summed(
        cells, "stars", "remembered" if remembered else "frame", through, sigma, chance, known,
        common,
    )  # fmt: skip


def nothing_known(cells: SkyCells | None = None) -> CloudMap:
    """Return the map of a frame that says nothing about clouds."""
    cells = cells or sky_cells()
    nan = np.full(len(cells), np.nan)
    half, no = np.full(len(cells), 0.5), np.zeros(len(cells), dtype=bool)
    return summed(cells, "none", "none", nan, nan, half, no, 0.0)


def clouds_from_chances(
    cells: SkyCells, chance: Float, known: NDArray[np.bool_], *, common_sigma: float
) -> CloudMap:
    """Return the map of the texture method from chances of cloud, ``(cells,)`` each."""
    nan = np.full(len(cells), np.nan)
    method: Literal["texture", "none"] = "texture" if known.any() else "none"
    reference: Reference = "colour" if known.any() else "none"
    return summed(cells, method, reference, nan, nan, chance, known, common_sigma)


def _transparency(
    photometry: Photometry, cells: SkyCells
) -> tuple[Float, Float, Callable[[float], Float]]:
    """Return the mean light let through in each cell, its error, and the chance of cloud.

    The chance, a function of a factor on all light, is that of more than half of the cell being
    behind cloud, given the weight of its stars that are.

    Fluxes, not magnitudes: a star that was not seen counts with what was measured, also below
    zero. Stars weigh by a Gaussian of their distance from the cell's centre.
    """
    use = (photometry.flags & int(_BAD)) == 0
    use &= np.isfinite(photometry.expected_flux) & (photometry.expected_flux > 0)
    ratio = photometry.flux / np.where(use, photometry.expected_flux, 1.0)
    excess = (ratio - _FAR_TOO_BRIGHT) * photometry.expected_flux > 4.0 * photometry.flux_sigma
    use &= ~excess  # planets, satellites, lamps
    if not use.any():
        nan = np.full(len(cells), np.nan)
        return nan, nan, lambda scale: np.full(len(cells), 0.5)
    expected, flux = photometry.expected_flux[use], photometry.flux[use]
    variance = photometry.flux_sigma[use] ** 2 + (STAR_SCATTER * expected) ** 2
    toward = horizon_vectors(photometry.altitude_deg[use], photometry.azimuth_deg[use])
    kernel = np.exp((cells.vectors @ toward.T - 1.0) / math.radians(KERNEL_DEG) ** 2)
    kernel[kernel < 0.01] = 0.0
    # One noise for all stars of a cell: lit cloud is noisier than the clear sky beside it, and
    # stars weighed by their own noise would leave the say to the clear part.
    around = kernel @ photometry.flux_sigma[use] ** 2 / np.maximum(kernel.sum(axis=1), 1e-12)
    weight = kernel * (expected**2 / (around[:, None] + (STAR_SCATTER * expected) ** 2))
    total = weight.sum(axis=1)
    ratio = flux / expected
    with np.errstate(invalid="ignore", divide="ignore"):
        through = weight @ ratio / total
        sigma = np.sqrt(weight**2 @ (variance / expected**2)) / total
    empty = total < 1.0
    through[empty], sigma[empty] = np.nan, np.nan
    stars = np.maximum(total**2 / np.maximum((weight**2).sum(axis=1), 1e-12), 1.0)
    slack = np.sqrt(variance) / expected

    def hidden(scale: float) -> Float:
        behind = _normal((math.exp(-CLOUD_DEPTH) - ratio * scale) / slack)
        share = weight @ behind / np.maximum(total, 1e-12)
        error = np.sqrt(np.maximum(share * (1.0 - share), 0.02) / stars)
        return np.where(empty, 0.5, _normal((share - 0.5) / error))

    return through, sigma, hidden


def _normal(pull: Float) -> Float:
    """Return the normal integral (logistic approximation, Bowling et al. 2009, error 1.4e-4)."""
    p = np.clip(pull, -8.0, 8.0)
    return np.asarray(1.0 / (1.0 + np.exp(-(0.07056 * p**3 + 1.5976 * p))))


def _fraction(cells: SkyCells, chance: Float, known: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the cloudy share of the known sky and the error the cells' chances make."""
    area = cells.solid_angle_sr * known
    total = float(area.sum())
    if total <= 0.0:
        return float("nan"), float("nan")
    fraction = float(np.sum(area * chance) / total)
    # Neighbouring cells share stars through the kernel: about three err together.
    error = math.sqrt(3.0 * float(np.sum(area**2 * chance * (1.0 - chance)))) / total
    return fraction, error


def summed(
    cells: SkyCells,
    method: Method,
    reference: Reference,
    through: Float,
    sigma: Float,
    chance: Float,
    known: NDArray[np.bool_],
    common_sigma: float,
) -> CloudMap:
    """Return the map of chances of cloud, of which some are known; arrays ``(cells,)``."""
    cloudy = known & (chance >= 0.5)
    state = np.where(known, cloudy.astype(np.int8), np.int8(CellState.UNKNOWN)).astype(np.int8)
    area = cells.solid_angle_sr / cells.solid_angle_sr.sum()
    fraction, error = _fraction(cells, chance, known)
    return CloudMap(
        cells=cells,
        method=method,
        reference=reference,
        transparency=through,
        transparency_sigma=sigma,
        cloud_chance=np.where(known, chance, 0.5),
        raw_chance=chance,
        state=state,
        clear=float(area[known & ~cloudy].sum()),
        cloudy=float(area[cloudy].sum()),
        unknown=float(area[~known].sum()),
        cloud_fraction=fraction,
        cloud_fraction_sigma=math.hypot(error, common_sigma),
    )
