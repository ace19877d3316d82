"""What differs between the families of servers one client speaks to: the words on the wire.

The client, the property store and the camera know INDIGO's names only. A dialect turns received
bytes into messages of INDIGO's shape, and requests into bytes. It lives as long as one connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from allsky360.camera.indigo.wire import MessageStream, Value, encode_change, encode_get_properties


class Dialect(Protocol):
    """How to talk to a server."""

    @property
    def family(self) -> str:
        """Name of the server's family, for messages to people."""
        ...

    @property
    def skipped(self) -> int:
        """Messages that could not be read."""
        ...

    def feed(self, data: bytes) -> Sequence[Mapping[str, Any]]:
        """Return the messages completed by ``data``, in INDIGO's shape and names."""
        ...

    def ask(self, client: str, device: str = "", name: str = "") -> bytes:
        """Ask for definitions: all, of one device, or of one property."""
        ...

    def change(self, kind: str, device: str, name: str, values: Mapping[str, Value]) -> bytes:
        """Request a change of a property."""
        ...

    def prepare(self, device: str) -> bytes:
        """Return what a camera must be told, once connected, before it delivers images."""
        ...

    def take_image(self, url: str) -> bytes | None:
        """Return an image that came along with its message; None where ``url`` is to be fetched."""
        ...


class IndigoDialect:
    """INDIGO: JSON, images by HTTP."""

    family = "INDIGO"

    def __init__(self) -> None:
        self._stream = MessageStream()

    @property
    def skipped(self) -> int:
        """Messages that could not be read."""
        return self._stream.skipped

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages completed by ``data``."""
        return self._stream.feed(data)

    def ask(self, client: str, device: str = "", name: str = "") -> bytes:
        """Ask for definitions."""
        return encode_get_properties(client, device, name)

    def change(self, kind: str, device: str, name: str, values: Mapping[str, Value]) -> bytes:
        """Request a change of a property."""
        return encode_change(kind, device, name, values)

    def prepare(self, device: str) -> bytes:
        """Nothing: an address of the image comes with every exposure."""
        return b""

    def take_image(self, url: str) -> bytes | None:
        """Return None: images are fetched."""
        return None
