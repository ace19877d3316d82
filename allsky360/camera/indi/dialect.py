"""INDI 1.7 in INDIGO's words.

Where INDI behaves otherwise, the messages are made to say what INDIGO would say: an image that
comes along is announced by an address of ours; it is Busy while its exposure is; an exposure that
ends Idle was aborted and counts as Alert; FITS is the format of a camera that offers no choice.
Timeline and faults of a real ``indiserver``: reference/indigo-protocol.md sections 8.3 to 8.5.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from allsky360.camera.errors import BadProperty, NoImage, TruncatedImage, UnsupportedImage
from allsky360.camera.indi.names import COMPRESSION, CONTROL_ITEMS, CONTROLS, TABLE, Names
from allsky360.camera.indi.stream import ElementStream
from allsky360.camera.indigo.wire import Value

_KINDS = ("Text", "Number", "Switch", "Light", "BLOB")
_INLINE = "indi-blob:"
_INDI = {names.name: (indi, names) for indi, names in TABLE.items()}
MAX_UNPACKED = 1 << 30


class IndiDialect:
    """INDI 1.7: XML, images within it."""

    family = "INDI"

    def __init__(self) -> None:
        self._stream = ElementStream()
        self._images: dict[str, tuple[Element, str]] = {}
        self._count = 0
        #: (device, INDIGO's name) of what lies within a property of many
        self._controls: set[tuple[str, str]] = set()
        self._compression: dict[str, tuple[str, str]] = {}
        self._formats: set[str] = set()
        self._exposing: set[str] = set()

    @property
    def skipped(self) -> int:
        """Elements that could not be read."""
        return self._stream.skipped

    # -- from the server ----------------------------------------------------------------------

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages completed by ``data``, in INDIGO's shape and names."""
        return [m for element in self._stream.feed(data) for m in self._translate(element)]

    def _translate(self, element: Element) -> list[dict[str, Any]]:
        tag, device = element.tag, element.get("device", "")
        if tag == "message":
            return [{"message": element.get("message", ""), "device": device}]
        if tag == "delProperty":
            return self._deleted(element, device)
        # indiserver passes on what other clients ask: new* and getProperties are not for us
        if tag[:3] not in ("def", "set") or tag[3:-6] not in _KINDS:
            return []
        kind, indi = tag[3:-6], element.get("name", "")
        if indi == CONTROLS:
            return self._of_controls(element, device, tag)
        names = TABLE.get(indi, Names(indi))
        body = _head(element, device, names.name)
        if kind == "BLOB":
            body["items"] = [self._blob_item(tag, names, e) for e in element]
        else:
            body["items"] = [_item(kind, names.item(e.get("name", "")), e) for e in element]
        message = {tag: body}
        if names.name == "CCD_EXPOSURE":
            return self._of_exposure(message, body, device)
        if names.name == "CCD_IMAGE" and tag == "defBLOBVector":
            return [message, *self._format_for(device)]
        if names.name == "CCD_IMAGE_FORMAT":
            self._formats.add(device)
        if indi == COMPRESSION[0][0] and tag.startswith("def"):
            self._note_compression(device, element)
        return [message]

    def _deleted(self, element: Element, device: str) -> list[dict[str, Any]]:
        indi = element.get("name", "")
        body: dict[str, Any] = {"device": device}
        if not indi:
            self._controls = {c for c in self._controls if c[0] != device}
            self._compression.pop(device, None)
            self._formats.discard(device)
            return [{"deleteProperty": body}]
        if indi == CONTROLS:
            gone = [name for owner, name in self._controls if owner == device]
            return [{"deleteProperty": {**body, "name": name}} for name in sorted(gone)]
        return [{"deleteProperty": {**body, "name": TABLE.get(indi, Names(indi)).name}}]

    def _of_exposure(
        self, message: dict[str, Any], body: dict[str, Any], device: str
    ) -> list[dict[str, Any]]:
        state = body["state"]
        begun = state == "Busy" and device not in self._exposing
        if "setNumberVector" in message and state == "Idle" and device in self._exposing:
            body["state"] = "Alert"  # so it ends when it was aborted
            body["message"] = body["message"] or "it was aborted"
        if state == "Busy":
            self._exposing.add(device)
        else:
            self._exposing.discard(device)
        if not begun:
            return [message]
        image = {"device": device, "name": "CCD_IMAGE", "state": "Busy", "items": []}
        return [message, {"setBLOBVector": image}]

    def _of_controls(self, element: Element, device: str, tag: str) -> list[dict[str, Any]]:
        """Gain and offset of drivers that keep them among many."""
        found = []
        for child in element:
            if (names := CONTROL_ITEMS.get(child.get("name", ""))) is None:
                continue
            self._controls.add((device, names[0]))
            body = _head(element, device, names[0])
            body["items"] = [_item("Number", names[1], child)]
            found.append({tag: body})
        return found

    def _format_for(self, device: str) -> list[dict[str, Any]]:
        """Offer FITS where the driver offers no choice: it is what all of them deliver."""
        if device in self._formats:
            return []
        item = {"name": "FITS", "label": "FITS", "value": True}
        body = {"device": device, "name": "CCD_IMAGE_FORMAT", "state": "Ok", "perm": "rw"}
        return [{"defSwitchVector": {**body, "rule": "OneOfMany", "items": [item]}}]

    def _note_compression(self, device: str, element: Element) -> None:
        items = {e.get("name", "") for e in element}
        for name, item in COMPRESSION:
            if item in items:
                self._compression[device] = (name, item)
                return

    def _blob_item(self, tag: str, names: Names, element: Element) -> dict[str, Any]:
        item = {"name": names.item(element.get("name", "")), "label": element.get("label", "")}
        if tag == "defBLOBVector":
            return {**item, "value": ""}
        self._count += 1
        url = f"{_INLINE}{self._count}"
        self._images = {url: (element, element.get("format", ""))}  # an older one nobody took
        return {**item, "value": url}

    def take_image(self, url: str) -> bytes | None:
        """Return the image announced as ``url``: decoded, unpacked, cut to its length.

        Raises
        ------
        NoImage, TruncatedImage, UnsupportedImage
        """
        if not url.startswith(_INLINE):
            return None
        found = self._images.pop(url, None)
        if found is None:
            raise NoImage("the image was replaced by a newer one before it was read.")
        element, ending = found
        return _unpacked(_decoded(element), ending, element)

    # -- to the server ------------------------------------------------------------------------

    def ask(self, client: str, device: str = "", name: str = "") -> bytes:
        """Ask for definitions: all, of one device, or of one property."""
        words = ["<getProperties version='1.7'"]
        if device:
            words.append(f"device={quoteattr(device)}")
        if name:
            words.append(f"name={quoteattr(_INDI.get(name, (name, None))[0])}")
        return (" ".join(words) + "/>\n").encode()

    def change(self, kind: str, device: str, name: str, values: Mapping[str, Value]) -> bytes:
        """Request a change of a property."""
        if not values:
            raise BadProperty(f"nothing to set in {device}.{name}.")
        if (device, name) in self._controls:
            indi = CONTROLS
            named = {k: v for k, (_, v) in CONTROL_ITEMS.items()}
            names = Names(CONTROLS, {k: v for k, v in named.items() if CONTROL_ITEMS[k][0] == name})
        else:
            indi, names = _INDI.get(name, (name, Names(name)))
        children = "".join(
            f"<one{kind} name={quoteattr(names.indi_item(item))}>{_written(value)}</one{kind}>"
            for item, value in values.items()
        )
        vector = f"new{kind}Vector"
        return (
            f"<{vector} device={quoteattr(device)} name={quoteattr(indi)}>{children}</{vector}>\n"
        ).encode()

    def prepare(self, device: str) -> bytes:
        """Ask for images along with everything else, and uncompressed."""
        lines = f"<enableBLOB device={quoteattr(device)} name='CCD1'>Also</enableBLOB>\n".encode()
        if device in self._compression:
            name, item = self._compression[device]
            lines += self.change("Switch", device, name, {item: True})
        return lines


