"""INDIGO's JSON on a raw TCP stream: bytes to messages, messages to bytes. Pure, no I/O.

The server writes objects back to back without delimiter, does not escape everything, and cuts
text bytewise; it reads one line at a time with a small parser that blocks on some valid JSON.
Both sides' rules: reference/indigo-protocol.md sections 1.2, 1.5 and 1.6.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from allsky360.camera.errors import BadProperty

MAX_PENDING_CHARS = 1 << 20
MAX_LINE_BYTES = 250 * 1024  # the server closes the connection above 256 KiB

_KINDS = (
    "defTextVector|defNumberVector|defSwitchVector|defLightVector|defBLOBVector|"
    "setTextVector|setNumberVector|setSwitchVector|setLightVector|setBLOBVector|"
    "deleteProperty|message"
)
_START = re.compile(r'\{\s*"(?:' + _KINDS + r')"\s*:')
_SPACE = re.compile(r"\s*")
_BAD_ESCAPE = re.compile(r'\\(?!["\\/bfnrtu])')
_BARE_WORD = re.compile(r":\s*[-+]?(?:inf(?:inity)?|nan)\b", re.IGNORECASE)

Value = str | float | int | bool


class MessageStream:
    """Collects received bytes and returns the complete messages in them.

    A message that cannot be parsed is repaired where the sender's known faults explain it
    (unescaped backslash, bare ``inf`` or ``nan``), else skipped and counted in :attr:`skipped`;
    the stream goes on with the next message.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._json = json.JSONDecoder(strict=False)
        self._pending = ""
        self.skipped = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages completed by ``data``, oldest first."""
        self._pending += self._decoder.decode(data)
        text, at = self._pending, 0
        messages: list[dict[str, Any]] = []
        while True:
            at = _end_of_space(text, at)
            if at >= len(text):
                break
            try:
                message, at = self._json.raw_decode(text, at)
            except (ValueError, RecursionError):
                following = _START.search(text, at + 1)
                if following is None:  # incomplete, or bad and the last so far: wait for more
                    break
                self._salvage(text[at : following.start()], messages)
                at = following.start()
                continue
            if isinstance(message, dict):
                messages.append(message)
        self._pending = text[at:]
        if len(self._pending) > MAX_PENDING_CHARS:
            self._pending = ""
            self.skipped += 1
        return messages

    def _salvage(self, chunk: str, messages: list[dict[str, Any]]) -> None:
        repaired = _BARE_WORD.sub(": null", _BAD_ESCAPE.sub(r"\\\\", chunk))
        try:
            message, _ = self._json.raw_decode(repaired)
        except (ValueError, RecursionError):
            self.skipped += 1
            return
        if isinstance(message, dict):
            messages.append(message)
        else:
            self.skipped += 1


def _end_of_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def encode_number(value: float) -> str:
    """Write a number as the server's parser reads it: no ``+`` in the exponent, finite."""
    if not math.isfinite(value):
        raise BadProperty(f"{value} cannot be sent to an INDIGO server.", mend="Send a number.")
    return f"{value:.10g}".replace("e+", "e")


def _encode_text(value: str) -> str:
    bad = [c for c in value if c == "\\" or (ord(c) < 32 and c not in "\n\r\t")]
    if bad:
        raise BadProperty(
            f"the text {value!r} holds {bad[0]!r}, which the INDIGO protocol cannot carry.",
            mend="Leave backslashes and control characters out.",
        )
    return json.dumps(value, ensure_ascii=False)


def encode_value(value: Value) -> str:
    """Write one item value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return encode_number(float(value))
    return _encode_text(value)


def encode_get_properties(client: str, device: str = "", name: str = "") -> bytes:
    """Ask for definitions: all, of one device, or of one property."""
    fields = ['"version":512', f'"client":{_encode_text(client)}']
    if device:
        fields.append(f'"device":{_encode_text(device)}')
    if name:
        fields.append(f'"name":{_encode_text(name)}')
    return ('{"getProperties":{' + ",".join(fields) + "}}\n").encode()


def encode_change(kind: str, device: str, name: str, values: Mapping[str, Value]) -> bytes:
    """Write a ``new<kind>Vector`` request.

    Parameters
    ----------
    kind
        ``Text``, ``Number`` or ``Switch``.
    values
        Item name to value; never empty, since an empty list blocks the server's parser for good.
    """
    if not values:
        raise BadProperty(f"nothing to set in {device}.{name}.")
    items = ",".join(_item(item, value) for item, value in values.items())
    line = (
        f'{{"new{kind}Vector":{{"device":{_encode_text(device)},"name":{_encode_text(name)},'
        f'"items":[{items}]}}}}\n'
    ).encode()
    if len(line) > MAX_LINE_BYTES:
        raise BadProperty(f"the request for {device}.{name} is longer than {MAX_LINE_BYTES} bytes.")
    return line


def _item(name: str, value: Value) -> str:
    return f'{{"name":{_encode_text(name)},"value":{encode_value(value)}}}'


def kind_of(message: Mapping[str, Any], kinds: Iterable[str]) -> str | None:
    """Return the first of ``kinds`` that is a key of ``message``."""
    return next((kind for kind in kinds if kind in message), None)
