"""Rows: what one frame measured along an axis beside time, such as its stars or its sky cells.

What can be stored as one; :mod:`allsky360.archive.row_store` stores it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group
from allsky360.archive.errors import ArchiveError
from allsky360.archive.raw import SCALAR_NAME

#: Zarr type of a row, and what marks an element of it as not measured
FILLS: dict[str, float | int] = {"float32": np.nan, "int8": -128, "uint16": 65535}
NUMBERED = re.compile(r".*_\d+")
DIGEST = "sha256"
_OURS = {"_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates", DIGEST}


@dataclass(frozen=True, eq=False)
class Axis:
    """A dimension beside time. Make it once and use it for every frame: its digest is kept.

    Attributes
    ----------
    name
        ``star``, ``cell``.
    coordinates
        Numbers along it, each ``(N,)``, and their attributes (``units``, ``long_name``). The one
        named like the axis has to be there, its values differ: it is what ``sel`` looks for.

    Raises
    ------
    ArchiveError
        When the coordinates do not make an axis.
    """

    name: str
    coordinates: Mapping[str, tuple[NDArray[Any], Mapping[str, str]]]

    def __post_init__(self) -> None:
        if self.name not in self.coordinates:
            raise ArchiveError(f"axis {self.name!r} lacks the coordinate {self.name!r}.")
        for name, (values, attributes) in self.coordinates.items():
            _check_name(name)
            _check_attributes(name, attributes)
            if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
                raise ArchiveError(f"coordinate {name!r} is {values.dtype}, not numbers.")
            if values.shape != (self.size,) or not self.size:
                raise ArchiveError(
                    f"coordinate {name!r} has shape {values.shape}, axis {self.name!r} "
                    f"has {self.size} elements.",
                    mend="Give every coordinate one value per element, at least one.",
                )
        if len(np.unique(self.coordinates[self.name][0])) != self.size:
            raise ArchiveError(f"axis {self.name!r} names an element twice.")

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.coordinates[self.name][0].size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, units, types and values of the coordinates."""
        return digest_of(
            {name: (v, a.get("units", "")) for name, (v, a) in self.coordinates.items()}
        )


@dataclass(frozen=True, eq=False)
class Row:
    """What one frame measured along an axis.

    Attributes
    ----------
    axis
        The axis.
    values
        float32, int8 or uint16, ``(N,)``. Not measured is NaN, -128 and 65535.
    attributes
        ``units``, ``long_name``, ``standard_name``, …; ``ancillary_variables`` names other rows.
    """

    axis: Axis
    values: NDArray[Any]
    attributes: Mapping[str, str]


def check(rows: Mapping[str, Row], scalars: Mapping[str, float]) -> None:
    """Refuse rows that cannot be stored; ArchiveError names the first."""
    along = {c for row in rows.values() for c in row.axis.coordinates}
    for name, row in rows.items():
        _check_name(name)
        _check_attributes(name, row.attributes)
        if row.values.dtype.name not in FILLS:
            raise ArchiveError(
                f"{name!r} is {row.values.dtype}.", mend=f"Use one of {', '.join(FILLS)}."
            )
        if row.values.shape != (row.axis.size,):
            raise ArchiveError(
                f"{name!r} has shape {row.values.shape}, axis {row.axis.name!r} "
                f"has {row.axis.size} elements."
            )
    for name in (rows.keys() & (scalars.keys() | along)) | (scalars.keys() & along):
        raise ArchiveError(f"{name!r} names two things of one frame.")


def encode(values: NDArray[Any]) -> bytes:
    """Return values as a chunk's file: little-endian, zstd with a checksum."""
    from numcodecs import Zstd  # type: ignore[import-untyped]  # comes with Zarr

    return bytes(Zstd(level=1, checksum=True).encode(_little(values)))


def decode(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a chunk's file; ValueError where it is damaged."""
    from numcodecs import Zstd

    try:
        return np.frombuffer(Zstd().decode(data), dtype)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def digest_of(coordinates: Mapping[str, tuple[NDArray[Any], str]]) -> str:
    """SHA-256 over an axis' coordinates: by name, their values and unit."""
    result = hashlib.sha256()
    for name in sorted(coordinates):
        values, units = coordinates[name]
        result.update(f"{name} {units} {values.dtype.name} {values.size}\n".encode())
        result.update(_little(values).tobytes())
    return result.hexdigest()


def _little(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def _check_name(name: str) -> None:
    if SCALAR_NAME.fullmatch(name) is None or group.RESERVED.fullmatch(name):
        raise ArchiveError(f"{name!r} cannot name a row or coordinate.", mend="Use lower_case.")
    if NUMBERED.fullmatch(name):
        raise ArchiveError(
            f"{name!r} ends in a number, as the archive's own variants do.", mend="Rename it."
        )


def _check_attributes(name: str, attributes: Mapping[str, str]) -> None:
    for key in attributes.keys() & _OURS:
        raise ArchiveError(f"{name!r} has the attribute {key!r}, which the archive sets.")
