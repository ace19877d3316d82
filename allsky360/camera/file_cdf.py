"""CDF files of image sequences (THEMIS all-sky imagers) as exposures, one a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.camera.errors import UnsupportedImage
from allsky360.camera.file_times import from_unix
from allsky360.camera.file_unknown import exposure_or_one, start_or_mtime
from allsky360.model import Exposure

_AT_ONCE = 64  # records read together: few reads, little memory
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
