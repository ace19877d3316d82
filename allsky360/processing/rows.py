"""The stars and sky cells of a measurement as rows of the archive, beside its scalars."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.rows import Axis, Row
from allsky360.measure.frame import Measurement
from allsky360.sky.brightness import SkyBrightness
from allsky360.sky.catalogue import load_catalogue
from allsky360.sky.clouds import CloudMap
from allsky360.sky.photometry import Photometry
from allsky360.sky.sky_cells import SkyCells, sky_cells

FAINTEST_V = 6.5
"""Faintest star with a row of its own; what :func:`measure_fluxes` measures."""


def rows_of(sky: Measurement) -> dict[str, Row]:
    """Return the rows of one frame; what was not measured has none."""
    rows: dict[str, Row] = {}
    if sky.photometry is not None:
        rows |= _stars(sky.photometry)
    if sky.clouds is not None:
        rows |= _clouds(sky.clouds)
        if sky.brightness is not None:
            rows |= _brightness(sky.brightness, sky.clouds.cells)
    return rows


@lru_cache(maxsize=1)
def star_axis() -> Axis:
    """Return the catalogue's stars, by Hipparcos number."""
    stars = load_catalogue(FAINTEST_V)
    return Axis(
        "star",
        {
            "star": (stars.hip, {"long_name": "Hipparcos number"}),
            "star_v_mag": (
                stars.v_mag.astype(np.float32),
                {"units": "mag", "long_name": "Johnson V of the catalogue"},
            ),
            "star_bv": (
                stars.bv.astype(np.float32),
                {"units": "mag", "long_name": "Johnson B-V of the catalogue"},
            ),
            "star_ra_deg": (
                stars.ra_deg,
                {"units": "degree", "long_name": "right ascension, ICRS, epoch J1991.25"},
            ),
            "star_dec_deg": (
                stars.dec_deg,
                {"units": "degree", "long_name": "declination, ICRS, epoch J1991.25"},
            ),
        },
    )


@lru_cache(maxsize=4)
def cell_axis(size_deg: float, lowest_deg: float) -> Axis:
    """Return the sky cells of a size."""
    cells = sky_cells(size_deg, lowest_deg)
    return Axis(
        "cell",
        {
            "cell": (np.arange(len(cells), dtype=np.int32), {"long_name": "number of the cell"}),
            "cell_altitude_deg": (
                cells.altitude_deg,
                {"units": "degree", "long_name": "apparent altitude of the cell's centre"},
            ),
            "cell_azimuth_deg": (
                cells.azimuth_deg,
                {"units": "degree", "long_name": "azimuth of the cell's centre"},
            ),
            "cell_solid_angle_sr": (
                cells.solid_angle_sr,
                {"units": "sr", "long_name": "solid angle of the cell"},
            ),
        },
    )


def _stars(stars: Photometry) -> dict[str, Row]:
    """Light of each star; non-detections keep their value, stars out of the field have none."""
    axis = star_axis()
    known = stars.index < axis.size  # brightest first, so the index is the place

    def spread(values: NDArray[np.float64], **attributes: str) -> Row:
        out = np.full(axis.size, np.nan, np.float32)
        out[stars.index[known]] = values[known]
        return Row(axis, out, attributes)

    flags = np.full(axis.size, 65535, np.uint16)
    flags[stars.index[known]] = stars.flags[known]
    unit = {"units": "full_well s-1"}
    return {
        "star_flux": spread(
            stars.flux / stars.exposure_s,
            long_name="light of the star, extinction and lens not corrected",
            ancillary_variables="star_flux_sigma",
            **unit,
        ),
        "star_flux_sigma": spread(
            stars.flux_sigma / stars.exposure_s,
            long_name="standard deviation of star_flux",
            **unit,
        ),
        "star_loss_mag": spread(
            stars.delta_mag,
            units="mag",
            long_name="light lost beyond clear air; a lower limit where not detected",
        ),
        "star_flags": Row(
            axis,
            flags,
            {"long_name": "bits: 1 saturated, 2 blended, 4 edge, 8 masked, 16 near a planet"},
        ),
    }


def _clouds(clouds: CloudMap) -> dict[str, Row]:
    axis = cell_axis(clouds.cells.size_deg, clouds.cells.lowest_deg)
    return {
        "cloud_state": Row(
            axis, clouds.state, {"long_name": "0 clear, 1 cloudy, -1 cannot be told"}
        ),
        "cloud_chance": Row(
            axis,
            clouds.cloud_chance.astype(np.float32),
            {"units": "1", "long_name": "chance that most of the cell is cloudy"},
        ),
        "cell_transparency": Row(
            axis,
            clouds.transparency.astype(np.float32),
            {"units": "1", "long_name": "share of starlight let through, relative to clear air"},
        ),
    }


def _brightness(sky: SkyBrightness, cells: SkyCells) -> dict[str, Row]:
    """Median of the blocks whose centres lie in each cell."""
    place = cells.index_of(sky.altitude_deg, sky.azimuth_deg).ravel()
    mag = sky.mag_arcsec2.ravel()
    good = np.isfinite(mag) & (place >= 0)
    out = np.full(len(cells), np.nan, np.float32)
    order = np.argsort(place[good], kind="stable")
    where, values = place[good][order], mag[good][order]
    numbers, starts = np.unique(where, return_index=True)
    parts = np.split(values, starts[1:]) if numbers.size else []  # overcast: no block was measured
    for number, part in zip(numbers, parts, strict=True):
        out[number] = np.median(part)
    return {
        "cell_brightness_mag_arcsec2": Row(
            cell_axis(cells.size_deg, cells.lowest_deg),
            out,
            {"units": "mag arcsec-2", "long_name": "V sky brightness of the cell"},
        )
    }
