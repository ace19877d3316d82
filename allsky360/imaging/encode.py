"""The picture as a JPEG that says when and where it was taken."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from allsky360 import __version__
from allsky360.model import Exposure, Site, as_utc

VERSION = 1


def encode_jpeg(
    picture: NDArray[np.uint8],
    *,
    quality: int = 92,
    exposure: Exposure | None = None,
    site: Site | None = None,
) -> bytes:
    """Encode ``(H, W, 3)`` uint8 RGB as JPEG with EXIF.

    EXIF holds the UTC start with its zone, exposure time, camera, and the site's position.
    """
    out = io.BytesIO()
    Image.fromarray(picture).save(
        out, "JPEG", quality=quality, subsampling="4:2:0", exif=_exif(exposure, site)
    )
    return out.getvalue()


def _exif(exposure: Exposure | None, site: Site | None) -> Image.Exif:
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
    if site is not None:
        if site.name:
            tags[base.ImageDescription] = site.name.encode("ascii", "replace").decode()
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
