"""INDI's XML on a TCP stream: bytes to elements. Pure, no I/O.

There is no document, only elements one after another, so that they are put into a root of our own.
What is read is freed at once; what cannot be XML is skipped up to the next element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

MAX_ELEMENT_BYTES = 1 << 30
"""Longest element: an image of 2^28 pixels of 16 bits in base64 is two thirds of it."""

_START = re.compile(rb"<(?:(?:def|set|new)\w+Vector|delProperty|message|getProperties)[\s/>]")


class ElementStream:
    """Collects received bytes and returns the complete top-level elements in them."""

    def __init__(self) -> None:
        self.skipped = 0
        self._restart()

    def _restart(self) -> None:
        self._parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
        self._parser.feed(b"<stream>")
        self._depth = 0
        self._root: Element | None = None
        self._unfinished = 0

    def feed(self, data: bytes) -> list[Element]:
        """Return the elements completed by ``data``, oldest first."""
        found: list[Element] = []
        for part in _parts(data):
            if self._depth and _START.match(part):  # these never nest: the one before was cut off
                self._skip()
            self._unfinished += len(part)
            try:
                if b"<!" in part:  # no declaration belongs here, and entities can explode
                    raise ParseError("a declaration")
                self._parser.feed(part)
                self._collect(found)
            except ParseError:
                self._skip()
            if self._unfinished > MAX_ELEMENT_BYTES:
                self._skip()
        return found

    def _skip(self) -> None:
        self.skipped += 1
        self._restart()

    def _collect(self, found: list[Element]) -> None:
        for event, element in cast(Iterator[tuple[str, Element]], self._parser.read_events()):
            if event == "start":
                if self._root is None:
                    self._root = element
                else:
                    self._depth += 1
                continue
            self._depth -= 1
            if self._depth == 0 and self._root is not None:
                found.append(element)
                self._root.remove(element)  # memory stays that of one element
                self._unfinished = 0


def _parts(data: bytes) -> list[bytes]:
    """Cut where an element begins: a fault costs what it stands in, and not what follows."""
    edges = [0, *(m.start() for m in _START.finditer(data) if m.start()), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]
