"""Master bias and dark frames from a folder of FITS files; their headers say what they are."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from allsky360.errors import AllskyError
from allsky360.imaging.calibrate import Master, Masters

SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")


class MasterError(AllskyError):
    """A master file or its folder cannot be used."""


def load_masters(root: Path) -> Masters:
    """Read every master in a folder and its sub-folders.

    Raises
    ------
    MasterError
        The folder is missing, or a FITS file in it is unreadable or does not say what it is.
    """
    if not root.is_dir():
        raise MasterError(
            f"The folder of master frames {root} does not exist.",
            mend="Create it or mend processing.dark_root.",
        )
    return Masters(tuple(read_master(p) for p in _files(root)))


def masters_stamp(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of every master: what changes when one is added or replaced."""
    found = []
    for path in _files(root):
        with contextlib.suppress(FileNotFoundError):  # moved away this moment
            about = path.stat()
            found.append((str(path), about.st_mtime_ns, about.st_size))
    return tuple(found)


def _files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.name.lower().endswith(SUFFIXES))


def read_master(path: Path) -> Master:
    """Read one master; ``IMAGETYP`` (or ``FRAME``) must name bias or dark."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    try:
        with fits.open(path, memmap=False) as hdus:
            hdu = next((h for h in hdus if h.data is not None and h.data.ndim in (2, 3)), None)
            if hdu is None:
                raise MasterError(f"{path} holds no image.", mend="Move it out of the folder.")
            pixels = np.ascontiguousarray(hdu.data, dtype=np.float32)
            header = dict(hdu.header)
    except (OSError, EOFError, zlib.error, ValueError, TypeError, VerifyError) as error:
        raise MasterError(
            f"{path} cannot be read as FITS: {error}.", mend="Move it out of the folder."
        ) from error
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    return Master(
        pixels,
        _kind(path, header),
        path.name,
        exposure_s=_number(header, "EXPTIME", "EXPOSURE") or 0.0,
        gain=_number(header, "GAIN"),
        offset=_number(header, "OFFSET", "BLKLEVEL"),
        temperature_c=_number(header, "CCD-TEMP", "CCDTEMP"),
        binning=int(_number(header, "XBINNING", "BINNING") or 1),
    )


def _kind(path: Path, header: dict[str, Any]) -> Literal["bias", "dark"]:
    said = str(header.get("IMAGETYP", header.get("FRAME", ""))).lower()
    if "bias" in said or "zero" in said:
        return "bias"
    if "dark" in said:
        return "dark"
    raise MasterError(
        f"{path} does not say whether it is a bias or a dark (IMAGETYP is {said!r}).",
        mend="Write IMAGETYP = 'dark' or 'bias' into its header, or move it out of the folder.",
    )


def _number(header: dict[str, Any], *keys: str) -> float | None:
    """First card that holds a number, as a number or as text."""
    for key in keys:
        try:
            return float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
    return None
