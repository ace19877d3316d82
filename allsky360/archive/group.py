"""A Zarr v3 group whose consolidated metadata is the commit marker.

Each array's own ``zarr.json`` has room for :data:`CAPACITY` rows. The group's ``zarr.json`` carries
consolidated metadata in which every array along ``time`` has just the committed rows. Readers that
use it, as ``xarray.open_zarr`` does by itself, see the committed rows and nothing else. A frame is
committed by replacing that one file: rows written before a crash are simply not there, and their
chunks are overwritten by the next frame.

Scalars are uncompressed chunks of :data:`CHUNK` rows, so that they can be read and written as plain
files, without a round through the Zarr engine (5 ms an array).
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.durable import make_folder, write_atomic
from allsky360.archive.errors import UnknownSchema
from allsky360.archive.layout import OLDEST_READ, SCHEMA
from allsky360.errors import in_words

CAPACITY = 1_000_000
CHUNK = 1024
_MOST = 1 << 29
"""Elements of an image or of a chunk of numbers; what says it has more is damaged."""

#: names of a version store's own arrays and axes
RESERVED = re.compile(r"time|processed_at|(?:linear|y|x|band)(?:_\d+)?")

#: CF attributes of instants, microseconds as int64; -1 is "not set"
INSTANT: dict[str, Any] = {
    "units": "microseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "_FillValue": -1,
}


#: unit of a number by the ending of its name
_UNITS = {"_deg": "degree", "_s": "s", "_c": "degC", "_adu": "adu", "_db": "dB"}


class DamagedChunk(ValueError):
    """A file of scalars that is not as long as it must be."""


def describe(name: str) -> dict[str, Any]:
    """CF attributes that the name of a number tells by itself."""
    attributes = {"long_name": name.replace("_", " ")}
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            attributes["units"] = unit
    return attributes


def scalar_metadata(
    dtype: str, *, extra: Sequence[tuple[str, int]] = (), attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Metadata of an array along ``time`` (and ``extra`` short axes), stored uncompressed.

    ``dtype`` is a Zarr v3 name: ``float64``, ``float32``, ``int64``.
    """
    fill: Any = "NaN" if dtype.startswith("float") else -1
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [CAPACITY, *(n for _, n in extra)],
        "data_type": dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [CHUNK, *(n for _, n in extra)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": dict(attributes),
        "dimension_names": ["time", *(name for name, _ in extra)],
        "storage_transformers": [],
    }


def image_metadata(
    dtype: str,
    shape: Sequence[int],
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
    *,
    leading: Sequence[tuple[str, int]] = (),
) -> dict[str, Any]:
    """Metadata of an image array: one shard an image, 4 x 4 chunks, Blosc zstd-1 bitshuffle.

    ``shape`` and ``dimensions`` are those of one image, ``(y, x)`` or ``(y, x, band)``; ``leading``
    names axes between ``time`` and the image.
    """
    inner = [-(-n // 4) if i < 2 else n for i, n in enumerate(shape)]
    outer = [4 * n if i < 2 else n for i, n in enumerate(inner)]
    ones = [1] * (1 + len(leading))
    size = int(np.dtype(dtype).itemsize)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [CAPACITY, *(n for _, n in leading), *shape],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*ones, *outer]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "NaN" if dtype.startswith("float") else 0,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [*ones, *inner],
                    "codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}},
                        {
                            "name": "blosc",
                            "configuration": {
                                "typesize": size,
                                "cname": "zstd",
                                "clevel": 1,
                                "shuffle": "bitshuffle",
                                "blocksize": 0,
                            },
                        },
                    ],
                    "index_codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}},
                        {"name": "crc32c"},
                    ],
                    "index_location": "end",
                },
            }
        ],
        "attributes": dict(attributes),
        "dimension_names": ["time", *(name for name, _ in leading), *dimensions],
        "storage_transformers": [],
    }


def numpy_dtype(metadata: Mapping[str, Any]) -> np.dtype[Any]:
    """Little-endian NumPy dtype of a scalar array."""
    return np.dtype(str(metadata["data_type"])).newbyteorder("<")


