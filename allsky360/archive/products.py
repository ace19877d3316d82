"""Products of a night: what was made from many frames, each with a record that announces it.

A product ``NAME`` lies in the version it was made from, ``<night>/<version>/products/``: its files,
and ``NAME.json``, which is replaced last and atomically. A reader that finds the record finds every
file it names, whole. A product that grows replaces its files under new names or atomically.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from allsky360.archive.durable import make_folder, sync_file, sync_folder, write_atomic
from allsky360.archive.errors import ArchiveError, archive_error
from allsky360.archive.layout import night_folder
from allsky360.errors import in_words

FileRole = Literal["main", "preview", "data"]
STATE_FOLDER = ".state"

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_FILE = re.compile(r"[a-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)


@dataclass(frozen=True)
class ProductFile:
    """One file of a product.

    Attributes
    ----------
    path
        File name within the products' folder.
    role
        ``main`` is what a person wants, ``preview`` a small picture of it, ``data`` numbers.
    media_type
        Such as ``image/png`` or ``video/mp4``.
    bytes
        Size; 0 until written to the archive.
    width, height
        Pixels, of pictures and videos.
    duration_s
        Of videos.
    """

    path: str
    role: FileRole
    media_type: str
    bytes: int = 0
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class LeftOut:
    """A frame that a product lacks, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class FramesUsed:
    """Which frames a product was made from.

    Attributes
    ----------
    used
        How many.
    first, last
        Their least and greatest number in the night, None where there are none.
    left_out
        Frames that could not be used.
    """

    used: int
    first: int | None = None
    last: int | None = None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class ProductRecord:
    """What a product is, what it was made from and how.

    Attributes
    ----------
    kind
        Such as ``keogram``; several products of a night may be of one kind.
    name
        Slug, unique within the night's version.
    title
        For people.
    camera, night, version
        Where its frames came from.
    created_at
        UTC.
    complete
        Whether the night was over and every frame processed when it was made.
    files, frames
        What it consists of, and what it was made from.
    parameters
        How it was made; plain JSON values.
    provenance
        Code version, settings hash, lens file; plain JSON values.
    """

    kind: str
    name: str
    title: str
    camera: str
    night: date
    version: str
    created_at: datetime
    complete: bool
    files: tuple[ProductFile, ...]
    frames: FramesUsed
    parameters: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def main(self) -> ProductFile | None:
        """Return the file a person wants; None for a product of numbers only."""
        return next((f for f in self.files if f.role == "main"), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values; absent sizes are left away."""
        content = asdict(self)
        content["night"] = self.night.isoformat()
        content["created_at"] = self.created_at.isoformat()
        content["files"] = [
            {k: v for k, v in asdict(f).items() if v is not None} for f in self.files
        ]
        return content

    @classmethod
    def from_json(cls, content: Any) -> ProductRecord:
        """Read a record back; ValueError where it is none."""
        try:
            frames = content["frames"]
            return cls(
                kind=str(content["kind"]),
                name=str(content["name"]),
                title=str(content["title"]),
                camera=str(content["camera"]),
                night=date.fromisoformat(content["night"]),
                version=str(content["version"]),
                created_at=datetime.fromisoformat(content["created_at"]),
                complete=bool(content["complete"]),
                files=tuple(ProductFile(**f) for f in content["files"]),
                frames=FramesUsed(
                    int(frames["used"]),
                    frames["first"],
                    frames["last"],
                    tuple(LeftOut(**x) for x in frames["left_out"]),
                ),
                parameters=dict(content["parameters"]),
                provenance=dict(content["provenance"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a product record: {in_words(error)}") from error


def products_folder(root: Path, camera: str, night: date, version: str) -> Path:
    """Return where a night's products lie; refuses names that could lead elsewhere."""
    if _VERSION.fullmatch(version) is None:
        raise ValueError(f"{version!r} is not a version of a night")
    return night_folder(root, camera, night) / version / "products"


def state_folder(root: Path, camera: str, night: date, version: str) -> Path:
    """Return where products that still grow keep what readers must not see."""
    return products_folder(root, camera, night, version) / STATE_FOLDER


def write_product(root: Path, record: ProductRecord) -> ProductRecord:
    """Announce a product whose files lie in :func:`products_folder` already.

    Returns
    -------
    ProductRecord
        The record as written, with the sizes of the files.

    Raises
    ------
    ArchiveError
        A name cannot be stored, a file is missing, or the disk refuses.
    """
    folder = products_folder(root, record.camera, record.night, record.version)
    if _SLUG.fullmatch(record.name) is None:
        raise ArchiveError(f"{record.name!r} cannot name a product.", mend="Use lower-case-words.")
    for file in record.files:
        if _FILE.fullmatch(file.path) is None or file.path == f"{record.name}.json":
            raise ArchiveError(f"{file.path!r} cannot name a file of a product.")
    try:
        make_folder(folder)
        for file in record.files:
            sync_file(folder / file.path)
        sync_folder(folder)
        sized = tuple(replace(f, bytes=(folder / f.path).stat().st_size) for f in record.files)
        written = replace(record, files=sized)
        text = json.dumps(written.to_json(), indent=1, allow_nan=False)
        write_atomic(folder / f"{record.name}.json", text.encode(), sync=True)
        sync_folder(folder)
    except OSError as error:
        raise archive_error(error, folder / record.name) from error
    return written


def read_products(root: Path, camera: str, night: date, version: str) -> list[ProductRecord]:
    """Products of a night's version by name; one whose record is damaged is left out."""
    folder = products_folder(root, camera, night, version)
    try:
        names = sorted(p.stem for p in folder.glob("*.json") if _SLUG.fullmatch(p.stem))
    except OSError as error:
        raise archive_error(error, folder) from error
    found = (read_product(root, camera, night, version, name) for name in names)
    return [record for record in found if record is not None]


def read_product(
    root: Path, camera: str, night: date, version: str, name: str
) -> ProductRecord | None:
    """One product of a night's version; None where there is none or its record is damaged."""
    if _SLUG.fullmatch(name) is None:
        return None
    path = products_folder(root, camera, night, version) / f"{name}.json"
    try:
        return ProductRecord.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise archive_error(error, path) from error


def product_file(root: Path, record: ProductRecord, name: str) -> Path | None:
    """Return the path of a file the record names; None for any other name or a missing file."""
    if name not in {f.path for f in record.files} or _FILE.fullmatch(name) is None:
        return None
    path = products_folder(root, record.camera, record.night, record.version) / name
    return path if path.is_file() and not path.is_symlink() else None
