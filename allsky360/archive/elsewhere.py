"""What is safe elsewhere: the record that the off-site copy keeps, and retention believes.

``<night>/.offsite.json`` names every file that was copied and proven to have arrived: its size and
time of change here, its SHA-256, and the store's own mark of the object. A file that changed since
is not safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from allsky360.archive.durable import sync_folder, write_atomic
from allsky360.config_offsite import OffsiteSettings
from allsky360.errors import in_words

FILE = ".offsite.json"

_VERSION = re.compile(r"(v\d{4,})(?:\.zarr)?(?:\.damaged-\d+)?")
_RAW = re.compile(r"raw(?:-\d+)?\.zarr")
_LINEAR = re.compile(r"linear(?:_\d+)?")


@dataclass(frozen=True)
class Safe:
    """One file that is safe elsewhere.

    Attributes
    ----------
    bytes, mtime_ns
        Of the file here when it was copied.
    sha256
        Of its content, hexadecimal.
    etag
        The store's mark of the object; empty where it gives none.
    """

    bytes: int
    mtime_ns: int
    sha256: str
    etag: str = ""


Record = dict[str, Safe]
"""By path below the folder."""


def read_record(folder: Path, url: str) -> Record:
    """Return what of a folder is safe at ``url``; nothing where the record is damaged."""
    try:
        return parse_record((folder / FILE).read_bytes(), url)
    except (OSError, ValueError):
        return {}  # then everything is looked at again


def parse_record(data: bytes, url: str | None = None) -> Record:
    """Read a record; empty where it is one of another URL, ValueError where it is none."""
    try:
        content = json.loads(data)
        if url is not None and content["url"] != url:
            return {}
        return {
            str(name): Safe(int(b), int(t), str(digest), str(etag))
            for name, (b, t, digest, etag) in content["files"].items()
        }
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a record of a copy: {in_words(error)}") from error


def encode_record(url: str, record: Mapping[str, Safe]) -> bytes:
    """Return a record as it is stored."""
    files = {n: [s.bytes, s.mtime_ns, s.sha256, s.etag] for n, s in sorted(record.items())}
    return json.dumps({"url": url, "files": files}).encode()


def write_record(folder: Path, url: str, record: Mapping[str, Safe]) -> None:
    """Store a record, durable on return; OSError where the disk refuses."""
    write_atomic(folder / FILE, encode_record(url, record), sync=True)
    sync_folder(folder)


@dataclass(frozen=True)
class Elsewhere:
    """A copy that retention waits for.

    Attributes
    ----------
    url
        Where it is.
    kinds
        What is copied there; retention does not wait for other kinds.
    fresh
        Records, by folder, that are newer than those on the disk: a full disk takes none.
    """

    url: str
    kinds: frozenset[str]
    fresh: Mapping[Path, Record] = field(default_factory=dict)

    def lacks(self, folder: Path, files: Iterable[Path], current: str) -> list[Path]:
        """Return which files of a folder are to be copied and are not safe yet.

        ``current`` is the version that readers are shown.
        """
        record = self.fresh.get(folder)
        if record is None:
            record = read_record(folder, self.url)
        paths = ((f, f.relative_to(folder)) for f in files)
        return [
            f
            for f, path in paths
            if kind_of(path, current) in self.kinds and not lies(f, record.get(path.as_posix()))
        ]


def lies(file: Path, safe: Safe | None) -> bool:
    """Whether a file is safe as it is here now."""
    if safe is None:
        return False
    try:
        status = file.stat()
    except FileNotFoundError:
        return True  # gone meanwhile: nothing left to lose
    except OSError:
        return False  # nobody can tell: it stays
    return (status.st_size, status.st_mtime_ns) == (safe.bytes, safe.mtime_ns)


def elsewhere_of(settings: OffsiteSettings) -> Elsewhere | None:
    """Return the copy that the settings name; None where there is none."""
    return Elsewhere(settings.url, frozenset(settings.kinds)) if settings.url else None


def kind_of(path: PurePath, current: str) -> str:
    """Return the kind of data of a night's file, as retention names it; empty for the rest.

    Parameters
    ----------
    path
        Below the night's folder.
    current
        Version that readers are shown.
    """
    parts = path.parts
    if len(parts) < 2:
        return ""
    if _RAW.fullmatch(parts[0]):
        return "raw" if parts[1] == "raw" and parts[-1].startswith("c.") else ""
    match = _VERSION.fullmatch(parts[0])
    if match is None:
        return ""
    if match[1] != current or "damaged" in parts[0]:
        return "versions"
    if parts[0].endswith(".zarr"):
        image = _LINEAR.fullmatch(parts[1]) and parts[-1].startswith("c.")
        return "linear" if image else ""
    return parts[1] if parts[1] in ("pictures", "products") else ""
