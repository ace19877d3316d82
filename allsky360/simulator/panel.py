"""The properties a device shows, and what its clients were told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from allsky360.simulator.faults import FaultBoard
from allsky360.simulator.properties import (
    Define,
    Delete,
    Event,
    Message,
    NewVector,
    PropertyTable,
    State,
    Update,
    Value,
    Vector,
    apply_numbers,
    apply_switches,
    apply_texts,
)

Handler = Callable[[Vector, NewVector], None]


class Panel:
    """All properties of one camera: those shown now, and those that appear on connection.

    Parameters
    ----------
    device
        Name of the device.
    publish
        Called with every event all clients are to hear.
    faults
        The knobs; some change what is told.
    """

    def __init__(self, device: str, publish: Callable[[Event], None], faults: FaultBoard) -> None:
        self.device = device
        self._publish = publish
        self._faults = faults
        self._sent: dict[str, tuple[State, dict[str, tuple[Value, float]]]] = {}
        self.shown = PropertyTable()
        self.all: dict[str, Vector] = {}

    def reset(self, shown: Iterable[Vector], hidden: Iterable[Vector]) -> None:
        """Start over with these properties shown and those waiting for the connection."""
        self._sent.clear()
        self.shown = PropertyTable()
        self.all = {}
        for vector in shown:
            self.shown.add(vector)
            self.all[vector.name] = vector
        self.all |= {vector.name: vector for vector in hidden}

    def __getitem__(self, name: str) -> Vector:
        return self.all[name]

    def __contains__(self, name: object) -> bool:
        return name in self.all

    def is_shown(self, vector: Vector) -> bool:
        """Whether clients know this very property now."""
        return self.shown.vectors.get(vector.name) is vector

    def update(self, vector: Vector, state: State | None = None, message: str = "") -> None:
        """Set a property's state and tell its values; silent while it is not shown."""
        if state is not None:
            vector.state = state
        old_state, old = self._sent.get(vector.name, ("Idle", {}))
        now = self._remember(vector)
        if not self.is_shown(vector):
            return
        changed = frozenset(name for name in now if now[name] != old.get(name))
        quiet = vector.state == old_state == "Ok" and not changed and not message
        if quiet and self._faults.is_on("suppress-ok"):
            self._faults.take("suppress-ok")
            return
        partial = self._faults.is_on("partial-items") and vector.kind != "BLOB"
        self._publish(Update(vector, message, changed if partial else None))

    def define(self, vector: Vector) -> None:
        """Show a property."""
        self.shown.add(vector)
        self._remember(vector)
        self._publish(Define(vector))

    def delete(self, name: str = "") -> None:
        """Take a property away; without a name, the whole device."""
        self.shown.vectors.pop(name, None)
        self._publish(Delete(self.device, name))
        if self._faults.take("duplicate-delete") is not None:
            self._publish(Delete(self.device, name))

    def say(self, words: str) -> None:
        """Tell all clients something in words."""
        self._publish(Message(words, self.device))

    def _remember(self, vector: Vector) -> dict[str, tuple[Value, float]]:
        """Note what clients now know of a property, and return it."""
        known = {item.name: (item.value, item.target) for item in vector.items.values()}
        self._sent[vector.name] = (vector.state, known)
        return known


def apply(vector: Vector, values: Mapping[str, object]) -> None:
    """Store requested values in a vector of any kind."""
    match vector.kind:
        case "Number":
            apply_numbers(vector, values)
        case "Switch":
            apply_switches(vector, values)
        case _:
            apply_texts(vector, values)
