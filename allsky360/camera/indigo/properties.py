"""The client's picture of the server: devices and their properties, kept by messages.

Definitions are upserts (they are broadcast again whenever any client asks), updates are merged
item by item (newer servers send only what changed), and deletions may come twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from allsky360.camera.indigo.wire import kind_of

ChangeKind = Literal["def", "set", "delete", "message"]
_VECTORS = ("Text", "Number", "Switch", "Light", "BLOB")
_DEFS = {f"def{kind}Vector": kind for kind in _VECTORS}
_SETS = {f"set{kind}Vector": kind for kind in _VECTORS}
STATES = ("Idle", "Ok", "Busy", "Alert")


@dataclass
class Item:
    """One item of a property.

    ``value`` is a float (number), str (text, light, BLOB URL; "" when the BLOB has none) or bool
    (switch). ``target``, ``minimum``, ``maximum`` are for numbers; limits are None when the server
    gives none (both zero).
    """

    name: str
    label: str
    value: str | float | bool
    target: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def number(self) -> float:
        """The value as a number, 0 for text that is none."""
        return _number(self.value, 0.0)


@dataclass
class Property:
    """One property vector of a device."""

    device: str
    name: str
    kind: str
    state: str
    perm: str = "rw"
    rule: str = ""
    label: str = ""
    items: dict[str, Item] = field(default_factory=dict)

    @property
    def writable(self) -> bool:
        """Whether a client may request a change."""
        return self.perm != "ro" and self.kind in ("Text", "Number", "Switch")

    def number(self, item: str) -> float | None:
        """Return an item's value as a number, None when there is no such item."""
        found = self.items.get(item)
        return None if found is None else found.number

    def text(self, item: str) -> str:
        """Return an item's value as text, "" when there is no such item."""
        found = self.items.get(item)
        return "" if found is None else str(found.value)

    def on(self, item: str) -> bool:
        """Whether a switch item is on."""
        found = self.items.get(item)
        return found is not None and found.value is True

    def selected(self) -> str:
        """Return the name of the first switch item that is on, "" when none is."""
        return next((i.name for i in self.items.values() if i.value is True), "")


@dataclass(frozen=True)
class Change:
    """What one message did to the store.

    ``name`` is "" when a whole device went. ``item_names`` are the items the message carried;
    ``known`` is False for an update of something never defined.
    """

    kind: ChangeKind
    device: str = ""
    name: str = ""
    state: str = ""
    message: str = ""
    item_names: frozenset[str] = frozenset()
    known: bool = True


class PropertyStore:
    """Every device and property the server has defined."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Property]] = {}

    def get(self, device: str, name: str) -> Property | None:
        """Return a property, None when it is not defined."""
        return self.devices.get(device, {}).get(name)

    def apply(self, message: Mapping[str, Any]) -> Change | None:
        """Take one message in; return what it changed, None for a message of no known kind."""
        if (key := kind_of(message, _SETS)) is not None:
            return self._update(_SETS[key], message[key])
        if (key := kind_of(message, _DEFS)) is not None:
            return self._define(_DEFS[key], message[key])
        if "deleteProperty" in message:
            return self._delete(message["deleteProperty"])
        if isinstance(message.get("message"), str):
            device = message.get("device")
            return Change("message", _text(device), message=message["message"])
        return None

    def _define(self, kind: str, body: Any) -> Change | None:
        if not isinstance(body, Mapping):
            return None
        device, name = _text(body.get("device")), _text(body.get("name"))
        if not device or not name:
            return None
        state = _state(body.get("state"), "Idle")
        prop = Property(
            device,
            name,
            kind,
            state,
            perm=_text(body.get("perm")) or ("ro" if kind in ("Light", "BLOB") else "rw"),
            rule=_text(body.get("rule")),
            label=_text(body.get("label")),
        )
        for raw in _items(body):
            item = Item(
                raw["name"], _text(raw.get("label")) or raw["name"], _value(kind, raw.get("value"))
            )
            if kind == "Number":
                item.target = _optional(raw.get("target"))
                _limit(item, raw)
            prop.items[item.name] = item
        self.devices.setdefault(device, {})[name] = prop
        return Change(
            "def", device, name, state, _text(body.get("message")), frozenset(prop.items), True
        )

    def _update(self, kind: str, body: Any) -> Change | None:
        if not isinstance(body, Mapping):
            return None
        device, name = _text(body.get("device")), _text(body.get("name"))
        prop = self.get(device, name)
        text = _text(body.get("message"))
        if prop is None or prop.kind != kind:
            return Change("set", device, name, message=text, known=False)
        prop.state = _state(body.get("state"), prop.state)
        carried = set()
        for raw in _items(body):
            item = prop.items.get(raw["name"])
            if item is None:
                continue
            carried.add(item.name)
            if "value" in raw:
                item.value = _value(kind, raw["value"], item.value)
            elif kind == "BLOB":
                item.value = ""  # Busy or Alert: the old URL is no longer this exposure's
            if "target" in raw:
                item.target = _optional(raw["target"])
            if "min" in raw and "max" in raw:  # INDI corrects limits so
                _limit(item, raw)
        return Change("set", device, name, prop.state, text, frozenset(carried))

    def _delete(self, body: Any) -> Change | None:
        if not isinstance(body, Mapping):
            return None
        device, name = _text(body.get("device")), _text(body.get("name"))
        if not device:
            return None
        known = device in self.devices and (not name or name in self.devices[device])
        if name:
            self.devices.get(device, {}).pop(name, None)
        else:
            self.devices.pop(device, None)
        return Change("delete", device, name, message=_text(body.get("message")), known=known)


def _limit(item: Item, raw: Mapping[str, Any]) -> None:
    low, high = _optional(raw.get("min")), _optional(raw.get("max"))
    if low is not None and high is not None and high > low:
        item.minimum, item.maximum = low, high


def _items(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = body.get("items")
    if not isinstance(items, list):
        return []
    return [
        i for i in items if isinstance(i, Mapping) and isinstance(i.get("name"), str) and i["name"]
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _state(value: Any, otherwise: str) -> str:
    return value if value in STATES else otherwise


def _optional(value: Any) -> float | None:
    number = _number(value, float("nan"))
    return None if number != number else number


def _number(value: Any, otherwise: float) -> float:
    if isinstance(value, bool):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _value(kind: str, value: Any, before: str | float | bool | None = None) -> str | float | bool:
    if kind == "Number":
        return _number(value, 0.0 if before is None else _number(before, 0.0))
    if kind == "Switch":
        return value is True
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    return ""
