"""Clouds under the Moon: what the stars say, and what the colour of the sky says, together.

Clear air scatters moonlight as it does sunlight, blue by day or night; cloud gives it back as it
is. Under a bright Moon few stars are left to tell, while the colour tells most: the two go well
together. Where the Moon does not make most of the light (towns on the horizon, a thin crescent)
colour is not asked: how much it makes follows from how dark the site is without it and from what
clear air would scatter (:mod:`allsky360.sky.moonlight`).

Both colours are known but roughly: gains, filters and dust differ. The cells of the same frame that
the stars decide therefore correct them, each class its own colour, held by a broad prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.sky.airmass import airmass
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.cloud_texture import FEWEST_BLOCKS, MOON_GLARE_DEG, blocks_of
from allsky360.sky.clouds import UNDECIDED, CloudMap, summed
from allsky360.sky.ephemeris import SunMoon
from allsky360.sky.lens import LensModel
from allsky360.sky.moonlight import moonlit_mag

Float = NDArray[np.float64]

MOON_UP_DEG = 5.0
LEAST_MOONLIGHT = 0.4
"""Share of a cell's light that must be the Moon's."""

DARK_MAG = 20.5
"""Moonless zenith where none is remembered: between suburb and country."""

CLEAR_BLUE, CLOUD_BLUE, OTHER_BLUE = 0.75, -0.05, -0.30
"""log2(blue / red), 0 for sunlight: moonlit clear air (B-V about 0.1 to 0.2), moonlit cloud (B-V
0.6 to 0.9, as the Moon itself), airglow and lamps (0.7 to 1.1)."""

CLASS_SIGMA = 0.30
"""Error of the first two for a camera whose gains are known."""

SPREAD = 0.18
"""Scatter of one class within a frame: dust, haze, altitude."""

COMMON_SIGMA = 0.03
"""Error of the cloudy share that all cells have in common."""

_ENOUGH_CELLS = 8.0  # neighbours share stars and colour: more cells do not make more knowledge
_LEAST_APART = 2.0 * SPREAD
_MOST_SURE = 0.97


def clouds_by_moonlight(
    stars: CloudMap,
    linear: Array,
    lens: LensModel,
    lights: SunMoon,
    *,
    dark_mag: float = DARK_MAG,
    white_balance: tuple[float, float],
    calibrated: bool,
    clipped: Array | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> CloudMap:
    """Return the map of the stars with the evidence of colour added; the same where there is none.

    Parameters
    ----------
    stars
        Map by the stars of the same frame.
    linear
        ``(H, W, 3)`` float32, not white balanced; a mono frame changes nothing.
    dark_mag
        Brightness of the zenith without Moon and cloud at this site, V mag per square arcsecond.
    white_balance
        Gains of red and blue that make sunlight white.
    calibrated
        Whether those gains were measured on this camera's stars; else the colours alone do not
        count as knowledge of what a clear sky is (``reference``).
    clipped
        ``(H, W)`` uint8, 255 = saturated.
    mask
        ``(H, W)`` host bool, True = sky.
    """
    up = lights.moon_altitude_deg > MOON_UP_DEG and lights.sun_altitude_deg < -12.0
    if linear.shape[2] != 3 or not up:
        return stars
    cells = stars.cells
    share = moon_share(lights, dark_mag, cells.altitude_deg, cells.azimuth_deg)
    moon = horizon_vectors(np.array(lights.moon_altitude_deg), np.array(lights.moon_azimuth_deg))
    free = cells.vectors @ moon < np.cos(np.radians(MOON_GLARE_DEG))
    blocks = blocks_of(linear, lens, cells, clipped=clipped, mask=mask)
    asked = free & (blocks.count >= FEWEST_BLOCKS) & (share >= LEAST_MOONLIGHT)
    if not asked.any():
        return stars
    blue = blocks.blueness(white_balance)
    clear, cloud = _class_colours(stars, blocks.mean(blue), share, asked)
    asked &= clear - cloud > _LEAST_APART
    white = blocks.mean(_chance(blue, clear[blocks.cell], cloud[blocks.cell]))
    by_colour = np.where(asked, np.clip(white, 1.0 - _MOST_SURE, _MOST_SURE), 0.5)
    by_stars = np.clip(stars.raw_chance, 1.0 - _MOST_SURE, _MOST_SURE)
    both = by_colour * by_stars / (by_colour * by_stars + (1 - by_colour) * (1 - by_stars))
    decided = asked & (np.abs(both - 0.5) > UNDECIDED)
    told = np.where(asked, decided, stars.state >= 0)
    reference = stars.reference
    if reference == "frame" and calibrated:
        reference = "colour"
    return summed(
        cells, "stars and colour", reference, stars.transparency, stars.transparency_sigma,
        np.where(asked, both, stars.raw_chance), told, COMMON_SIGMA,
    )  # fmt: skip


def moon_share(lights: SunMoon, dark_mag: float, altitude_deg: Float, azimuth_deg: Float) -> Float:
    """Return how much of the light of clear air is the Moon's, 0 to 1.

    The rest is ``dark_mag`` at the zenith and, as airglow and lamps together, grows with the air
    crossed. Not taken from the frame: cloud may be several times as bright as the air beside it.
    """
    own = 10.0 ** (-0.4 * moonlit_mag(lights, altitude_deg, azimuth_deg))
    rest = 10.0 ** (-0.4 * dark_mag) * airmass(altitude_deg)
    return np.asarray(own / (own + rest))


def _class_colours(
    stars: CloudMap, blueness: Float, share: Float, asked: NDArray[np.bool_]
) -> tuple[Float, Float]:
    """Return the blueness of clear air and of cloud in each cell, ``(cells,)`` each."""
    out = []
    for state, own in ((0, CLEAR_BLUE), (1, CLOUD_BLUE)):
        expected = np.log2(share * 2.0**own + (1.0 - share) * 2.0**OTHER_BLUE)
        known = asked & (stars.state == state)
        cells = min(float(np.count_nonzero(known)), _ENOUGH_CELLS)
        weight = cells / SPREAD**2
        off = float(np.median((blueness - expected)[known])) if known.any() else 0.0
        out.append(expected + off * weight / (weight + CLASS_SIGMA**-2))
    return out[0], out[1]


def _chance(blueness: Float, clear: Float, cloud: Float) -> Float:
    """Return the chance of cloud of blocks by their colour: two bells of equal width."""
    pull = ((clear + cloud) / 2.0 - blueness) * (clear - cloud) / SPREAD**2
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(pull, -40.0, 40.0))))
