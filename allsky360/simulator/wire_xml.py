"""INDIGO's XML 2.0 dialect, which real INDIGO servers and clients speak."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from allsky360.simulator.properties import (
    Define,
    Delete,
    EnableBlob,
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
from allsky360.simulator.wire_json import MAX_MESSAGE, REQUEST_KINDS, WireError, plain

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
SWITCH_PROTOCOL = b"<switchProtocol version='2.0'/>\n"

BlobContent = Callable[[str], bytes | None]
"""Looks up the bytes behind a blob URL, for clients that want images inline."""


class XmlReader:
    """Read top-level elements from a byte stream that has no document root.

    C clients send opening tag, children and closing tag in separate writes; the parser is
    incremental, and finished elements are removed so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(["start", "end"])
        self._parser.feed(b"<stream>")
        self._root: ElementTree.Element | None = None
        self._depth = 0
        self._pending = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests completed by ``data``, in order.

        Raises
        ------
        WireError
            On malformed XML, or an element over 256 KiB.
        """
        self._pending += len(data)
        try:
            self._parser.feed(data)
            for what, element in cast(Iterator[tuple[str, Any]], self._parser.read_events()):
                request = self._event(what, element)
                if request is not None:
                    yield request
        except ElementTree.ParseError as error:
            raise WireError(f"not XML: {error}") from error
        if self._pending > MAX_MESSAGE:
            raise WireError("element longer than 256 KiB")

    def _event(self, what: str, element: ElementTree.Element) -> Request | None:
        if what == "start":
            if self._root is None:
                self._root = element
            self._depth += 1
            return None
        self._depth -= 1
        if self._depth != 1:
            return None
        self._pending = 0
        request = request_of(element)
        assert self._root is not None
        self._root.clear()
        return request


def request_of(element: ElementTree.Element) -> Request | None:
    """Turn one top-level element into a request; None for what we do not know."""
    device, name = element.get("device", ""), element.get("name", "")
    if element.tag == "getProperties":
        return GetProperties(device, name, element.get("switch", ""))
    if element.tag == "enableBLOB":
        return EnableBlob(device, name, (element.text or "").strip())
    if element.tag not in REQUEST_KINDS:
        return None
    kind = REQUEST_KINDS[element.tag]
    values = {
        child.get("name", ""): _value(kind, child.text or "")
        for child in element
        if child.tag == f"one{kind}"
    }
    return NewVector(kind, device, name, values)


def _value(kind: Kind, text: str) -> object:
    if kind == "Switch":
        return text.strip() == "On"
    if kind == "Number":
        try:
            return float(text)
        except ValueError:
            return 0.0
    return text.strip()


def encode(event: Event, blob_mode: str = "Never", content: BlobContent | None = None) -> bytes:
    """Write an event as one XML element and a newline.

    Parameters
    ----------
    event
        What to tell.
    blob_mode
        How the client wants images: without it asking for them, it hears nothing of them.
    content
        Looks up image bytes for ``Also``/``Only``.
    """
    match event:
        case Define(vector):
            return _definition(vector)
        case Update(vector):
            if vector.kind == "BLOB" and blob_mode == "Never":
                return b""
            return _update(event, blob_mode, content)
        case Delete(device, name):
            named = f" name={_quoted(name)}" if name else ""
            return f"<delProperty device={_quoted(device)}{named}/>\n".encode()
        case Message(words, device):
            named = f" device={_quoted(device)}" if device else ""
            return f"<message{named} message={_quoted(words)}/>\n".encode()


def _definition(vector: Vector) -> bytes:
    perm = "" if vector.kind in ("Light", "BLOB") else f" perm='{vector.perm}'"
    if vector.kind == "BLOB":
        perm = " perm='ro'"
    rule = f" rule='{vector.rule}'" if vector.kind == "Switch" else ""
    tag = f"def{vector.kind}"
    lines = [
        f"<{tag}Vector device={_quoted(vector.device)} name={_quoted(vector.name)}"
        f" group={_quoted(vector.group)} label={_quoted(vector.label or vector.name)}"
        f"{perm} state='{vector.state}'{rule}>"
    ]
    for item in vector.items.values():
        names = f"name={_quoted(item.name)} label={_quoted(item.label or item.name)}"
        if vector.kind == "BLOB":
            lines.append(f"<{tag} {names}/>")
            continue
        if vector.kind == "Number":
            names += (
                f" format={_quoted(item.format)} min='{plain(item.minimum):.10g}'"
                f" max='{plain(item.maximum):.10g}' step='{plain(item.step):.10g}'"
                f"{_target(vector, item)}"
            )
        lines.append(f"<{tag} {names}>{_text(vector, item)}</{tag}>")
    lines.append(f"</{tag}Vector>")
    return ("\n".join(lines) + "\n").encode()


def _update(event: Update, blob_mode: str, content: BlobContent | None) -> bytes:
    vector = event.vector
    message = f" message={_quoted(event.message)}" if event.message else ""
    chunks = [
        f"<set{vector.kind}Vector device={_quoted(vector.device)} name={_quoted(vector.name)}"
        f" state='{vector.state}'{message}>\n".encode()
    ]
    for item in event.items():
        if vector.kind == "BLOB":
            if vector.state == "Ok" and item.value:
                chunks.append(_blob(item, blob_mode, content))
            continue
        extra = _target(vector, item) if vector.kind == "Number" else ""
        tag = f"one{vector.kind}"
        chunks.append(
            f"<{tag} name={_quoted(item.name)}{extra}>{_text(vector, item)}</{tag}>\n".encode()
        )
    chunks.append(f"</set{vector.kind}Vector>\n".encode())
    return b"".join(chunks)


def _blob(item: Item, blob_mode: str, content: BlobContent | None) -> bytes:
    url = str(item.value)
    if blob_mode == "URL" or content is None:
        return f"<oneBLOB name={_quoted(item.name)} path={_quoted(url)}/>\n".encode()
    data = content(url) or b""
    suffix = url[url.rfind(".") :] if "." in url else ""
    head = f"<oneBLOB name={_quoted(item.name)} size='{len(data)}' format={_quoted(suffix)}>\n"
    return head.encode() + base64.b64encode(data) + b"\n</oneBLOB>\n"


def _target(vector: Vector, item: Item) -> str:
    return "" if vector.perm == "ro" else f" target='{plain(item.target):.10g}'"


def _text(vector: Vector, item: Item) -> str:
    if vector.kind == "Number":
        return f"{plain(float(item.value)):.10g}"
    if vector.kind == "Switch":
        return "On" if item.value is True else "Off"
    return _escaped(str(item.value))


def _printable(words: str) -> str:
    """Replace what no XML document may hold: control bytes, surrogates, two non-characters."""
    return _NO_XML.sub(" ", words)


def _escaped(words: str) -> str:
    return _printable(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(words: str) -> str:
    return quoteattr(_printable(words))
