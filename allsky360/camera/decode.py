"""INDIGO RAW and FITS bytes to pixels, trusting no header.

Every dimension is checked against the bytes that are really there before anything is allocated.
What does not add up is an error with a name, never a picture. Formats: reference/indigo-protocol.md
section 6; FITS Standard 4.0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.errors import (
    MislabelledImage,
    OversizedImage,
    TruncatedImage,
    UnsupportedImage,
)
from allsky360.model import BAYER_PATTERNS, BayerPattern

ImageFormat = Literal["RAW", "FITS"]
Card = str | int | float | bool
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 1 << 28
"""More than any camera has; what announces more is refused unread."""

_BLOCK = 2880
_MAX_HEADER_BLOCKS = 256
_MAX_APPENDIX_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Pixels and what the file says about them.

    Attributes
    ----------
    pixels
        uint8 or uint16, ``(H, W)`` or ``(H, W, 3)`` in R, G, B order; row 0 is the top row.
    pattern
        Bayer pattern of this array, None when there is none or it is not said.
    cards
        Header cards, keyword to value. RAW has at most the Bayer card.
    comments
        Comments of the cards that have one.
    pedestal_adu
        Constant added to make signed data unsigned; 0 for everything a camera delivers.
    """

    pixels: Pixels
    pattern: BayerPattern | None
    image_format: ImageFormat
    cards: dict[str, Card] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    pedestal_adu: int = 0


def decode_image(
    data: bytes,
    *,
    image_format: ImageFormat | None = None,
    shape: tuple[int, int] | None = None,
    bits: int | None = None,
    read_pattern: bool = True,
) -> DecodedImage:
    """Decode an image as a camera server delivers it.

    Parameters
    ----------
    data
        The whole file.
    image_format
        What was asked for; anything else is an error. None: by content.
    shape
        Expected ``(H, W)``. None: whatever comes.
    bits
        Expected bits per pixel and channel (8 or 16), checked for mono and mosaic images.
    read_pattern
        False where the Bayer pattern is known better than the file says it.

    Raises
    ------
    TruncatedImage, OversizedImage, MislabelledImage, UnsupportedImage
    """
    found = sniff(data)
    if found is None:
        raise UnsupportedImage(
            f"{len(data)} bytes starting {bytes(data[:12])!r} are neither INDIGO RAW nor FITS."
        )
    if image_format is not None and found != image_format:
        raise MislabelledImage(f"asked for {image_format}, the image is {found}.")
    if found == "RAW":
        image = decode_raw(data, read_pattern=read_pattern)
    else:
        image = decode_fits(data, read_pattern=read_pattern)
    height, width = image.pixels.shape[:2]
    if shape is not None and (height, width) != shape:
        raise MislabelledImage(
            f"the image is {width}x{height}, the camera was set to {shape[1]}x{shape[0]}."
        )
    depth = image.pixels.dtype.itemsize * 8
    if bits is not None and image.pixels.ndim == 2 and depth != bits:
        raise MislabelledImage(f"the image has {depth} bits, the camera was set to {bits}.")
    return image


def sniff(data: bytes) -> ImageFormat | None:
    """Tell the format from the first bytes, None when it is neither."""
    if bytes(data[:4]) in _RAW_KINDS:
        return "RAW"
    if re.match(rb"SIMPLE {0,3}=", bytes(data[:10])):
        return "FITS"
    return None


# --- INDIGO RAW -----------------------------------------------------------------------------------

# signature: channels stored, bytes a channel, which of them are R, G, B
_RAW_KINDS: dict[bytes, tuple[int, int, tuple[int, ...] | None]] = {
    b"RAW1": (1, 1, None),
    b"RAW2": (1, 2, None),
    b"RAW3": (3, 1, (0, 1, 2)),
    b"RAW6": (3, 2, (0, 1, 2)),
    b"RGB6": (4, 1, (0, 1, 2)),  # RGBA
    b"BGR6": (4, 1, (3, 2, 1)),  # ABGR
}


def decode_raw(data: bytes, *, read_pattern: bool = True) -> DecodedImage:
    """Decode INDIGO RAW: 12-byte header, little-endian pixels, optional ``KEY=VALUE;`` cards."""
    if len(data) < 12:
        raise TruncatedImage(f"the RAW image has {len(data)} bytes, less than its header.")
    kind = _RAW_KINDS.get(bytes(data[:4]))
    if kind is None:
        raise UnsupportedImage(f"{bytes(data[:4])!r} is no INDIGO RAW signature.")
    channels, size, order = kind
    width, height = struct.unpack("<II", data[4:12])
    _check_dimensions(width, height, "RAW")
    count = width * height * channels
    end = 12 + count * size
    _check_length(len(data), end, f"{width}x{height} RAW")
    flat = np.frombuffer(data, dtype="u1" if size == 1 else "<u2", count=count, offset=12)
    if order is None:
        stored = flat.reshape(height, width)
    else:
        stored = flat.reshape(height, width, channels)[..., list(order)]
    native: Pixels = (
        stored.astype(np.uint8, order="C") if size == 1 else stored.astype(np.uint16, order="C")
    )
    cards = _appendix(data[end:])
    pattern = _pattern(cards) if native.ndim == 2 and read_pattern else None
    return DecodedImage(native, pattern, "RAW", cards)


