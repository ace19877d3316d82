"""FITS files of any camera as exposures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.decode import (
    MAX_PIXELS,
    Card,
    DecodedImage,
    card_number,
    decode_fits,
    fits_header,
    oriented,
    unsigned,
)
from allsky360.camera.errors import OversizedImage, UnsupportedImage
from allsky360.camera.file_times import start_from_cards
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import Exposure, FrameType

_EXPOSURE_CARDS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPOSUR", "ITIME", "TELAPSE")
_TEMPERATURE_CARDS = ("CCD-TEMP", "CCDTEMP", "CCD_TEMP", "DET-TEMP", "SENSTEMP")
_BINNING_CARDS = ("XBINNING", "BINX1", "XBIN", "IMBINX", "CCDXBIN", "BINNING", "CCDSUM")
_FRAME_TYPES: tuple[tuple[str, FrameType], ...] = (
    ("bias", "bias"),
    ("zero", "bias"),
    ("darkflat", "dark"),
    ("dark", "dark"),
    ("flat", "flat"),
)


def read_fits(data: bytes, path: Path) -> Exposure:
    """Read the first image of a FITS file, also a compressed one in an extension."""
    cards, _, _ = fits_header(data)
    naxis = card_number(cards, "NAXIS", 0.0)
    image = _first_extension(data) if naxis == 0 else decode_fits(data, from_camera=False)
    return exposure_from_cards(image, path)


def exposure_from_cards(image: DecodedImage, path: Path) -> Exposure:
    """Build the exposure from pixels and cards."""
    cards = image.cards
    exposure_s, exposure_source = exposure_or_one(_first_number(cards, _EXPOSURE_CARDS))
    known_s = None if exposure_source == "unknown" else exposure_s
    start, time_source = start_or_mtime(start_from_cards(cards, image.comments, known_s), path)
    top = 255.0 if image.pixels.dtype == np.uint8 else 65535.0
    if cards.get("BITPIX") == 16 and not card_number(cards, "BZERO", 0.0):
        top = 32767.0 + image.pedestal_adu
    return Exposure(
        pixels=image.pixels,
        pattern=image.pattern,
        start=start,
        exposure_s=exposure_s,
        gain=card_number(cards, "GAIN"),
        offset=card_number(cards, "OFFSET", card_number(cards, "BLKLEVEL")),
        temperature_c=_first_number(cards, _TEMPERATURE_CARDS),
        binning=_binning(cards),
        saturation_adu=card_number(cards, "SATURATE") or min(top, 65535.0),
        egain=card_number(cards, "EGAIN") or None,
        camera=_text(cards, "INSTRUME") or _text(cards, "CAMERA") or _text(cards, "HEAD"),
        frame_type=frame_type_of(cards),
        metadata={
            "source": str(path),
            "format": image.image_format,
            "time_source": time_source,
            "exposure_source": exposure_source,
            "pedestal_adu": image.pedestal_adu,
            "cards": dict(cards),
        },
    )


def frame_type_of(cards: Mapping[str, Card]) -> FrameType:
    """Read what the shutter saw from the many cards and words for it."""
    words = " ".join(_text(cards, key) for key in ("IMAGETYP", "IMGTYPE", "OBSTYPE", "FRAMETYP"))
    squeezed = words.lower().replace(" ", "").replace("-", "")
    return next((kind for word, kind in _FRAME_TYPES if word in squeezed), "light")


def _first_extension(data: bytes) -> DecodedImage:
    from astropy.io import fits

    with fits.open(io.BytesIO(data), memmap=False) as units:
        primary = {k: v for k, v in units[0].header.items() if _is_card(k, v)}
        for unit in units[1:]:
            shape = getattr(unit, "shape", ())
            if not unit.is_image or len(shape) not in (2, 3):
                continue
            if int(np.prod(shape, dtype=np.float64)) > 3 * MAX_PIXELS:
                raise OversizedImage(f"the FITS image says it is {shape}.")
            array: NDArray[Any] = np.asarray(unit.data)
            cards = primary | {k: v for k, v in unit.header.items() if _is_card(k, v)}
            return _from_array(array, cards)
    raise UnsupportedImage("the FITS file holds no image.")


def _from_array(array: NDArray[Any], cards: dict[str, Card]) -> DecodedImage:
    """Read an array as astropy gives it, scaled already."""
    if array.dtype == np.uint16:
        pixels, pedestal = array.astype(np.uint16), 0
    else:
        pixels, pedestal = unsigned(array, 0.0, 1.0, strict=False)  # type: ignore[assignment]
    if pixels.ndim == 3:
        if pixels.shape[0] != 3:
            raise UnsupportedImage(f"the FITS image has {pixels.shape[0]} planes, not 3.")
        pixels = pixels.transpose(1, 2, 0).copy()
    return oriented(DecodedImage(pixels, None, "FITS", cards, {}, pedestal))


def _is_card(key: str, value: object) -> bool:
    return (
        bool(key)
        and key not in ("COMMENT", "HISTORY")
        and isinstance(value, (str, int, float, bool))
    )


def _first_number(cards: Mapping[str, Card], keys: tuple[str, ...]) -> float | None:
    numbers = (card_number(cards, key) for key in keys)
    return next((number for number in numbers if number is not None), None)


def _binning(cards: Mapping[str, Card]) -> int:
    for key in _BINNING_CARDS:
        value = cards.get(key)
        first = str(value).replace("x", " ").split()[:1] if value is not None else []
        if first and first[0].isdecimal() and 1 <= int(first[0]) <= 64:
            return int(first[0])
    return 1


def _text(cards: Mapping[str, Card], key: str) -> str:
    value = cards.get(key, "")
    return value.strip() if isinstance(value, str) else ""
