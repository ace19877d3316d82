"""The picture as a JPEG, PNG, WebP or AVIF that says when, where and under what sky it was taken.

All on the CPU. Measured at 3856x2180 on 2 cores: JPEG 51 ms through Pillow (libjpeg-turbo; OpenCV
57 ms, the same bytes), WebP 0.7 s, AVIF 1.3 to 1.6 s, PNG 2.2 s: JPEG is what keeps up with a
camera. Of the libraries kept for the GPU none encodes JPEG (CuPy has no codec, cuCIM only decodes;
nvImageCodec would, and is not among them), so a picture made there is downloaded as 8 bit first.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from allsky360 import __version__
from allsky360.errors import AllskyError
from allsky360.model import Exposure, Site, as_utc

VERSION = 2

PictureFormat = Literal["jpeg", "png", "webp", "avif"]

SUFFIXES: dict[str, str] = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif"}

_LARGEST = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536, "png": 2**31 - 1}

_COMMENT_CODE = b"ASCII\0\0\0"
"""How an EXIF UserComment names its character code (EXIF 2.32, table 9)."""


class EncodeError(AllskyError):
    """The picture cannot be written in this format."""


@dataclass(frozen=True)
class Encoded:
    """A picture as bytes, and what they are called."""

    data: bytes
    suffix: str
    media_type: str


def encode(
    picture: NDArray[np.uint8],
    *,
    format: PictureFormat = "jpeg",
    quality: int = 92,
    exposure: Exposure | None = None,
    site: Site | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Encoded:
    """Encode ``(H, W, 3)`` uint8 sRGB with EXIF.

    Parameters
    ----------
    picture
        Full-range sRGB.
    format
        "png" is lossless; "webp" and "avif" are smaller and 15 to 30 times slower than "jpeg".
    quality
        0 to 100; not used by PNG.
    exposure
        Gives start (UTC, with its zone), exposure time and camera.
    site
        Gives name and position.
    facts
        More plain numbers and words, as JSON in UserComment. ``sun_altitude_deg``,
        ``moon_altitude_deg`` and ``moon_illumination`` (0 to 1) are also said in words in
        ImageDescription.

    Raises
    ------
    EncodeError
        The picture is too large for the format, or this Pillow cannot write it.
    """
    if format not in SUFFIXES:
        raise EncodeError(f"{format!r} is no picture format.", mend="Use jpeg, png, webp or avif.")
    h, w = picture.shape[:2]
    if max(h, w) > _LARGEST[format]:
        raise EncodeError(
            f"A picture of {w}x{h} is too large for {format}, which ends at {_LARGEST[format]}.",
            mend="Choose png, or crop it.",
        )
    tags = _exif(exposure, site, facts or {})
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": quality, "subsampling": "4:2:0"},
        "png": {"compress_level": 1},
        "webp": {"quality": quality, "method": 2},
        "avif": {"quality": quality, "speed": 9, "subsampling": "4:2:0"},
    }
    out = io.BytesIO()
    try:
        Image.fromarray(picture).save(out, format.upper(), exif=tags, **options[format])
    except (OSError, KeyError, ValueError) as error:
        raise EncodeError(
            f"This Pillow cannot write {format}: {error}.",
            mend="Choose jpeg, or renew Pillow (avif needs 11.3).",
        ) from error
    return Encoded(out.getvalue(), SUFFIXES[format], f"image/{format}")


def check_format(format: PictureFormat) -> None:
    """Refuse, before any work is done, a format that :func:`encode` could not write here.

    Raises
    ------
    EncodeError
        It is no such format, or this Pillow was built without it.
    """
    encode(np.zeros((8, 8, 3), np.uint8), format=format)


def encode_jpeg(
    picture: NDArray[np.uint8],
    *,
    quality: int = 92,
    exposure: Exposure | None = None,
    site: Site | None = None,
    facts: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode as JPEG; see :func:`encode`."""
    return encode(picture, quality=quality, exposure=exposure, site=site, facts=facts).data


def read_facts(data: bytes) -> dict[str, Any]:
    """Return the ``facts`` an encoded picture carries; empty where there are none."""
    with Image.open(io.BytesIO(data)) as picture:
        comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_COMMENT_CODE):
        return {}
    facts: dict[str, Any] = json.loads(comment[len(_COMMENT_CODE) :])
    return facts


def _exif(exposure: Exposure | None, site: Site | None, facts: Mapping[str, Any]) -> Image.Exif:
    base, tags = ExifTags.Base, Image.Exif()
    tags[base.Software] = f"allsky360 {__version__}"
    if exposure is not None:
        start = as_utc(exposure.start)
        stamp = start.strftime("%Y:%m:%d %H:%M:%S")
        tags[base.DateTime] = stamp
        if exposure.camera:
            tags[base.Model] = exposure.camera
        detail = tags.get_ifd(ExifTags.IFD.Exif)
        detail[base.DateTimeOriginal] = stamp
        detail[base.SubsecTimeOriginal] = f"{start.microsecond // 1000:03d}"
        detail[base.OffsetTimeOriginal] = "+00:00"
        if exposure.exposure_s > 0:
            detail[base.ExposureTime] = IFDRational(round(exposure.exposure_s * 1e6), 1_000_000)
    words = _in_words(site, facts)
    if words:
        tags[base.ImageDescription] = words.encode("ascii", "replace").decode()
    plain = {k: v for k, v in facts.items() if not isinstance(v, float) or math.isfinite(v)}
    if plain:
        comment = json.dumps(plain, ensure_ascii=True, allow_nan=False, default=str)
        tags.get_ifd(ExifTags.IFD.Exif)[base.UserComment] = _COMMENT_CODE + comment.encode("ascii")
    if site is not None:
        gps = tags.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef] = "N" if site.latitude_deg >= 0 else "S"
        gps[ExifTags.GPS.GPSLatitude] = _sexagesimal(site.latitude_deg)
        gps[ExifTags.GPS.GPSLongitudeRef] = "E" if site.longitude_deg >= 0 else "W"
        gps[ExifTags.GPS.GPSLongitude] = _sexagesimal(site.longitude_deg)
        gps[ExifTags.GPS.GPSAltitudeRef] = b"\x00" if site.elevation_m >= 0 else b"\x01"
        gps[ExifTags.GPS.GPSAltitude] = IFDRational(round(abs(site.elevation_m) * 10), 10)
    return tags


def _sexagesimal(angle_deg: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    hundredths = round(abs(angle_deg) * 360_000)
    degrees, rest = divmod(hundredths, 360_000)
    minutes, seconds = divmod(rest, 6_000)
    return IFDRational(degrees), IFDRational(minutes), IFDRational(seconds, 100)


def _in_words(site: Site | None, facts: Mapping[str, Any]) -> str:
    """Site, Sun and Moon as a person reads them."""
    words = [site.name] if site is not None and site.name else []
    sun, moon = _finite(facts, "sun_altitude_deg"), _finite(facts, "moon_altitude_deg")
    lit = _finite(facts, "moon_illumination")
    if sun is not None:
        words.append(f"Sun {sun:+.1f} deg")
    if moon is not None:
        words.append(f"Moon {moon:+.1f} deg" + (f", {lit:.0%} lit" if lit is not None else ""))
    return "; ".join(words)


def _finite(facts: Mapping[str, Any], key: str) -> float | None:
    value = facts.get(key)
    return value if isinstance(value, int | float) and math.isfinite(value) else None