def _appendix(rest: bytes) -> dict[str, Card]:
    if not rest:
        return {}
    text = rest.decode("latin-1") if len(rest) <= _MAX_APPENDIX_BYTES else ""
    if not re.match(r"SIMPLE\s*[= ]", text):
        raise OversizedImage(f"{len(rest)} bytes follow the last pixel and are no cards.")
    cards: dict[str, Card] = {}
    for piece in text.split(";"):
        match = re.match(r"\s*([A-Za-z0-9_-]{1,32})(?:\s*=\s*|\s+)(.*)", piece, re.DOTALL)
        if match:
            cards[match[1].upper()] = _card_value(match[2].strip().rstrip("\0"))[0]
    return cards


# --- FITS -----------------------------------------------------------------------------------------


def decode_fits(
    data: bytes, *, from_camera: bool = True, read_pattern: bool = True
) -> DecodedImage:
    """Decode the primary image of a FITS file.

    Parameters
    ----------
    from_camera
        True: the strict reading for what a camera server sends, where nothing may follow the image
        and data must be unsigned. False: other people's files, which may have extensions, lack
        their last padding, or hold signed numbers.
    read_pattern
        As for :func:`decode_image`.
    """
    cards, comments, offset = fits_header(data)
    bitpix, shape = _fits_geometry(cards)
    size = abs(bitpix) // 8
    count = int(np.prod(shape, dtype=np.int64))
    end = offset + count * size
    if len(data) < end:
        raise TruncatedImage(f"the FITS image ends after {len(data)} of {end} bytes.")
    if from_camera and (len(data) - end >= _BLOCK or data[end:].strip(b"\0 ")):
        raise OversizedImage(f"{len(data) - end} bytes follow the last pixel of the FITS image.")
    dtype = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}[bitpix]
    stored = np.frombuffer(data, dtype=dtype, count=count, offset=offset).reshape(shape)
    zero, scale = card_number(cards, "BZERO", 0.0), card_number(cards, "BSCALE", 1.0)
    pixels, pedestal = unsigned(stored, zero or 0.0, 1.0 if scale is None else scale, from_camera)
    if pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0).copy()
    image = DecodedImage(pixels, None, "FITS", cards, comments, pedestal)
    return oriented(image, read_pattern=read_pattern)


