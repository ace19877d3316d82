"""PNG, TIFF and JPEG pictures as exposures, with what EXIF tells."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.decode import MAX_PIXELS
from allsky360.camera.errors import OversizedImage, TruncatedImage, UnsupportedImage
from allsky360.camera.file_tiff import BITS, EXIF_IFD, check_whole, read_tags
from allsky360.camera.file_times import parse_time
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import Exposure

_EXIF_TAGS = {
    36867: "DateTimeOriginal",
    36868: "DateTimeDigitized",
    306: "DateTime",
    36881: "OffsetTimeOriginal",
    36882: "OffsetTimeDigitized",
    36880: "OffsetTime",
    37521: "SubSec",
    271: "Make",
    272: "Model",
    33434: "ExposureTime",
    34855: "ISO",
}
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(data: bytes, path: Path) -> Exposure:
    """Read a PNG, TIFF or JPEG: 8 or 16 bit, grey or RGB."""
    tags = read_tags(data)
    check_whole(tags, len(data))
    if data.startswith(_PNG):
        _check_png(data)
    if len(tags.get(BITS, ())) > 1 and tags[BITS][0] == 16:
        return _exposure(_by_opencv(data), exif_from_tags(tags), "TIFF", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage, which decoding turns into errors
        with _opened(data) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise OversizedImage(f"it says it is {picture.width}x{picture.height} pixels.")
            return _exposure(_pixels(picture, data), _exif(picture), picture.format, path)


def _opened(data: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise UnsupportedImage("the picture is damaged or of an unknown kind.") from error
    except Image.DecompressionBombError as error:
        raise OversizedImage("the picture says it is larger than any camera's.") from error


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
    return exif_from_tags(dict(tags) | dict(tags.get_ifd(EXIF_IFD)))


def exif_from_tags(tags: Mapping[int, Any]) -> dict[str, str | float]:
    """Pick what an exposure needs from TIFF or EXIF tags."""
    found: dict[str, str | float] = {}
    for tag, name in _EXIF_TAGS.items():
        value = tags.get(tag)
        if isinstance(value, tuple):
            value = value[0] if value else None
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
