"""Builds a raw store's lost or damaged marker again from what lies beside it.

Everything but the marker was written and synced before the marker was, so that it can be told from
the store itself how many frames are whole. Only the store's attributes stand nowhere else: they
never change, and are kept in a file of their own.
"""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.archive import group
from allsky360.archive.durable import write_atomic

log = logging.getLogger(__name__)

KEPT = "attributes.json"


def keep_attributes(store: Path, attributes: dict[str, Any]) -> None:
    """Write the attributes of a new store beside its arrays, durable once its folder is synced."""
    write_atomic(store / KEPT, json.dumps(attributes).encode(), sync=True)


def rebuilt(store: Path) -> group.Root | None:
    """Return what the marker must have said; None where that cannot be told.

    The last frame counts where its pixels agree with their CRC: it may have been on its way.
    """
    try:
        attributes = json.loads((store / KEPT).read_bytes())
        group.refuse_other_times(store, group.schema_of(attributes))
        arrays = {
            file.parent.name: json.loads(file.read_bytes())
            for file in sorted(store.glob("*/zarr.json"))
        }
        if not {"time", "crc32", "exposure_s", "raw"} <= arrays.keys():
            return None
        root = group.Root(attributes, arrays, 0)
        rows = _rows_with_a_time(store, arrays["time"])
        while rows and not _is_whole(store, arrays, rows - 1):
            rows -= 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.warning("%s cannot be rebuilt: %s", store / "zarr.json", error)
        return None
    root.encode(rows)
    return root if rows else None


def _rows_with_a_time(store: Path, metadata: dict[str, Any]) -> int:
    rows, chunk = 0, 0
    while group.chunk_path(store, "time", chunk, metadata).exists():
        missing = np.flatnonzero(group.read_chunk(store, "time", chunk, metadata) < 0)
        rows += int(missing[0]) if missing.size else group.CHUNK
        if missing.size:
            break
        chunk += 1
    return rows


def _is_whole(store: Path, arrays: dict[str, dict[str, Any]], row: int) -> bool:
    chunk, at = divmod(row, group.CHUNK)
    sums = group.read_chunk(store, "crc32", chunk, arrays["crc32"])[at]
    images = group.open_image_array(store, "raw", read_only=True)
    taken = [k for k, crc in enumerate(sums) if crc >= 0]
    try:
        return bool(taken) and all(
            zlib.crc32(np.ascontiguousarray(images[row, k]).data) == sums[k] for k in taken
        )
    except (OSError, ValueError, RuntimeError):  # cut off, or no image at all
        return False
