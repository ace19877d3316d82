"""FITS files are judged by astropy: valid to the letter, and the same pixels come back."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.api.fits import fits_file
from allsky360.model import BAYER_PATTERNS, Exposure, Site

START = datetime(2026, 11, 22, 3, 4, 5, 678900, tzinfo=UTC)


def exposure(pixels: np.ndarray, **more: object) -> Exposure:
    keywords: dict[str, object] = {
        "pattern": "RGGB",
        "start": START,
        "exposure_s": 10.0,
        "gain": 120.0,
        "offset": 8.0,
        "temperature_c": -9.75,
        "binning": 2,
        "camera": "ZWO ASI294MC",
    }
    return Exposure(pixels, **{**keywords, **more})  # type: ignore[arg-type]


def read(data: bytes) -> astropy_fits.HDUList:
    hdus = astropy_fits.open(io.BytesIO(data), memmap=False)
    hdus.verify("exception")
    return hdus


def test_the_header_says_what_happened(site: Site) -> None:
    data = bytes(fits_file(exposure(np.zeros((4, 6), np.uint16)), site))
    header = read(data)[0].header
    raw = data[:2880]
    assert raw.startswith(b"SIMPLE  =                    T")
    assert len(data) % 2880 == 0
    assert b"BZERO   =                32768" in raw
    assert header["DATE-OBS"] == "2026-11-22T03:04:05.678"
    assert header["DATE-END"] == "2026-11-22T03:04:15.678"
    assert header["MJD-OBS"] == pytest.approx(Time(START).mjd, abs=1e-9)
    wanted = {
        "EXPTIME": 10.0,
        "GAIN": 120.0,
        "OFFSET": 8.0,
        "CCD-TEMP": -9.75,
        "XBINNING": 2,
        "YBINNING": 2,
        "BAYERPAT": "RGGB",
        "ROWORDER": "TOP-DOWN",
        "INSTRUME": "ZWO ASI294MC",
        "IMAGETYP": "LIGHT",
        "SITELAT": site.latitude_deg,
        "SITELONG": site.longitude_deg,
        "SITEELEV": site.elevation_m,
        "OBJECT": "All sky",
        "TIMESYS": "UTC",
    }
    assert {k: header[k] for k in wanted} == wanted
    assert header["SWCREATE"].startswith("allsky360 ")


@given(
    shape=st.sampled_from([(1, 1), (3, 5), (17, 33), (120, 96)]),
    seed=st.integers(0, 1000),
    pattern=st.sampled_from([*BAYER_PATTERNS, None]),
)
@settings(max_examples=40, deadline=None)
def test_sixteen_bits_come_back_pixel_by_pixel(
    shape: tuple[int, int], seed: int, pattern: str | None
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)
    hdus = read(bytes(fits_file(exposure(pixels, pattern=pattern))))
    assert hdus[0].data.dtype == np.uint16
    np.testing.assert_array_equal(hdus[0].data, pixels)
    assert ("BAYERPAT" in hdus[0].header) == (pattern is not None)
    assert "SITELAT" not in hdus[0].header


def test_a_window_of_a_larger_array_and_both_extremes() -> None:
    large = np.zeros((8, 8), np.uint16)
    large[2, 2], large[3, 3] = 65535, 32768
    window = large[2:5, 2:6]
    np.testing.assert_array_equal(read(bytes(fits_file(exposure(window))))[0].data, window)
    assert large[2, 2] == 65535  # the archive's array is not written to


def test_eight_bits_and_colour() -> None:
    colour = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    hdu = read(bytes(fits_file(exposure(colour, pattern=None))))[0]
    assert hdu.header["BITPIX"] == 8
    assert (hdu.header["NAXIS1"], hdu.header["NAXIS2"], hdu.header["NAXIS3"]) == (3, 2, 3)
    np.testing.assert_array_equal(np.moveaxis(hdu.data, 0, 2), colour)


def test_what_is_unknown_is_left_out_and_names_become_ascii() -> None:
    wild = exposure(
        np.zeros((2, 2), np.uint16),
        gain=None,
        offset=None,
        temperature_c=float("nan"),
        camera="Caméra « Über » 星 '\n" + "x" * 80,
        frame_type="dark",
    )
    header = read(bytes(fits_file(wild, Site("Ørsted", 0, 0), extra=(("NIGHT", "x", ""),))))[
        0
    ].header
    assert not {"GAIN", "OFFSET", "CCD-TEMP"} & set(header)
    assert header["INSTRUME"].startswith("Camera ? Uber ? ? '")
    assert header["IMAGETYP"] == "DARK"
    assert header["NIGHT"] == "x"


def test_chunks_add_up_to_the_announced_size() -> None:
    file = fits_file(exposure(np.zeros((100, 100), np.uint16)))
    chunks = list(file.chunks(size=1000))
    assert max(map(len, chunks[1:])) <= 2880
    assert sum(map(len, chunks)) == file.size == len(bytes(file))


def test_times_of_other_zones_are_written_in_utc() -> None:
    from datetime import timezone

    local = START.astimezone(timezone(timedelta(hours=5)))
    header = read(bytes(fits_file(exposure(np.zeros((2, 2), np.uint16), start=local))))[0].header
    assert header["DATE-OBS"] == "2026-11-22T03:04:05.678"
