"""Master bias, dark and flat frames from a folder of FITS files; headers say what they are."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.imaging.master import Master, MasterKind, Masters

SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")

FOLDER = "masters"
"""Of the archive, where the masters lie that the camera's own frames were made into."""

UNSTABLE = "UNSTABLE"
"""Name of the table of pixels that are not the same from one exposure to the next."""


class MasterError(AllskyError):
    """A master file or its folder cannot be used."""


def master_folder(settings: Settings) -> Path:
    """Return where masters are kept: ``processing.dark_root``, else ``masters`` in the archive."""
    return settings.processing.dark_root or settings.storage.root / FOLDER


def masters_in_use(settings: Settings, root: Path) -> Path | None:
    """Return the folder whose masters are applied to frames of the archive at ``root``.

    ``processing.dark_root``, there or not; else ``masters`` in the archive once it is there.
    """
    if settings.processing.dark_root is not None:
        return settings.processing.dark_root
    kept = root / FOLDER
    return kept if kept.is_dir() else None


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
            mend="Make masters with 'allsky360 darks take 1 5 10', or mend processing.dark_root.",
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


@dataclass(frozen=True)
class _Stored:
    """Pixels that lie in a file and are read when asked for."""

    path: Path
    shape: tuple[int, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels = _read(self.path)[0]
        if pixels.shape != self.shape:
            raise MasterError(f"{self.path} was replaced by an image of another size.")
        return pixels if dtype is None else pixels.astype(dtype, copy=False)


def read_master(path: Path) -> Master:
    """Read what a master is; ``IMAGETYP`` (or ``FRAME``) must name bias, dark or flat.

    The pixels are read once, to know that they are whole, and again when they are used: a library
    of masters need not fit into memory.
    """
    pixels, header, unstable = _read(path)
    return Master(
        _Stored(path, pixels.shape),
        _kind(path, header),
        path.name,
        exposure_s=_number(header, "EXPTIME", "EXPOSURE") or 0.0,
        gain=_number(header, "GAIN"),
        offset=_number(header, "OFFSET", "BLKLEVEL"),
        temperature_c=_number(header, "CCD-TEMP", "CCDTEMP"),
        binning=int(_number(header, "XBINNING", "BINNING") or 1),
        camera=str(header.get("INSTRUME", "")).strip(),
        frames=int(_number(header, "NCOMBINE", "NFRAMES", "STACKCNT") or 0),
        noise_adu=_number(header, "FRNOISE"),
        date=str(header.get("DATE-OBS", "")).strip(),
        unstable=unstable,
        egain=_number(header, "EGAIN") or None,
    )


def _read(path: Path) -> tuple[NDArray[np.float32], dict[str, Any], NDArray[np.int64] | None]:
    """Read pixels (top row first), cards, and the list of unstable pixels, if there is one."""
    from astropy.io import fits

    unstable = None
    try:
        with fits.open(path, memmap=False) as hdus:
            hdu = next((h for h in hdus if h.is_image and h.data is not None), None)
            if hdu is None or hdu.data.ndim not in (2, 3):
                raise MasterError(f"{path} holds no image.", mend="Move it out of the folder.")
            pixels = np.ascontiguousarray(hdu.data, dtype=np.float32)
            header = dict(hdu.header)
            if UNSTABLE in hdus:
                table = hdus[UNSTABLE].data
                unstable = (
                    table["ROW"].astype(np.int64) * pixels.shape[-1] + table["COLUMN"]
                ).astype(np.int64)
    except MasterError:
        raise
    except Exception as error:  # astropy and its decompressors raise anything on damaged files
        raise MasterError(
            f"{path} cannot be read as FITS: {error}.", mend="Move it out of the folder."
        ) from error
    if not np.isfinite(pixels[..., ::5, ::5]).all():
        raise MasterError(f"{path} holds values that are not numbers.", mend="Make it anew.")
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    if "bottom" in str(header.get("ROWORDER", "")).lower():
        pixels = np.ascontiguousarray(pixels[::-1])
    return pixels, header, unstable


def _kind(path: Path, header: dict[str, Any]) -> MasterKind:
    said = str(header.get("IMAGETYP", header.get("FRAME", ""))).lower()
    if "bias" in said or "zero" in said:
        return "bias"
    if "dark" in said:
        return "dark"
    if "flat" in said:
        return "flat"
    raise MasterError(
        f"{path} does not say whether it is a bias, a dark or a flat (IMAGETYP is {said!r}).",
        mend="Write IMAGETYP = 'dark', 'bias' or 'flat' into its header, or move it out.",
    )


def _number(header: dict[str, Any], *keys: str) -> float | None:
    """First card that holds a number, as a number or as text."""
    for key in keys:
        try:
            return float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
    return None
