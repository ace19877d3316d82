"""Masters, and the calibration frames they are made of, as FITS files."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360 import __version__
from allsky360.imaging.stack import Stack
from allsky360.masters import UNSTABLE
from allsky360.model import Exposure, as_utc

_WORDS = {"light": "LIGHT", "bias": "BIAS", "dark": "DARK", "flat": "FLAT"}


@dataclass(frozen=True)
class MasterFacts:
    """What a master's header says besides what its frames have in common.

    Attributes
    ----------
    temperature_c
        Mean over the frames, None when unknown.
    sources
        Names of the files.
    hot
        Pixels that stand out.
    """

    temperature_c: float | None
    sources: tuple[str, ...]
    hot: int


def write_frame(path: Path, exposure: Exposure) -> None:
    """Write one calibration frame; all of it or nothing."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(_planes(exposure.pixels), _header(exposure))
    _write(path, fits.HDUList([hdu]))


def write_master(path: Path, result: Stack, like: Exposure, facts: MasterFacts) -> None:
    """Write a master; all of it or nothing.

    Parameters
    ----------
    path
        File to write or replace.
    result
        The averaged frames.
    like
        The first of them.
    facts
        What else is known.
    """
    from astropy.io import fits

    header = _header(like)
    header["IMAGETYP"] = (f"MASTER {_WORDS[like.frame_type]}", "what it is")
    if facts.temperature_c is not None:
        header["CCD-TEMP"] = (round(facts.temperature_c, 2), "[degC] mean sensor temperature")
    header["NCOMBINE"] = (len(result.used), "frames averaged")
    header["NREJECT"] = (len(result.odd), "frames left out for their level")
    header["CLIPPED"] = (round(result.clipped, 8), "share of values left out")
    header["FRNOISE"] = (round(result.noise, 4), "[adu] noise of a pixel in one frame")
    header["NHOT"] = (facts.hot, "pixels that stand out")
    header["NUNSTAB"] = (int(result.unstable.size), "pixels that jump")
    header["BUNIT"] = ("1" if like.frame_type == "flat" else "adu", "unit of the pixels")
    for name in facts.sources[:200]:
        header["HISTORY"] = "".join(c if " " <= c <= "~" else "?" for c in name)[-70:]
    units: list[Any] = [fits.PrimaryHDU(_planes(result.mean), header)]
    if result.unstable.size and result.mean.ndim == 2:
        row, column = np.divmod(result.unstable, result.mean.shape[1])
        columns = [
            fits.Column("ROW", "J", array=row.astype(np.int32)),
            fits.Column("COLUMN", "J", array=column.astype(np.int32)),
        ]
        units.append(fits.BinTableHDU.from_columns(columns, name=UNSTABLE))
    _write(path, fits.HDUList(units))


def _planes(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) if pixels.ndim == 3 else pixels


def _header(exposure: Exposure) -> Any:
    from astropy.io import fits

    header = fits.Header()
    start = as_utc(exposure.start).isoformat(timespec="milliseconds").removesuffix("+00:00")
    camera = "".join(c if " " <= c <= "~" else "?" for c in exposure.camera)[:66]
    for keyword, value, comment in (
        ("IMAGETYP", _WORDS[exposure.frame_type], "what the shutter saw"),
        ("DATE-OBS", start, "UTC start (of the first frame)"),
        ("EXPTIME", float(exposure.exposure_s), "[s] exposure time"),
        ("INSTRUME", camera or None, "camera"),
        ("GAIN", exposure.gain, "gain in the camera's units"),
        ("OFFSET", exposure.offset, "black level in the camera's units"),
        ("EGAIN", exposure.egain, "[e-/ADU] conversion gain"),
        ("CCD-TEMP", exposure.temperature_c, "[degC] sensor temperature"),
        ("XBINNING", exposure.binning, "pixels combined along x"),
        ("YBINNING", exposure.binning, "pixels combined along y"),
        ("SATURATE", float(exposure.saturation_adu), "[adu] level of a saturated pixel"),
        ("BAYERPAT", exposure.pattern, "pattern of the top-left 2x2 cell"),
        ("ROWORDER", "TOP-DOWN", "the first row in the file is the top row"),
        ("SWCREATE", f"allsky360 {__version__}", "program that wrote this file"),
    ):
        if value is not None:
            header[keyword] = (value, comment)
    return header


def _write(path: Path, units: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    memory = io.BytesIO()
    units.writeto(memory)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(memory.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
