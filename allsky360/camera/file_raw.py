"""DNG and camera raw files as exposures: the untouched mosaic, by LibRaw."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.camera.errors import UnsupportedImage
from allsky360.camera.file_pictures import exif_from_tags, start_from_exif
from allsky360.camera.file_tiff import read_tags
from allsky360.camera.file_times import from_unix
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import BAYER_PATTERNS, BayerPattern, Exposure


def read_camera_raw(data: bytes, path: Path) -> Exposure:
    """Read the visible part of the sensor, without any processing.

    ``saturation_adu`` is the white level; black levels stand in ``metadata["black_level_adu"]``,
    one each for the pattern's colours in LibRaw's order.
    """
    import rawpy

    exif = exif_from_tags(read_tags(data))
    with rawpy.imread(io.BytesIO(data)) as raw:
        visible = np.asarray(raw.raw_image_visible)
        if visible.ndim == 3:
            if visible.shape[2] < 3:
                raise UnsupportedImage(f"{visible.shape[2]} channels in a raw file.")
            visible = visible[..., :3]
        pixels = visible.astype(np.uint16)
        pattern = _pattern(raw) if pixels.ndim == 2 else None
        black = [float(v) for v in (raw.black_level_per_channel or [])]
        white = float(raw.white_level or 65535)
        other = getattr(raw, "other", None)
        seconds = exif.get("ExposureTime", getattr(other, "shutter", None) or None)
        gain = exif.get("ISO", getattr(other, "iso_speed", None) or None)
        stamp = getattr(other, "timestamp", None)
    exposure_s, exposure_source = exposure_or_one(_float(seconds), "EXIF")
    start, time_source = start_or_mtime(start_from_exif(exif) or _stamp(stamp), path)
    return Exposure(
        pixels=pixels,
        pattern=pattern,
        start=start,
        exposure_s=exposure_s,
        gain=_float(gain),
        saturation_adu=white,
        camera=str(exif.get("Model", "")),
        metadata={
            "source": str(path),
            "format": "camera raw",
            "time_source": time_source,
            "exposure_source": exposure_source,
            "black_level_adu": black,
            "exif": dict(exif),
        },
    )


def _pattern(raw: Any) -> BayerPattern | None:
    if raw.num_colors == 1:
        return None
    cell = raw.raw_pattern
    if cell is None or cell.shape != (2, 2):
        raise UnsupportedImage("its colour filter is no Bayer pattern.")
    names = raw.color_desc.decode("ascii", "replace")
    # of the visible area, which may begin on an odd row or column of the sensor
    letters = "".join(names[int(c)] for c in raw.raw_colors_visible[:2, :2].ravel())
    for pattern in BAYER_PATTERNS:
        if pattern == letters:
            return pattern
    raise UnsupportedImage(f"its colour filter is {letters}, no Bayer pattern.")


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _stamp(stamp: object) -> tuple[datetime, str] | None:
    if isinstance(stamp, datetime):
        stamp = stamp.timestamp()
    found = from_unix(float(stamp)) if isinstance(stamp, (int, float)) else None
    return (found, "EXIF time, zone unknown, read as UTC") if found else None
