"""Putting one file on a store, and proving that it arrived.

An S3 server answers with an ETag. For a plain upload it is the MD5 of what the server stored, for
one in parts the MD5 of the parts' MD5s and their number (Amazon S3, "Checking object integrity").
Where it is neither (encryption with a key of the server's, another kind of store) the object is
read back and compared.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from allsky360.archive.elsewhere import Safe
from allsky360.objects.place import ObjectsError

PART_BYTES = 8 << 20
"""Files above this go in parts of this size."""


class ArrivedDamaged(ObjectsError):
    """The store holds something else than what was sent."""


class Unreadable(ObjectsError):
    """A file or folder here cannot be read, so that there is nothing to send."""

    @classmethod
    def of(cls, error: OSError, path: Path) -> Unreadable:
        """Name the place."""
        return cls(
            f"{error.filename or path} cannot be read: {error.strerror or error}.",
            mend="Mend its permissions or the disk; the next copy takes it.",
        )


def put(store: Any, key: str, path: Path, data: bytes | None = None) -> Safe:
    """Copy one file and prove it.

    Parameters
    ----------
    store
        Of obstore.
    key
        Name of the object.
    path
        The file.
    data
        Its content, where it must be that of an earlier moment.

    Raises
    ------
    FileNotFoundError
        The file is gone.
    Unreadable
        It is there and cannot be read.
    ArrivedDamaged
        Twice what the store holds was something else.
    """
    try:
        status = path.stat() if data is None else None
        if data is None and status is not None and status.st_size <= PART_BYTES:
            data = path.read_bytes()
        sha256, tags = _digests(path if data is None else data)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable.of(error, path) from error
    for last in (False, True):
        source = path if data is None else data
        answer = store.put(key, source, use_multipart=data is None, chunk_size=PART_BYTES)
        etag = plain_etag(answer.get("e_tag"))
        if etag in tags or read_back(store, key) == sha256:
            break
        if last:
            store.delete(key)
            raise ArrivedDamaged(f"{key} did not arrive as it was sent.", mend="Try it again.")
    size = len(data) if data is not None else os.stat(path).st_size
    mtime_ns = status.st_mtime_ns if status is not None else 0
    return Safe(size, mtime_ns, sha256, etag)


def plain_etag(etag: str | None) -> str:
    """Return an ETag without the quotes around it."""
    return (etag or "").strip('"')


def read_back(store: Any, key: str) -> str:
    """Return the SHA-256 of what a store holds; FileNotFoundError where it holds nothing."""
    digest = hashlib.sha256()
    for chunk in store.get(key).stream(min_chunk_size=1 << 20):
        digest.update(bytes(chunk))
    return digest.hexdigest()


def _digests(source: Path | bytes) -> tuple[str, frozenset[str]]:
    """Return the SHA-256, and the ETags that prove the content."""
    whole, sha256, parts = _md5(b""), hashlib.sha256(), []
    for part in _parts(source):
        whole.update(part)
        sha256.update(part)
        parts.append(_md5(part).digest())
    joined = f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"
    return sha256.hexdigest(), frozenset((whole.hexdigest(), joined))


def _md5(data: bytes) -> Any:
    return hashlib.md5(data, usedforsecurity=False)


def _parts(source: Path | bytes) -> Any:
    if isinstance(source, bytes):
        for at in range(0, len(source), PART_BYTES):
            yield source[at : at + PART_BYTES]
        return
    with source.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part