def empty_rows(metadata: Mapping[str, Any], rows: int) -> NDArray[Any]:
    """Return ``rows`` rows of fill values."""
    fill = np.nan if metadata["fill_value"] == "NaN" else metadata["fill_value"]
    return np.full((rows, *metadata["shape"][1:]), fill, numpy_dtype(metadata))


def along_time(metadata: Mapping[str, Any]) -> bool:
    """Whether an array has a row for every frame, as all have but the coordinates of other axes."""
    return bool(metadata["dimension_names"][0] == "time")


def is_scalar(metadata: Mapping[str, Any]) -> bool:
    """Whether an array is stored uncompressed in chunks of :data:`CHUNK` rows."""
    chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    return along_time(metadata) and bool(chunk[0] == CHUNK)


def is_row(metadata: Mapping[str, Any]) -> bool:
    """Whether an array holds one compressed row a frame, see :mod:`allsky360.archive.rows`."""
    chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    return along_time(metadata) and len(chunk) == 2 and bool(chunk[0] == 1)


def is_image(metadata: Mapping[str, Any]) -> bool:
    """Whether an array holds images."""
    return along_time(metadata) and not is_scalar(metadata) and not is_row(metadata)


def chunk_path(store: Path, name: str, chunk: int, metadata: Mapping[str, Any]) -> Path:
    """File of one scalar chunk."""
    rest = ".0" * (len(metadata["shape"]) - 1)
    return store / name / f"c.{chunk}{rest}"


def read_chunk(store: Path, name: str, chunk: int, metadata: Mapping[str, Any]) -> NDArray[Any]:
    """Read one scalar chunk, ``(CHUNK, …)``; fill values where nothing was written.

    Raises
    ------
    DamagedChunk
        When the file is not as long as a chunk is.
    """
    try:
        data = chunk_path(store, name, chunk, metadata).read_bytes()
    except FileNotFoundError:
        return empty_rows(metadata, CHUNK)
    shape = (CHUNK, *metadata["shape"][1:])
    dtype = numpy_dtype(metadata)
    values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    if len(data) % dtype.itemsize or values.size != int(np.prod(shape)):
        raise DamagedChunk(f"{store}: {name} chunk {chunk} has {len(data)} bytes")
    return values.reshape(shape).copy()


