"""Raw images read back from the archive as the camera delivered them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from allsky360.archive import group
from allsky360.archive.errors import ArchiveError, RawRemoved
from allsky360.archive.raw import crc32, instant
from allsky360.archive.removed import removed
from allsky360.archive.table import Table
from allsky360.model import Exposure


def exposures(table: Table, row: int, first: int = 0) -> Iterator[Exposure]:
    """Yield the exposures of one row of a raw store, from number ``first`` on.

    Raises
    ------
    RawRemoved
        Retention took them.
    ArchiveError
        One is damaged.
    """
    a, c = table.root.attributes, table.columns
    try:
        pixels = group.open_image_array(table.path, "raw", read_only=True)
        binning = group.whole(a["binning"], "binning")
    except (OSError, ValueError) as error:
        raise ArchiveError(
            f"{table.path}: raw cannot be read: {error}.", mend="Run 'allsky360 verify'."
        ) from error

    def number(name: str) -> float | None:
        value = float(c[name][row])
        return value if np.isfinite(value) else None

    for k, exposure_s in enumerate(c["exposure_s"][row]):
        if k < first:
            continue
        if not np.isfinite(exposure_s):
            return
        yield Exposure(
            pixels=np.asarray(_image(pixels, table, row, k)),
            pattern=a["pattern"] or None,
            start=instant(c["exposure_start"][row][k]),
            exposure_s=float(exposure_s),
            gain=number("gain"),
            offset=number("offset"),
            temperature_c=number("temperature_c"),
            binning=binning,
            saturation_adu=number("saturation_adu") or 65535.0,
            egain=number("egain"),
            camera=str(a["camera"]),
        )


def _image(pixels: Any, table: Table, row: int, k: int) -> Any:
    """Read one image; the committed view's length rules, not the array's own capacity."""
    if row >= pixels.shape[0]:  # sealed by an older commit while this view is newer
        raise ArchiveError(f"{table.path}: raw is shorter than its committed length.")
    file = group.image_path(table.path, "raw", row, k, bands=pixels.ndim == 5)
    try:
        image = pixels[row, k]
        # Zarr reads a file that is gone as zeros; an image of zeros has no file either
        if not file.is_file() and crc32(np.asarray(image)) != int(table.columns["crc32"][row, k]):
            raise FileNotFoundError(f"{file} is missing")
        return image
    except (ValueError, RuntimeError, OSError) as error:
        when = removed(table.path.parent).get("raw")
        if when is not None and not file.is_file():
            raise RawRemoved(
                f"the raw images of {table.path.parent} were removed on {when:%Y-%m-%d}.",
                mend="Keep more with retention.raw_days, or mark nights as favourites.",
            ) from error
        raise ArchiveError(
            f"{table.path}: image {row}, exposure {k} is damaged: {error}.",
            mend="Run 'allsky360 verify'.",
        ) from error
