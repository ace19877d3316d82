"""Camera images as INDIGO sends them: its RAW format and FITS."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.model import BayerPattern, FrameType

FITS_BLOCK = 2880
CARD = 80
_IMAGE_TYPES: dict[FrameType, str] = {
    "light": "Light",
    "bias": "Bias",
    "dark": "Dark",
    "flat": "Flat",
}
_BAYER_OFFSETS: dict[BayerPattern, tuple[int, int]] = {
    "RGGB": (0, 0),
    "GBRG": (0, 1),
    "GRBG": (1, 0),
    "BGGR": (1, 1),
}


@dataclass(frozen=True)
class FitsFacts:
    """What INDIGO writes into a FITS header besides the shape."""

    camera: str
    exposure_s: float
    created: datetime
    binning: int = 1
    pixel_um: float = 0.0
    temperature_c: float | None = None
    frame_type: FrameType = "light"
    gain: float | None = None
    offset: float | None = None
    egain: float | None = None
    extra: tuple[tuple[str, str], ...] = ()


def to_depth(pixels: NDArray[np.uint16], bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the pixels at 8 or 16 bits; 8 keeps the upper byte."""
    return (pixels >> 8).astype(np.uint8) if bits == 8 else pixels


def encode_raw(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], pattern: BayerPattern | None
) -> bytes:
    """Write a mono or mosaic image as INDIGO RAW.

    Parameters
    ----------
    pixels
        ``(H, W)`` uint8 (``RAW1``) or uint16 (``RAW2``), row 0 on top.
    pattern
        Written as the one appended card; None appends nothing.
    """
    height, width = pixels.shape
    signature = b"RAW1" if pixels.dtype == np.uint8 else b"RAW2"
    appendix = f"SIMPLE=T;BAYERPAT='{pattern}';".encode() if pattern else b""
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return b"".join((signature, struct.pack("<II", width, height), little.data, appendix))


def encode_fits(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], pattern: BayerPattern | None, facts: FitsFacts
) -> bytes:
    """Write a mono or mosaic image as FITS with INDIGO's cards in INDIGO's order.

    ``DATE-OBS`` is the time of creation minus the exposure, as INDIGO computes it: it is late by
    the readout. Row 0 of the array is the first row of the file (``ROWORDER`` is TOP-DOWN).

    Parameters
    ----------
    pixels
        ``(H, W)`` uint8 or uint16.
    pattern
        Bayer pattern of the array, None for mono.
    facts
        Values of the header.
    """
    height, width = pixels.shape
    wide = pixels.dtype == np.uint16
    cards = [
        _card("SIMPLE", "T", "file conforms to FITS standard"),
        _card("BITPIX", "16" if wide else "8", "number of bits per data pixel"),
        _card("NAXIS", "2", "number of data axes"),
        _card("NAXIS1", str(width), "length of data axis 1 [pixels]"),
        _card("NAXIS2", str(height), "length of data axis 2 [pixels]"),
        _card("EXTEND", "T", "FITS dataset may contain extensions"),
    ]
    if wide:
        cards += [_card("BZERO", "32768"), _card("BSCALE", "1")]
    cards += _fact_cards(facts)
    if pattern is not None:
        x_offset, y_offset = _BAYER_OFFSETS[pattern]
        cards += [
            _card("BAYERPAT", f"'{pattern}'", "Bayer color pattern"),
            _card("XBAYROFF", str(x_offset)),
            _card("YBAYROFF", str(y_offset)),
        ]
    cards += [_card(key, value) for key, value in facts.extra]
    cards.append("END".ljust(CARD))
    header = "".join(cards).encode("ascii", errors="replace")
    if wide:
        signed = (pixels.astype(np.int32) - 32768).astype(">i2")
        body = signed.tobytes()
    else:
        body = np.ascontiguousarray(pixels).tobytes()
    return _padded(header, b" ") + _padded(body, b"\0")


def _fact_cards(facts: FitsFacts) -> list[str]:
    digits = 2 if facts.exposure_s >= 1 else 4
    start = facts.created.astimezone(UTC) - timedelta(seconds=facts.exposure_s)
    date_obs = start.strftime("%Y-%m-%dT%H:%M:%S.") + f"{start.microsecond // 1000:03d}"
    cards = [_card("XBINNING", str(facts.binning)), _card("YBINNING", str(facts.binning))]
    if facts.pixel_um > 0:
        size = f"{facts.pixel_um * facts.binning:.2f}"
        cards += [_card("XPIXSZ", size, "[um]"), _card("YPIXSZ", size, "[um]")]
    cards.append(_card("EXPTIME", f"{facts.exposure_s:.{digits}f}", "exposure time [s]"))
    if facts.temperature_c is not None:
        cards.append(_card("CCD-TEMP", f"{facts.temperature_c:.2f}", "CCD temperature [C]"))
    cards.append(_card("IMAGETYP", f"'{_IMAGE_TYPES[facts.frame_type]}'", "frame type"))
    for key, value in (("GAIN", facts.gain), ("EGAIN", facts.egain), ("OFFSET", facts.offset)):
        if value is not None:
            cards.append(_card(key, f"{value:.6g}"))
    cards += [
        _card("JD", f"{_julian_date(start):.8f}", "Julian date"),
        _card("DATE-OBS", f"'{date_obs}'", "UTC date that FITS file was created"),
        _card("INSTRUME", f"'{facts.camera}'", "instrument name"),
        _card("ROWORDER", "'TOP-DOWN'", "Image row order"),
        _card("SWCREATE", "'allsky360 simulator'", "Software"),
    ]
    return cards


def _julian_date(when: datetime) -> float:
    return 2440587.5 + when.timestamp() / 86400.0


def _card(key: str, value: str, comment: str = "") -> str:
    shown = value if value.startswith("'") else f"{value:>20}"
    words = f"{key[:8].upper():<8}= {shown:<20}"
    return (f"{words} / {comment}" if comment else words)[:CARD].ljust(CARD)


def _padded(data: bytes, fill: bytes) -> bytes:
    return data + fill * (-len(data) % FITS_BLOCK)
