"""One raw exposure as a FITS file: the pixels as stored, a header other programs understand.

Unsigned 16-bit pixels are written the FITS way (FITS standard 4.0, section 4.4.2.5: ``BITPIX`` 16,
``BZERO`` 32768). Row 0 is the top row and comes first in the file, which ``ROWORDER`` says;
``BAYERPAT`` is the pattern of that top-left cell.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.model import Exposure, Site

MEDIA_TYPE = "application/fits"
BLOCK = 2880
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_IMAGE_TYPES = {"light": "LIGHT", "bias": "BIAS", "dark": "DARK", "flat": "FLAT"}


@dataclass(frozen=True, eq=False)
class FitsFile:
    """A FITS file in memory as parts that need not be joined: header, big-endian data, padding."""

    header: bytes
    data: NDArray[Any]

    @property
    def padding(self) -> bytes:
        """Zeros that fill the last block."""
        return bytes(-self.data.nbytes % BLOCK)

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return len(self.header) + self.data.nbytes + len(self.padding)

    def chunks(self, size: int = 1 << 18) -> Iterator[bytes]:
        """Yield the file piece by piece."""
        yield self.header
        view = self.data.reshape(-1).view(np.uint8)
        for start in range(0, len(view), size):
            yield view[start : start + size].tobytes()
        yield self.padding

    def __bytes__(self) -> bytes:
        """Join the parts."""
        return b"".join(self.chunks())


def fits_file(
    exposure: Exposure, site: Site | None = None, *, extra: tuple[tuple[str, Any, str], ...] = ()
) -> FitsFile:
    """Write an exposure as FITS.

    Parameters
    ----------
    exposure
        Pixels ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16 ADU; colour becomes three planes.
    site
        Where the camera stands, for SITELAT, SITELONG and SITEELEV.
    extra
        More cards: keyword, value, comment.
    """
    from astropy.io import fits

    pixels = exposure.pixels
    if pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 2, 0)
    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to the FITS standard")
    header["BITPIX"] = (8 if pixels.dtype == np.uint8 else 16, "bits per pixel")
    header["NAXIS"] = pixels.ndim
    for axis, length in enumerate(reversed(pixels.shape), start=1):
        header[f"NAXIS{axis}"] = length
    if pixels.dtype == np.uint8:
        data: NDArray[Any] = np.ascontiguousarray(pixels)
    else:
        header["BSCALE"] = (1, "pixel = stored * BSCALE + BZERO")
        header["BZERO"] = (32768, "unsigned 16-bit pixels")
        # flipping the top bit subtracts 32768 without a wider type
        data = np.bitwise_xor(pixels, np.uint16(0x8000)).astype(">u2", order="C", copy=False)
    for keyword, value, comment in (*_cards(exposure, site), *extra):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if isinstance(value, str):
            value = _ascii(value)
            comment = comment[: max(0, 80 - 10 - len(value) - 2 * value.count("'") - 5)]
        header[keyword] = (value, comment)
    return FitsFile(header.tostring(sep="", endcard=True, padding=True).encode("ascii"), data)


def _cards(exposure: Exposure, site: Site | None) -> list[tuple[str, Any, str]]:
    start = exposure.start.astimezone(UTC)
    middle = (start - _MJD_EPOCH).total_seconds() / 86400.0
    return [
        ("DATE-OBS", _iso(start), "UTC start of the exposure"),
        ("DATE-END", _iso(exposure.end), "UTC end of the exposure"),
        ("MJD-OBS", middle, "[d] modified Julian date of DATE-OBS"),
        ("TIMESYS", "UTC", "time scale"),
        ("EXPTIME", float(exposure.exposure_s), "[s] exposure time"),
        ("IMAGETYP", _IMAGE_TYPES[exposure.frame_type], "what the shutter saw"),
        ("OBJECT", "All sky", ""),
        ("INSTRUME", exposure.camera or None, "camera"),
        ("GAIN", exposure.gain, "gain in the camera's units"),
        ("OFFSET", exposure.offset, "black level in the camera's units"),
        ("EGAIN", exposure.egain, "[e-/ADU] conversion gain"),
        ("CCD-TEMP", exposure.temperature_c, "[degC] sensor temperature"),
        ("XBINNING", exposure.binning, "pixels combined along x"),
        ("YBINNING", exposure.binning, "pixels combined along y"),
        ("SATURATE", float(exposure.saturation_adu), "[adu] level of a saturated pixel"),
        ("BAYERPAT", exposure.pattern, "pattern of the top-left 2x2 cell"),
        ("XBAYROFF", 0 if exposure.pattern else None, "x offset of the pattern"),
        ("YBAYROFF", 0 if exposure.pattern else None, "y offset of the pattern"),
        ("ROWORDER", "TOP-DOWN", "the first row in the file is the top row"),
        ("OBSERVAT", site.name or None if site else None, "site"),
        ("SITELAT", site.latitude_deg if site else None, "[deg] latitude, north positive"),
        ("SITELONG", site.longitude_deg if site else None, "[deg] longitude, east positive"),
        ("SITEELEV", site.elevation_m if site else None, "[m] height above sea level"),
        ("SWCREATE", f"allsky360 {__version__}", "program that wrote this file"),
    ]


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")


def _ascii(text: str) -> str:
    """FITS knows printable ASCII only; accents go, the rest becomes '?'."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)[:66]
