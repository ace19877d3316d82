"""Reading the tags of a TIFF: enough to tell what it is, whether it is whole, and its EXIF.

DNG and most camera raw files are TIFFs whose images no general reader knows, so the tags are read
here. Format: TIFF 6.0. Nothing is allocated from a count before it is checked against the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from allsky360.camera.errors import TruncatedImage

Tag = tuple[str] | tuple[float, ...]
DNG_VERSION, BITS, SAMPLES, SUB_IFDS, EXIF_IFD = 50706, 258, 277, 330, 34665
_STRIPS = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_KINDS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_MAX_ENTRIES = 1000


def read_tags(data: bytes) -> dict[int, Tag]:
    """Read the tags of the first directory, and those of its EXIF directory.

    Damaged entries are left out; what is no TIFF gives none.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    tags = _directory(data, order, struct.unpack_from(order + "I", data, 4)[0])
    inner = tags.get(EXIF_IFD)
    if inner and not isinstance(inner[0], str):
        tags = _directory(data, order, int(inner[0])) | tags
    return tags


def check_whole(tags: Mapping[int, Tag], length: int) -> None:
    """Refuse a file that ends before its image data."""
    for offsets_tag, counts_tag in _STRIPS:
        starts: tuple[str | float, ...] = tags.get(offsets_tag, ())
        sizes: tuple[str | float, ...] = tags.get(counts_tag, ())
        for start, size in zip(starts, sizes, strict=False):
            if isinstance(start, str) or isinstance(size, str) or start + size > length:
                raise TruncatedImage(f"its image data lies beyond its {length} bytes.")


def _directory(data: bytes, order: str, at: int) -> dict[int, Tag]:
    if at + 2 > len(data):
        return {}
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, Tag] = {}
    for index in range(min(count, _MAX_ENTRIES)):
        entry = at + 2 + 12 * index
        if entry + 12 > len(data):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        value = _value(data, order, kind, number, entry + 8)
        if value is not None:
            tags[tag] = value
    return tags


def _value(data: bytes, order: str, kind: int, number: int, at: int) -> Tag | None:
    code = "s" if kind == 2 else _KINDS.get(kind)
    if code is None or number == 0:
        return None
    size = struct.calcsize("<" + code) * number
    if size > 4:
        (at,) = struct.unpack_from(order + "I", data, at)
    if at + size > len(data):
        return None
    if code == "s":
        return (data[at : at + size].split(b"\0")[0].decode("latin-1").strip(),)
    numbers = struct.unpack_from(order + code * number, data, at)
    if len(code) == 1:
        return tuple(float(n) for n in numbers)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(top / bottom if bottom else 0.0 for top, bottom in pairs)
