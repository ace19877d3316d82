"""Where rows lie in a version store, and reading them back.

One frame's row of one variable is one file, so that frames can be written in any order, by several
processes and again. Files are written and read here without a round through the Zarr engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group
from allsky360.archive.durable import write_atomic
from allsky360.archive.rows import DIGEST, FILLS, Axis, Row, decode, digest_of, encode


def prepare(store: Path, root: group.Root, rows: Mapping[str, Row]) -> dict[str, str]:
    """Make the arrays that ``rows`` need where they are missing.

    The caller holds the store's lock, and saves ``root`` when it has more arrays than before.

    Returns
    -------
    dict
        Name of the array that takes each row: the row's own name, or with ``_2`` and so on where
        that one has another axis, type or unit.
    """
    axes = {row.axis: "" for row in rows.values()}
    for axis in axes:
        axes[axis] = _prepare_axis(store, root, axis)
    stored = {name: _free_name(root, name, row, axes[row.axis]) for name, row in rows.items()}
    for name, row in rows.items():
        if stored[name] not in root.arrays:
            metadata = _row_metadata(row, axes[row.axis], stored)
            root.add_array(store, stored[name], metadata, sync=False)
    return stored


def row_path(store: Path, name: str, row: int) -> Path:
    """File of one frame's row."""
    return store / name / f"c.{row}.0"


def read_row(store: Path, name: str, metadata: Mapping[str, Any], row: int) -> NDArray[Any] | None:
    """Read one frame's row as stored, ``(N,)``; None where it has none.

    Raises
    ------
    ValueError
        When the file is damaged.
    """
    return _read(row_path(store, name, row), metadata, int(metadata["shape"][1]))


def read_coordinate(store: Path, name: str, metadata: Mapping[str, Any]) -> NDArray[Any] | None:
    """Read a coordinate, ``(N,)``; None where its file is missing, ValueError when damaged."""
    return _read(store / name / "c.0", metadata, int(metadata["shape"][0]))


def read_coordinates(
    store: Path, root: group.Root, metadata: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Read every coordinate of a row's axis, by name without the number of the axis' variant.

    Raises
    ------
    ValueError
        When one is damaged or missing.
    """
    axis = axis_of(metadata)
    ending = match[0] if (match := re.search(r"_\d+$", axis)) else ""
    found = {}
    for name in _coordinates(root, axis):
        values = read_coordinate(store, name, root.arrays[name])
        if values is None:
            raise ValueError(f"{name} has no coordinates")
        found[name.removesuffix(ending)] = values
    return found


def as_float(values: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return a stored row as xarray shows it: float32, NaN where nothing was measured."""
    result = values.astype(np.float32)
    if values.dtype.kind != "f":
        result[values == metadata["fill_value"]] = np.nan
    return result


def variants(root: group.Root, name: str) -> list[str]:
    """List the arrays that hold rows of this name: ``name``, ``name_2`` and so on."""
    pattern = re.compile(re.escape(name) + r"(_\d+)?")
    return [n for n, m in root.arrays.items() if group.is_row(m) and pattern.fullmatch(n)]


def axis_of(metadata: Mapping[str, Any]) -> str:
    """Name of the axis, and of the index coordinate, of a row's array."""
    return str(metadata["dimension_names"][1])


def axis_problems(store: Path, root: group.Root, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Name what is wrong with the coordinates of a store: array and trouble."""
    for axis, metadata in root.arrays.items():
        if group.along_time(metadata) or metadata["dimension_names"] != [axis]:
            continue
        ending = match[0] if (match := re.search(r"_\d+$", axis)) else ""
        found: dict[str, tuple[NDArray[Any], str]] = {}
        whole = True
        for name in _coordinates(root, axis):
            m = root.arrays[name]
            try:
                values = read_coordinate(store, name, m)
            except (OSError, ValueError) as error:
                yield name, str(error)
                whole = False
                continue
            if values is None:
                yield name, "its file is missing"
                whole = False
                continue
            units = str(m["attributes"].get("units", ""))
            found[name.removesuffix(ending)] = (values, units)
        if deep and whole and digest_of(found) != metadata["attributes"].get(DIGEST):
            yield axis, "its coordinates differ from their checksum"


def _prepare_axis(store: Path, root: group.Root, axis: Axis) -> str:
    """Return the name of the stored axis that equals this one; make it where there is none."""
    for number in count(1):
        ending = "" if number == 1 else f"_{number}"
        index = root.arrays.get(axis.name + ending)
        if index is None:
            if any(name + ending in root.arrays for name in axis.coordinates):
                continue
            break
        if index["attributes"].get(DIGEST) == axis.digest:
            break
    for name, (values, attributes) in axis.coordinates.items():
        path = store / (name + ending) / "c.0"
        if index is None:
            own = {DIGEST: axis.digest} if name == axis.name else {}
            metadata = _metadata(
                values.dtype,
                values.shape,
                values.shape,
                [axis.name + ending],
                "NaN" if values.dtype.kind == "f" else 0,
                {**attributes, **own},
            )
            root.add_array(store, name + ending, metadata, sync=False)
            write_atomic(path, encode(values), sync=False)
        elif not path.is_file():  # lost, or removed because it was damaged
            write_atomic(path, encode(values), sync=False)
    return axis.name + ending


def _free_name(root: group.Root, name: str, row: Row, axis: str) -> str:
    wanted = (["time", axis], row.values.dtype.name, row.attributes.get("units"))
    for number in count(1):
        candidate = name if number == 1 else f"{name}_{number}"
        m = root.arrays.get(candidate)
        if m is None:
            return candidate
        if (m["dimension_names"], m["data_type"], m["attributes"].get("units")) == wanted:
            return candidate
    raise AssertionError  # count() has no end


def _row_metadata(row: Row, axis: str, stored: Mapping[str, str]) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(row.attributes)
    if beside := attributes.get("ancillary_variables"):
        attributes["ancillary_variables"] = " ".join(stored.get(n, n) for n in beside.split())
    ending = axis.removeprefix(row.axis.name)
    others = [c + ending for c in row.axis.coordinates if c != row.axis.name]
    if others:
        attributes["coordinates"] = " ".join(others)
    fill: Any = FILLS[row.values.dtype.name]
    if row.values.dtype.kind == "f":
        fill = "NaN"
    else:
        attributes["_FillValue"] = fill
    n = row.axis.size
    return _metadata(
        row.values.dtype, (group.CAPACITY, n), (1, n), ["time", axis], fill, attributes
    )


def _metadata(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dimensions: list[str],
    fill: Any,
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 1, "checksum": True}},
        ],
        "attributes": dict(attributes),
        "dimension_names": dimensions,
        "storage_transformers": [],
    }


def _coordinates(root: group.Root, axis: str) -> list[str]:
    return [n for n, m in root.arrays.items() if m["dimension_names"] == [axis]]


def _read(path: Path, metadata: Mapping[str, Any], size: int) -> NDArray[Any] | None:
    try:
        values = decode(path.read_bytes(), group.numpy_dtype(metadata))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path.name} does not decode: {error}") from error
    if values.shape != (size,):
        raise ValueError(f"{path.name} holds {values.size} elements, not {size}")
    return values
