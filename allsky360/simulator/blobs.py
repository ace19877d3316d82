"""Images behind constant URLs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

_FIRST_ADDRESS = 0x55D0_C0DE_0000
_counter = itertools.count()


@dataclass(frozen=True)
class Blob:
    """One image: bytes and the suffix its format gives the URL."""

    data: bytes
    suffix: str


class BlobStore:
    """The content behind each address; swapping it is one assignment, readers keep their copy."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}

    def new_address(self) -> str:
        """Return an address no property has had, e.g. ``0x55d0c0de0040``."""
        return f"0x{_FIRST_ADDRESS + next(_counter) * 0x40:x}"

    def put(self, address: str, blob: Blob) -> str:
        """Swap the content of an address and return its URL."""
        self._blobs[address] = blob
        return self.url(address)

    def url(self, address: str) -> str:
        """Return the URL of an address, empty when nothing lies there."""
        blob = self._blobs.get(address)
        return f"/blob/{address}{blob.suffix}" if blob else ""

    def get(self, url: str) -> Blob | None:
        """Return what lies behind a URL; suffix and query are ignored, as INDIGO does."""
        address = url.partition("?")[0].removeprefix("/blob/").partition(".")[0]
        return self._blobs.get(address)

    def forget(self, address: str) -> None:
        """Drop an address: later requests get 404."""
        self._blobs.pop(address, None)
