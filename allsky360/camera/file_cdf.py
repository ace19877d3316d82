"""CDF files of image sequences (THEMIS all-sky imagers) as exposures, one a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.errors import UnsupportedImage
from allsky360.camera.file_times import from_unix
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import Exposure

_AT_ONCE = 64  # records read together: few reads, little memory
_CDF3, _PLAIN = 0xCDF30001, 0x0000FFFF
_MOST_DIMENSIONS = 32
_IMAGE_TYPES = {"CDF_UINT1": np.uint8, "CDF_UINT2": np.uint16}


def read_cdf(path: Path, named: Path) -> Iterator[Exposure]:
    """Read every image of the first image variable.

    Times come from ``<variable>_time`` (Unix seconds). The file does not say how long the shutter
    was open, unless ``<variable>_tend`` differs from it.

    Parameters
    ----------
    path
        File to read.
    named
        File to name, where ``path`` is a decompressed copy.
    """
    import cdflib

    check_chains(path)
    cdf = cdflib.CDF(str(path))
    variables = list(cdf.cdf_info().zVariables)
    name, records, dtype = _image_variable(cdf, variables)
    times = _numbers(cdf, f"{name}_time", variables)
    ends = _numbers(cdf, f"{name}_tend", variables)
    for first in range(0, records, _AT_ONCE):
        last = min(first + _AT_ONCE, records) - 1
        block: NDArray[Any] = np.asarray(cdf.varget(name, startrec=first, endrec=last))
        block = block.reshape(-1, *block.shape[-2:])
        for index, pixels in enumerate(block, first):
            at = from_unix(times[index]) if index < len(times) else None
            start, source = start_or_mtime((at, f"{name}_time") if at else None, named)
            length = ends[index] - times[index] if at and index < len(ends) else 0.0
            exposure_s, exposure_source = exposure_or_one(length if length > 0 else None)
            yield Exposure(
                pixels=pixels.astype(dtype),
                pattern=None,
                start=start,
                exposure_s=exposure_s,
                saturation_adu=float(np.iinfo(dtype).max),
                camera=name,
                metadata={
                    "source": str(named),
                    "format": "CDF",
                    "record": index,
                    "time_source": source,
                    "exposure_source": exposure_source,
                },
            )


def _image_variable(cdf: Any, variables: list[str]) -> tuple[str, int, Any]:
    for name in variables:
        about = cdf.varinq(name)
        sizes = [size for size in about.Dim_Sizes if size > 1]
        dtype = _IMAGE_TYPES.get(about.Data_Type_Description)
        if len(sizes) == 2 and dtype is not None and about.Last_Rec >= 0:
            return name, about.Last_Rec + 1, dtype
    raise UnsupportedImage(f"no images among its variables ({', '.join(variables)}).")


def _numbers(cdf: Any, name: str, variables: list[str]) -> list[float]:
    if name not in variables:
        return []
    return [float(v) for v in np.atleast_1d(np.asarray(cdf.varget(name), dtype=np.float64))]


def check_chains(path: Path) -> None:
    """Refuse a CDF 3 file whose records lead in a circle, or count what cannot be.

    cdflib follows every chain of records to its end, and a damaged one has none. Offsets are those
    of the CDF Internal Format Description 3.9; older files, and compressed ones, are not checked.

    Raises
    ------
    UnsupportedImage
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)

        def number(at: int, width: int) -> int:
            if not 0 <= at <= size - width:
                raise UnsupportedImage("a record of the CDF file lies outside of it.")
            file.seek(at)
            return int.from_bytes(file.read(width), "big", signed=True)

        if number(0, 4) & 0xFFFFFFFF != _CDF3 or number(4, 4) & 0xFFFFFFFF != _PLAIN:
            return
        general = number(8 + 12, 8)
        if not 0 <= number(general + 56, 4) <= _MOST_DIMENSIONS:
            raise UnsupportedImage("the CDF file has more dimensions than can be.")
        seen: set[int] = set()
        for head in (number(general + 12, 8), number(general + 20, 8)):
            for variable in _chain(head, 12, number, seen):
                if not 0 <= number(variable + 340, 4) <= _MOST_DIMENSIONS:
                    raise UnsupportedImage("a variable of the CDF file has too many dimensions.")
                for _ in _chain(number(variable + 28, 8), 12, number, seen):
                    pass
        for attribute in _chain(number(general + 28, 8), 12, number, seen):
            for first in (20, 48):
                for _ in _chain(number(attribute + first, 8), 12, number, seen):
                    pass


def _chain(
    at: int, following: int, number: Callable[[int, int], int], seen: set[int]
) -> Iterator[int]:
    while at not in (0, -1):
        if at in seen:
            raise UnsupportedImage("the records of the CDF file lead in a circle.")
        seen.add(at)
        yield at
        at = number(at + following, 8)
