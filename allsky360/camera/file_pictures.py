"""PNG, TIFF and JPEG pictures as exposures, with what EXIF tells."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.decode import MAX_PIXELS
from allsky360.camera.errors import OversizedImage, TruncatedImage, UnsupportedImage
from allsky360.camera.file_times import parse_time
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import Exposure

_EXIF_IFD = 0x8769
_STRIP_TAGS = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(data: bytes, path: Path) -> Exposure:
    """Read a PNG, TIFF or JPEG: 8 or 16 bit, grey or RGB."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(data))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            # Pillow's limit is below that of large cameras; ours is checked next
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            raise OversizedImage("the picture says it is larger than any camera's.") from None
    with picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise OversizedImage(f"the picture says it is {picture.width}x{picture.height}.")
        kind = picture.format or ""
        exif = _exif(picture)
        if kind == "PNG":
            _check_png(data)
        elif kind == "TIFF":
            _check_tiff(picture, len(data))
        pixels = _pixels(picture, data)
    return _exposure(pixels, exif, kind, path)


def read_exif(data: bytes) -> dict[str, str | float]:
    """Read time, exposure, ISO and model from any file Pillow finds EXIF in, else nothing."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return _exif(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {}


def start_from_exif(exif: dict[str, str | float]) -> tuple[datetime, str] | None:
    """Find the time in EXIF; it bears a zone only where the camera wrote one."""
    for key, zone in (
        ("DateTimeOriginal", "OffsetTimeOriginal"),
        ("DateTimeDigitized", "OffsetTimeDigitized"),
        ("DateTime", "OffsetTime"),
    ):
        text, offset = str(exif.get(key, "")), str(exif.get(zone, "")).strip()
        fraction = str(exif.get("SubSec", "")) if key == "DateTimeOriginal" else ""
        if fraction.isdecimal() and "." not in text:
            text = f"{text}.{fraction}"
        if offset and (found := parse_time(f"{text} {offset}")) is not None:
            return found, f"EXIF {key}"
        if (found := parse_time(text)) is not None:
            return found, f"EXIF {key}, zone unknown, read as UTC"
    return None


def _exposure(
    pixels: NDArray[Any], exif: dict[str, str | float], kind: str, path: Path
) -> Exposure:
    exposure_s, exposure_source = exposure_or_one(_number(exif, "ExposureTime"), "EXIF")
    start, time_source = start_or_mtime(start_from_exif(exif), path)
    return Exposure(
        pixels=pixels,
        pattern=None,
        start=start,
        exposure_s=exposure_s,
        gain=_number(exif, "ISO"),
        saturation_adu=255.0 if pixels.dtype == np.uint8 else 65535.0,
        camera=str(exif.get("Model", "")),
        metadata={
            "source": str(path),
            "format": kind,
            "time_source": time_source,
            "exposure_source": exposure_source,
            "linear": kind != "JPEG",
            "exif": dict(exif),
        },
    )


def _exif(picture: Any) -> dict[str, str | float]:
    tags = picture.getexif()
    inner = tags.get_ifd(_EXIF_IFD)
    found: dict[str, str | float] = {}
    for name, value in (
        ("DateTimeOriginal", inner.get(36867)),
        ("DateTimeDigitized", inner.get(36868)),
        ("DateTime", tags.get(306)),
        ("OffsetTimeOriginal", inner.get(36881)),
        ("OffsetTimeDigitized", inner.get(36882)),
        ("OffsetTime", inner.get(36880)),
        ("SubSec", inner.get(37521)),
        ("Make", tags.get(271)),
        ("Model", tags.get(272)),
        ("ExposureTime", inner.get(33434, tags.get(33434))),
        ("ISO", inner.get(34855, tags.get(34855))),
    ):
        if isinstance(value, tuple) and value:
            value = value[0]
        if isinstance(value, str):
            found[name] = value.strip(" \0")
        elif value is not None and not isinstance(value, bytes):
            number = _float(value)
            if number is not None:
                found[name] = number
    return found


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _number(exif: dict[str, str | float], key: str) -> float | None:
    value = exif.get(key)
    return value if isinstance(value, float) else None


def _pixels(picture: Any, data: bytes) -> NDArray[Any]:
    mode = picture.mode
    if picture.format == "PNG" and data[24] == 16 and data[25] in (2, 6):
        return _by_opencv(data)  # Pillow would quietly give 8 of the 16 bits
    if mode in ("L", "RGB"):
        return np.array(picture, dtype=np.uint8)
    if mode in ("RGBA", "RGBX", "LA", "P", "YCbCr", "CMYK", "La", "PA", "RGBa"):
        return np.array(picture.convert("L" if mode in ("LA", "La") else "RGB"), dtype=np.uint8)
    if mode.startswith("I;16"):
        return np.array(picture).astype(np.uint16)
    if mode in ("I", "F"):
        values = np.array(picture).astype(np.float64)
        if not np.all((values >= 0) & (values <= 65535) & (values == np.floor(values))):
            raise UnsupportedImage("the picture holds numbers that are no raw ADU (0 to 65535).")
        return values.astype(np.uint16)
    raise UnsupportedImage(f"the picture is of kind {mode!r}, which we do not read.")


def _by_opencv(data: bytes) -> NDArray[Any]:
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype not in (np.uint8, np.uint16) or found.ndim not in (2, 3):
        raise UnsupportedImage("the picture cannot be decoded.")
    array: NDArray[Any] = found
    if array.ndim == 2:
        return array
    if array.shape[2] not in (3, 4):
        raise UnsupportedImage(f"the picture has {array.shape[2]} channels.")
    return np.ascontiguousarray(array[..., 2::-1])  # BGR or BGRA to RGB


def read_deep_tiff(data: bytes, path: Path) -> Exposure:
    """Read a TIFF that Pillow does not know: 16 bits a channel in colour."""
    return _exposure(_by_opencv(data), {}, "TIFF", path)


def _check_png(data: bytes) -> None:
    """Walk the chunks: every one whole and unharmed, IEND at the end."""
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        (crc,) = struct.unpack(">I", data[end - 4 : end])
        if zlib.crc32(data[at + 4 : end - 4]) != crc:
            raise TruncatedImage("the PNG is damaged: a checksum is wrong.")
        if kind == b"IEND":
            return
        at = end
    raise TruncatedImage("the PNG ends before its end mark.")


def _check_tiff(picture: Any, length: int) -> None:
    for offsets_tag, counts_tag in _STRIP_TAGS:
        offsets, counts = picture.tag_v2.get(offsets_tag), picture.tag_v2.get(counts_tag)
        if offsets is None or counts is None:
            continue
        starts = offsets if isinstance(offsets, tuple) else (offsets,)
        sizes = counts if isinstance(counts, tuple) else (counts,)
        if any(start + size > length for start, size in zip(starts, sizes, strict=False)):
            raise TruncatedImage(f"the TIFF needs more than its {length} bytes.")