def oriented(image: DecodedImage, *, read_pattern: bool = True) -> DecodedImage:
    """Read the pattern from the cards and put the top row first.

    Without ROWORDER the first row stored is the top one, as INDIGO writes it.
    """
    pixels = image.pixels
    pattern = _pattern(image.cards) if pixels.ndim == 2 and read_pattern else None
    if str(image.cards.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP":
        pixels = pixels[::-1].copy()
        if pattern is not None and pixels.shape[0] % 2 == 0:
            pattern = _BY_NAME[pattern[2:] + pattern[:2]]
    return replace(image, pixels=pixels, pattern=pattern)


def fits_header(data: bytes) -> tuple[dict[str, Card], dict[str, str], int]:
    """Read the primary header.

    Returns
    -------
    cards, comments, offset
        Values and comments by keyword (the first of each), and where the data begins.
    """
    cards: dict[str, Card] = {}
    comments: dict[str, str] = {}
    limit = min(len(data), _MAX_HEADER_BLOCKS * _BLOCK)
    for start in range(0, limit - 79, 80):
        card = data[start : start + 80].decode("latin-1")
        key = card[:8].strip()
        if key == "END":
            return cards, comments, -(-(start + 80) // _BLOCK) * _BLOCK
        if start == 0 and key != "SIMPLE":
            raise UnsupportedImage("not a FITS file: the first card is not SIMPLE.")
        if card[8:9] == "=" and key and key not in cards:
            cards[key], comments[key] = _card_value(card[9:])
    if len(data) < _MAX_HEADER_BLOCKS * _BLOCK:
        raise TruncatedImage("the FITS header has no END card.")
    raise UnsupportedImage("the FITS header is too long to be one.")


def _card_value(text: str) -> tuple[Card, str]:
    text = text.strip()
    if text.startswith("'"):
        match = re.match(r"'((?:[^']|'')*)'?\s*(?:/(.*))?", text, re.DOTALL)
        assert match is not None  # the pattern matches whatever begins with a quote
        return match[1].replace("''", "'").rstrip(), (match[2] or "").strip()
    value, _, comment = text.partition("/")
    value = value.strip()
    if value in ("T", "F"):
        return value == "T", comment.strip()
    if re.fullmatch(r"[+-]?\d{1,18}", value):
        return int(value), comment.strip()
    number = parse_number(value)
    return (value if number is None else number), comment.strip()


def parse_number(text: str) -> float | None:
    """Read a number as FITS and careless writers put it; None when it is none, or not finite."""
    match = re.match(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d{1,4})?)\s*(?:[A-Za-z]*)$", text)
    if match is None:
        return None
    number = float(re.sub("[dD]", "e", match[1]))
    return number if np.isfinite(number) else None


def card_number(
    cards: Mapping[str, Card], key: str, otherwise: float | None = None
) -> float | None:
    """Return a card as a number, also when it is stored as text."""
    value = cards.get(key)
    if value is None or isinstance(value, bool):
        return otherwise
    if isinstance(value, str):
        number = parse_number(value)
        return otherwise if number is None else number
    return float(value)


def _fits_geometry(cards: Mapping[str, Card]) -> tuple[int, tuple[int, ...]]:
    bitpix, naxis = _whole(cards, "BITPIX"), _whole(cards, "NAXIS")
    if bitpix not in (8, 16, 32, -32, -64):
        raise UnsupportedImage(f"the FITS image has BITPIX {cards.get('BITPIX')!r}.")
    if naxis not in (2, 3):
        raise UnsupportedImage(f"the FITS file has NAXIS {cards.get('NAXIS')!r}, not 2 or 3.")
    width, height = _whole(cards, "NAXIS1"), _whole(cards, "NAXIS2")
    _check_dimensions(width, height, "FITS")
    if naxis == 2:
        return bitpix, (height, width)
    planes = _whole(cards, "NAXIS3")
    if planes == 1:
        return bitpix, (height, width)
    if planes != 3:
        raise UnsupportedImage(f"the FITS image has {planes} planes, not 1 or 3.")
    return bitpix, (3, height, width)


def _whole(cards: Mapping[str, Card], key: str) -> int:
    number = card_number(cards, key)
    return int(number) if number is not None and number == int(number) else 0


def unsigned(
    stored: NDArray[np.generic], zero: float, scale: float, strict: bool
) -> tuple[Pixels, int]:
    """Turn stored FITS numbers into raw ADU, as a copy in native byte order.

    Parameters
    ----------
    stored
        Big-endian array of any shape.
    zero, scale
        BZERO and BSCALE.
    strict
        Refuse negative values; else add a pedestal of 1024 or 32768 ADU.

    Returns
    -------
    pixels, pedestal_adu
    """
    kind = stored.dtype.kind + str(stored.dtype.itemsize)
    if scale == 1 and zero == 0 and kind == "u1":
        return stored.astype(np.uint8), 0
    if scale == 1 and zero == 32768 and kind == "i2":
        return stored.view(">u2").astype(np.uint16) ^ np.uint16(0x8000), 0
    if scale == 1 and zero == 0 and kind == "i2":
        low = int(stored.astype(np.int16).min())
        if low >= 0:
            return stored.astype(np.uint16), 0
        if strict:
            raise UnsupportedImage("the FITS image holds negative numbers.")
        pedestal = 1024 if low >= -1024 else 32768
        return (stored.astype(np.int32) + pedestal).astype(np.uint16), pedestal
    values = stored.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scale
        values += zero
        whole = bool(np.all((values >= 0) & (values <= 65535) & (values == np.floor(values))))
    if not whole:  # also where NaN: every comparison is False
        raise UnsupportedImage("the FITS image holds numbers that are no raw ADU (0 to 65535).")
    return values.astype(np.uint16), 0


# --- both -----------------------------------------------------------------------------------------

_BY_NAME: dict[str, BayerPattern] = {str(p): p for p in BAYER_PATTERNS}
_BY_OFFSET: dict[tuple[int, int], BayerPattern] = {
    (0, 0): "RGGB",
    (0, 1): "GBRG",
    (1, 0): "GRBG",
    (1, 1): "BGGR",
}


def _pattern(cards: Mapping[str, Card]) -> BayerPattern | None:
    """Read the Bayer pattern: BAYERPAT alone, or the offsets alone; they say the same twice."""
    name = str(cards.get("BAYERPAT", cards.get("COLORTYP", ""))).strip().upper()
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name not in ("", "NONE", "MONO", "F", "FALSE"):
        raise UnsupportedImage(
            f"the image has the colour filter pattern {name[:20]!r}.",
            mend="Say what it is in camera.bayer_pattern.",
        )
    x, y = card_number(cards, "XBAYROFF"), card_number(cards, "YBAYROFF")
    if name or x is None or y is None:
        return None
    return _BY_OFFSET[(int(x) % 2, int(y) % 2)]


def _check_dimensions(width: int, height: int, what: str) -> None:
    if width <= 0 or height <= 0:
        raise UnsupportedImage(f"the {what} image says it is {width}x{height} pixels.")
    if width * height > MAX_PIXELS:
        raise OversizedImage(f"the {what} image says it is {width}x{height} pixels.")


def _check_length(length: int, needed: int, what: str) -> None:
    if length < needed:
        raise TruncatedImage(f"the {what} image ends after {length} of {needed} bytes.")
