"""INDIGO's JSON dialect: requests in, events out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from allsky360.simulator.properties import (
    Define,
    Delete,
    Event,
    GetProperties,
    Item,
    Kind,
    Message,
    NewVector,
    Request,
    Update,
    Vector,
)

MAX_MESSAGE = 256 * 1024  # INDIGO closes the connection beyond this
PROTOCOL_VERSION = 512
REQUEST_KINDS: dict[str, Kind] = {
    "newTextVector": "Text",
    "newNumberVector": "Number",
    "newSwitchVector": "Switch",
}
_HUGE = 1e300  # keeps rounding from overflowing to infinity
_BLANK = b" \t\r\n"


class WireError(Exception):
    """What the client sent is no message; the connection is to be closed."""


class JsonReader:
    """Cut a byte stream into JSON objects, whatever its segmentation and newlines."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests completed by ``data``, in order.

        Raises
        ------
        WireError
            On a syntax error, bytes outside of objects, or an object over 256 KiB.
        """
        self._buffer += data
        while (raw := self._next_object()) is not None:
            request = parse(raw)
            if request is not None:
                yield request
        if len(self._buffer) > MAX_MESSAGE:
            raise WireError("message longer than 256 KiB")

    def _next_object(self) -> bytes | None:
        for position in range(self._scanned, len(self._buffer)):
            byte = self._buffer[position]
            if self._depth == 0 and byte != 0x7B:  # between objects
                if byte not in _BLANK:
                    raise WireError(f"unexpected byte {byte:#04x} between messages")
            elif self._in_string:
                if self._escaped:
                    self._escaped = False
                elif byte == 0x5C:
                    self._escaped = True
                elif byte == 0x22:
                    self._in_string = False
            elif byte == 0x22:
                self._in_string = True
            elif byte in b"{[":
                self._depth += 1
            elif byte in b"}]":
                self._depth -= 1
                if self._depth == 0:
                    raw = bytes(self._buffer[: position + 1])
                    del self._buffer[: position + 1]
                    self._scanned = 0
                    return raw
        self._scanned = len(self._buffer)
        return None


def parse(raw: bytes | str) -> Request | None:
    """Read one JSON object; None when it is well-formed but nothing we know.

    Raises
    ------
    WireError
        On a syntax error.
    """
    try:
        document = json.loads(
            raw if isinstance(raw, str) else raw.decode("utf-8", errors="replace"), strict=False
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        return None
    for key, body in document.items():
        if not isinstance(body, dict):
            continue
        if key == "getProperties":
            if body.get("version") == 0:  # an INDIGO server stays silent
                return None
            return GetProperties(_word(body, "device"), _word(body, "name"))
        if key in REQUEST_KINDS:
            return NewVector(
                REQUEST_KINDS[key], _word(body, "device"), _word(body, "name"), _values(body)
            )
    return None


def _word(body: dict[str, Any], key: str) -> str:
    value = body.get(key, "")
    return value if isinstance(value, str) else ""


def _values(body: dict[str, Any]) -> dict[str, object]:
    items = body.get("items")
    if not isinstance(items, list):
        return {}
    return {
        item["name"]: item.get("value")
        for item in items
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }


def encode(event: Event) -> bytes:
    """Write an event as one JSON object without delimiter, fields in INDIGO's order."""
    return json.dumps(document(event), ensure_ascii=False, allow_nan=False).encode(errors="replace")


def document(event: Event) -> dict[str, Any]:
    """Return the JSON document of an event."""
    match event:
        case Define(vector):
            return {f"def{vector.kind}Vector": _definition(vector)}
        case Update(vector, message):
            body: dict[str, Any] = {
                "device": vector.device,
                "name": vector.name,
                "state": vector.state,
            }
            if message:
                body["message"] = message
            body["items"] = [_item(vector, item) for item in event.items()]
            return {f"set{vector.kind}Vector": body}
        case Delete(device, name):
            return {
                "deleteProperty": {"device": device, "name": name} if name else {"device": device}
            }
        case Message(words):
            return {"message": words}


def _definition(vector: Vector) -> dict[str, Any]:
    body: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "device": vector.device,
        "name": vector.name,
        "group": vector.group,
        "label": vector.label or vector.name,
    }
    if vector.kind not in ("Light", "BLOB"):
        body["perm"] = vector.perm
    body["state"] = vector.state
    if vector.kind == "Switch":
        body["rule"] = vector.rule
    body["items"] = [_item(vector, item, define=True) for item in vector.items.values()]
    return body


def _item(vector: Vector, item: Item, define: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": item.name}
    if define:
        entry["label"] = item.label or item.name
    if vector.kind == "Number":
        if define:
            entry |= {
                "min": plain(item.minimum),
                "max": plain(item.maximum),
                "step": plain(item.step),
                "format": item.format,
            }
        if vector.perm != "ro":
            entry["target"] = plain(item.target)
        entry["value"] = plain(float(item.value))
    elif vector.kind == "BLOB":
        if vector.state == "Ok" and item.value:
            entry["value"] = item.value
    else:
        entry["value"] = item.value
    return entry


def plain(value: float) -> float | int:
    """Round to INDIGO's 10 significant digits; never NaN or infinite on the wire."""
    if not math.isfinite(value):
        return 0
    rounded = float(f"{min(max(value, -_HUGE), _HUGE):.10g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
