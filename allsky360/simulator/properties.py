"""The INDIGO property model: vectors of items, requests from clients, events to clients.

Names and rules are those of the protocol reference: numbers are clamped and never refused,
switch requests clear the vector first, values of the wrong type become 0 or off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["Text", "Number", "Switch", "Light", "BLOB"]
State = Literal["Idle", "Ok", "Busy", "Alert"]
Permission = Literal["ro", "rw", "wo"]
Rule = Literal["OneOfMany", "AtMostOne", "AnyOfMany"]
Value = str | float | bool


@dataclass
class Item:
    """One named value; ``target`` is what was asked for, ``value`` what is (numbers only).

    The value of a BLOB item is its URL, empty while there is no image.
    """

    name: str
    value: Value
    label: str = ""
    minimum: float = 0.0
    maximum: float = 0.0
    step: float = 0.0
    target: float = 0.0
    format: str = "%g"


@dataclass
class Vector:
    """A property: items that change together and share a state."""

    device: str
    name: str
    kind: Kind
    items: dict[str, Item]
    group: str = "Camera"
    label: str = ""
    perm: Permission = "rw"
    state: State = "Ok"
    rule: Rule = "OneOfMany"

    def number(self, item: str) -> float:
        """Return a number item's value."""
        return float(self.items[item].value)

    def text(self, item: str) -> str:
        """Return a text item's value."""
        return str(self.items[item].value)

    def selected(self) -> str | None:
        """Return the first switch item that is on, None when none is."""
        return next((i.name for i in self.items.values() if i.value is True), None)

    def snapshot(self) -> Vector:
        """Return a copy that later changes do not reach."""
        items = {name: Item(**vars(item)) for name, item in self.items.items()}
        return Vector(**{**vars(self), "items": items})


def text(name: str, value: str, label: str = "") -> Item:
    """Return a text item."""
    return Item(name, value, label or name)


def switch(name: str, on: bool = False, label: str = "") -> Item:
    """Return a switch item."""
    return Item(name, on, label or name)


def number(
    name: str, value: float, low: float, high: float, step: float = 1.0, fmt: str = "%g"
) -> Item:
    """Return a number item with its limits; the target starts at the value."""
    return Item(name, float(value), name, low, high, step, float(value), fmt)


def by_name(items: Iterable[Item]) -> dict[str, Item]:
    """Key items by name, in order."""
    return {item.name: item for item in items}


# -- what clients ask -----------------------------------------------------------------------------


@dataclass(frozen=True)
class GetProperties:
    """Ask for definitions, of everything or of one device or property."""

    device: str = ""
    name: str = ""
    switch_version: str = ""


@dataclass(frozen=True)
class NewVector:
    """Ask for new values."""

    kind: Kind
    device: str
    name: str
    values: Mapping[str, object]


@dataclass(frozen=True)
class EnableBlob:
    """XML only: how this connection wants images (``Never``, ``Also``, ``Only``, ``URL``)."""

    device: str
    name: str
    mode: str


Request = GetProperties | NewVector | EnableBlob


# -- what clients are told ------------------------------------------------------------------------


@dataclass(frozen=True)
class Define:
    """A property exists, with its limits and values."""

    vector: Vector


@dataclass(frozen=True)
class Update:
    """State and values of a property; ``only`` names the items to send (None: all of them)."""

    vector: Vector
    message: str = ""
    only: frozenset[str] | None = None

    def items(self) -> list[Item]:
        """Return the items to send."""
        if self.vector.perm == "wo":
            return []
        return [i for i in self.vector.items.values() if self.only is None or i.name in self.only]


@dataclass(frozen=True)
class Delete:
    """A property is gone; without a name the whole device is."""

    device: str
    name: str = ""


@dataclass(frozen=True)
class Message:
    """Words for a person."""

    text: str
    device: str = ""


Event = Define | Update | Delete | Message


# -- applying requests ----------------------------------------------------------------------------


def as_number(value: object) -> float:
    """Read a number the way INDIGO does: anything that is not one is taken as 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return float(value)


def apply_numbers(vector: Vector, values: Mapping[str, object]) -> None:
    """Clamp and store requested numbers as both target and value; unlisted items stay."""
    for name, value in values.items():
        item = vector.items.get(name)
        if item is not None:
            item.value = item.target = min(max(as_number(value), item.minimum), item.maximum)


def apply_switches(vector: Vector, values: Mapping[str, object]) -> None:
    """Store requested switches; exclusive vectors are cleared first, whatever is listed.

    A request that lists only unknown or false items therefore leaves none selected.
    """
    if vector.rule != "AnyOfMany":
        for item in vector.items.values():
            item.value = False
    for name, value in values.items():
        if name not in vector.items:
            continue
        if value is True and vector.rule != "AnyOfMany":
            for other in vector.items.values():
                other.value = False
        vector.items[name].value = value is True


def apply_texts(vector: Vector, values: Mapping[str, object]) -> None:
    """Store requested texts."""
    for name, value in values.items():
        item = vector.items.get(name)
        if item is not None and isinstance(value, str):
            item.value = value


@dataclass
class PropertyTable:
    """The properties a device shows now, in the order they were defined."""

    vectors: dict[str, Vector] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Vector:
        return self.vectors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.vectors

    def add(self, vector: Vector) -> Vector:
        """Show a property."""
        self.vectors[vector.name] = vector
        return vector

    def accepts(self, request: NewVector) -> Vector | None:
        """Return the property a request may change, None when INDIGO would drop it silently."""
        vector = self.vectors.get(request.name)
        if vector is None or vector.perm == "ro" or vector.kind != request.kind:
            return None
        return vector
