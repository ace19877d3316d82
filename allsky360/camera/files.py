"""Reading exposures from files, of this camera or any other.

FITS (also gzip, bzip2, xz), INDIGO RAW, DNG and camera raw, PNG, TIFF, JPEG, CDF. The kind is told
by content; the name decides only between a camera's raw file and the TIFF it is built on.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from allsky360.camera.decode import decode_raw, sniff
from allsky360.camera.errors import (
    CameraError,
    OversizedImage,
    TruncatedImage,
    UnreadableFile,
    UnsupportedImage,
)
from allsky360.camera.file_cdf import read_cdf
from allsky360.camera.file_fits import exposure_from_cards, read_fits
from allsky360.camera.file_pictures import read_picture
from allsky360.camera.file_raw import read_camera_raw
from allsky360.camera.file_tiff import DNG_VERSION, read_tags
from allsky360.model import Exposure

MAX_FILE_BYTES = 2 << 30
_CAMERA_RAW = ".dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .raf .rw2 .orf .pef .srw .x3f .3fr .iiq"
_RAW_SUFFIXES = frozenset(_CAMERA_RAW.split())
_CDF_MAGIC = (b"\xcd\xf3\x00\x01", b"\xcd\xf2\x60\x02")
_PICTURE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")


def read_exposures(path: Path | str) -> Iterator[Exposure]:
    """Read every exposure of a file; most hold one.

    What the file does not tell is said in ``metadata``: ``time_source`` names where the start
    comes from (down to the file's modification time), ``exposure_source`` is ``"unknown"`` where
    ``exposure_s`` had to be taken as 1 s, ``linear`` is False for JPEG.

    Raises
    ------
    UnreadableFile
        Naming the file and why.
    """
    path = Path(path)
    try:
        yield from _read(path)
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(
            f"cannot read {path}: {error.strerror or error}.", mend=_MEND
        ) from error
    except CameraError as error:
        raise UnreadableFile(f"cannot read {path}: {error.message}", mend=_MEND) from error
    except MemoryError as error:
        raise UnreadableFile(f"cannot read {path}: too large for this machine.") from error
    except Exception as error:  # format libraries raise anything on damaged files
        reason = str(error) or type(error).__name__
        raise UnreadableFile(f"cannot read {path}: {reason[:200]}.", mend=_MEND) from error


_MEND = "Give a FITS, INDIGO RAW, DNG, camera raw, PNG, TIFF, JPEG or CDF file."


def _read(path: Path) -> Iterator[Exposure]:
    stored = path.read_bytes()
    data = _unpacked(stored)
    if data[:4] in _CDF_MAGIC:
        yield from _read_cdf(path, data, packed=data is not stored)
        return
    yield _read_one(path, data)


def _read_one(path: Path, data: bytes) -> Exposure:
    kind = sniff(data)
    if kind == "FITS":
        return read_fits(data, path)
    if kind == "RAW":
        return exposure_from_cards(decode_raw(data), path)
    if path.suffix.lower() in _RAW_SUFFIXES or DNG_VERSION in read_tags(data):
        return read_camera_raw(data, path)
    if data.startswith(_PICTURE_MAGIC):
        return read_picture(data, path)
    if not data:
        raise UnsupportedImage("it is empty.")
    raise UnsupportedImage(f"its first bytes {data[:8]!r} are of no format we know.")


def _read_cdf(path: Path, data: bytes, *, packed: bool) -> Iterator[Exposure]:
    if not packed:
        yield from read_cdf(path, path)
        return
    with tempfile.TemporaryDirectory(prefix="allsky360-") as folder:
        copy = Path(folder) / "unpacked.cdf"
        copy.write_bytes(data)
        yield from read_cdf(copy, path)


def _unpacked(data: bytes) -> bytes:
    source = io.BytesIO(data)
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=source) as unzipped:
                data = unzipped.read(MAX_FILE_BYTES + 1)
        elif data.startswith(b"BZh"):
            with bz2.BZ2File(source) as expanded:
                data = expanded.read(MAX_FILE_BYTES + 1)
        elif data.startswith(b"\xfd7zXZ"):
            with lzma.LZMAFile(source) as inflated:
                data = inflated.read(MAX_FILE_BYTES + 1)
    except gzip.BadGzipFile:
        data = _gunzip_by_checksum(data)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise TruncatedImage(f"its compressed data is damaged ({error}).") from error
    if len(data) > MAX_FILE_BYTES:
        raise OversizedImage(f"it holds more than {MAX_FILE_BYTES >> 30} GiB.")
    return data


def _gunzip_by_checksum(packed: bytes) -> bytes:
    """Unpack gzip data whose length field is wrong but whose checksum is right.

    Such files exist in real archives; the checksum proves the content.
    """
    stream = zlib.decompressobj(wbits=31)
    data = stream.decompress(packed[:-8], MAX_FILE_BYTES + 1)
    if zlib.crc32(data) != int.from_bytes(packed[-8:-4], "little"):
        raise TruncatedImage("its compressed data is damaged (the checksum is wrong).")
    return data