def read_rows(store: Path, name: str, metadata: Mapping[str, Any], rows: int) -> NDArray[Any]:
    """Read the first ``rows`` rows of a scalar array."""
    if rows == 0:
        return empty_rows(metadata, 0)
    chunks = [read_chunk(store, name, k, metadata) for k in range(-(-rows // CHUNK))]
    return np.concatenate(chunks)[:rows]


class Root:
    """The group's ``zarr.json``: attributes, and the committed view of every array."""

    def __init__(
        self, attributes: dict[str, Any], arrays: dict[str, dict[str, Any]], rows: int
    ) -> None:
        self.attributes = attributes
        self.arrays = arrays
        self.rows = rows

    @classmethod
    def load(cls, store: Path, *, oldest: int = OLDEST_READ) -> Root:
        """Read it; ``oldest`` is the first schema that the caller can work with.

        Raises
        ------
        FileNotFoundError
            There is no store.
        UnknownSchema
            Its layout is of another time; nothing must be written to it, nor set aside.
        ValueError
            It is damaged.
        """
        try:
            document = json.loads((store / "zarr.json").read_bytes())
            refuse_other_times(store, schema_of(document["attributes"]), oldest)
            arrays = document["consolidated_metadata"]["metadata"]
            for name, metadata in arrays.items():
                _check(name, metadata)
            rows = {int(m["shape"][0]) for m in arrays.values() if along_time(m)}
            attributes = dict(document["attributes"])
        except (FileNotFoundError, UnknownSchema):
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{store / 'zarr.json'} is damaged: {in_words(error)}") from error
        if len(rows) != 1:
            raise ValueError(f"{store / 'zarr.json'} is damaged: lengths {sorted(rows)}")
        return cls(attributes, arrays, rows.pop())

    def add_array(self, store: Path, name: str, metadata: dict[str, Any], *, sync: bool) -> None:
        """Create an array on disk and in the next committed view."""
        make_folder(store / name)
        write_atomic(store / name / "zarr.json", json.dumps(metadata).encode(), sync=sync)
        shape = [self.rows, *metadata["shape"][1:]] if along_time(metadata) else metadata["shape"]
        self.arrays[name] = {**metadata, "shape": shape}

    def encode(self, rows: int) -> bytes:
        """Return the file for ``rows`` committed rows, and remember them."""
        self.rows = rows
        for metadata in filter(along_time, self.arrays.values()):
            metadata["shape"][0] = rows
        return json.dumps(
            {
                "zarr_format": 3,
                "node_type": "group",
                "attributes": self.attributes,
                "consolidated_metadata": {
                    "kind": "inline",
                    "must_understand": False,
                    "metadata": self.arrays,
                },
            }
        ).encode()


def schema_of(attributes: Mapping[str, Any]) -> int:
    """Return the schema a store's attributes name; ValueError where that is no number."""
    return whole(attributes.get("schema", 0), "schema")


def refuse_other_times(store: Path, schema: int, oldest: int = OLDEST_READ) -> None:
    """Raise :class:`UnknownSchema` where a store is newer than this program, or too old for it."""
    if schema > SCHEMA:
        raise UnknownSchema(
            f"{store} was written by a newer allsky360: its schema is {schema}, this one knows "
            f"{SCHEMA}.",
            mend="Upgrade allsky360.",
        )
    if schema < oldest:
        raise UnknownSchema(
            f"{store} was written by an older allsky360: its schema is {schema}, this one reads "
            f"from {oldest} on.",
            mend="Stop allsky360 and run 'allsky360 migrate'.",
        )


def whole(value: Any, what: str) -> int:
    """Return an attribute that must be a whole number from 0; ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} is {value!r}, no number")
    return value


def _check(name: str, metadata: Any) -> None:
    """Raise what :meth:`Root.load` catches, where an array's description could not be used."""
    shape = [operator.index(n) for n in metadata["shape"]]
    chunk = [operator.index(n) for n in metadata["chunk_grid"]["configuration"]["chunk_shape"]]
    names = metadata["dimension_names"]
    numpy_dtype(metadata)
    fill = metadata["fill_value"]
    if not (
        0 < len(shape) == len(chunk) == len(names)
        and all(isinstance(n, str) for n in names)
        and isinstance(metadata["attributes"], dict)
        and (fill == "NaN" or isinstance(fill, int | float))
        and all(n > 0 for n in (*shape[1:], *chunk))
        and 0 <= shape[0] <= _MOST
        and math.prod(shape[1:]) <= _MOST
        and (chunk[0] != CHUNK or math.prod(shape[1:]) * CHUNK <= _MOST)
        and (not along_time(metadata) or shape[0] <= CAPACITY)
    ):
        raise ValueError(f"its array {name!r} cannot be as it is described")


def open_image_array(store: Path, name: str, *, read_only: bool = False) -> Any:
    """Open an image array for writing or reading whole images, with room for every row.

    Raises
    ------
    OSError
        Its own description is missing.
    ValueError
        It is damaged.
    """
    import zarr
    from zarr.storage import LocalStore

    mode: Literal["r", "r+"] = "r" if read_only else "r+"
    try:
        return zarr.open_array(
            LocalStore(store, read_only=read_only), path=name, mode=mode, zarr_format=3
        )
    except OSError:
        raise
    except Exception as error:  # what Zarr raises on damaged metadata is of any kind
        raise ValueError(f"{store / name / 'zarr.json'} is damaged: {in_words(error)}") from error


def image_path(store: Path, name: str, row: int, *leading: int, bands: bool) -> Path:
    """File of one image: its single shard."""
    key = ".".join(str(k) for k in (row, *leading, 0, 0, *([0] if bands else [])))
    return store / name / f"c.{key}"