def _head(element: Element, device: str, name: str) -> dict[str, Any]:
    return {
        "device": device,
        "name": name,
        "label": element.get("label", ""),
        "state": element.get("state", ""),
        "perm": element.get("perm", ""),
        "rule": element.get("rule", ""),
        "message": element.get("message", ""),
    }


def _item(kind: str, name: str, element: Element) -> dict[str, Any]:
    text = (element.text or "").strip()
    item: dict[str, Any] = {"name": name, "label": element.get("label", "")}
    if kind == "Number":
        item["value"] = _number(text)
        for key in ("min", "max"):
            if element.get(key) is not None:
                item[key] = _number(element.get(key, ""))
    elif kind == "Switch":
        item["value"] = text == "On"
    else:
        item["value"] = text
    return item


def _number(text: str) -> float | None:
    """Read a number, also one of degrees or hours with minutes and seconds; None for no number."""
    parts = text.replace(";", ":").split(":")
    try:
        values = [float(p) for p in parts]
    except ValueError:
        return None
    sign = -1.0 if text.lstrip().startswith("-") else 1.0
    total = sum(abs(v) / 60.0**k for k, v in enumerate(values[:3]))
    return sign * total if math.isfinite(total) else None


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "On" if value else "Off"
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            raise BadProperty(f"{value} cannot be sent to an INDI server.", mend="Send a number.")
        return f"{value:.12g}"
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _decoded(element: Element) -> bytes:
    try:
        data = base64.b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TruncatedImage(f"the image is not whole: {error}.") from error
    length = _number(element.get("len") or element.get("size") or "")
    if not element.get("format", "").endswith(".z") and length is not None:
        if len(data) < length:
            raise TruncatedImage(f"{len(data)} of {length:.0f} bytes of the image have come.")
        data = data[: int(length)]  # drivers pad with zeros
    return data


def _unpacked(data: bytes, ending: str, element: Element) -> bytes:
    if ending.endswith(".fz"):
        raise UnsupportedImage(
            "the camera compresses its images (.fz).", mend="Switch CCD_COMPRESSION off there."
        )
    if not ending.endswith(".z"):
        return data
    size = int(_number(element.get("size", "")) or 0)
    if not 0 < size <= MAX_UNPACKED:
        raise UnsupportedImage(f"the image claims to unpack to {size} bytes.")
    try:
        worker = zlib.decompressobj()
        unpacked = worker.decompress(data, size)
    except zlib.error as error:
        raise TruncatedImage(f"the image does not unpack: {error}.") from error
    if len(unpacked) != size:
        raise TruncatedImage(f"the image unpacks to {len(unpacked)} of {size} bytes.")
    return unpacked
