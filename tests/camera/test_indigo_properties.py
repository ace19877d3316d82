"""The property store: upserts, merges, deletions, and nonsense."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.camera.indigo.properties import PropertyStore


def define(**more: Any) -> dict[str, Any]:
    items = [
        {"name": "A", "label": "a°", "min": 0, "max": 10, "target": 3, "value": 3},
        {"name": "B", "label": "b", "min": 0, "max": 0, "target": 4, "value": 4},
    ]
    body = {"device": "Cam", "name": "P", "perm": "rw", "state": "Ok", "items": items} | more
    return {"defNumberVector": body}


def update(*items: dict[str, Any], state: str = "Ok", kind: str = "Number") -> dict[str, Any]:
    return {
        f"set{kind}Vector": {"device": "Cam", "name": "P", "state": state, "items": list(items)}
    }


def test_definitions_are_upserts() -> None:
    store = PropertyStore()
    for _ in range(2):
        change = store.apply(define())
        assert change is not None
        assert change.kind == "def"
    prop = store.get("Cam", "P")
    assert prop is not None
    assert (prop.items["A"].minimum, prop.items["A"].maximum) == (0, 10)
    assert prop.items["B"].maximum is None  # min = max = 0 says nothing
    assert prop.number("A") == 3
    assert prop.number("C") is None
    assert prop.writable


def test_updates_merge_by_item() -> None:
    store = PropertyStore()
    store.apply(define())
    change = store.apply(
        update({"name": "B", "value": 9, "target": 8}, {"name": "Z", "value": 1}, state="Busy")
    )
    prop = store.get("Cam", "P")
    assert prop is not None
    assert (prop.state, prop.number("A"), prop.number("B"), prop.items["B"].target) == (
        "Busy",
        3,
        9,
        8,
    )
    assert change is not None
    assert change.item_names == {"B"}
    assert "Z" not in prop.items


def test_deletions_are_idempotent_and_may_take_a_device() -> None:
    store = PropertyStore()
    store.apply(define())
    known = []
    for _ in range(2):
        change = store.apply({"deleteProperty": {"device": "Cam", "name": "P"}})
        assert change is not None
        known.append(change.known)
    assert known == [True, False]
    store.apply(define())
    store.apply({"deleteProperty": {"device": "Cam"}})
    assert store.devices == {}


def test_blob_url_goes_when_busy_and_comes_with_ok() -> None:
    store = PropertyStore()
    item = {"name": "IMAGE", "label": "", "value": "/blob/old"}
    store.apply({"defBLOBVector": {"device": "Cam", "name": "P", "state": "Ok", "items": [item]}})
    prop = store.get("Cam", "P")
    assert prop is not None
    assert prop.text("IMAGE") == "/blob/old"
    assert not prop.writable
    store.apply(update({"name": "IMAGE"}, state="Busy", kind="BLOB"))
    assert prop.text("IMAGE") == ""
    store.apply(update({"name": "IMAGE", "value": "/blob/new"}, kind="BLOB"))
    assert prop.text("IMAGE") == "/blob/new"


def test_unknown_and_wrong_kinds_change_nothing() -> None:
    store = PropertyStore()
    store.apply(define())
    unknown = store.apply({"setNumberVector": {"device": "Cam", "name": "Q", "items": []}})
    assert unknown is not None
    assert not unknown.known
    store.apply(update({"name": "A", "value": True}, kind="Switch"))
    prop = store.get("Cam", "P")
    assert prop is not None
    assert prop.number("A") == 3
    assert store.apply({"somethingNew": {"device": "Cam"}}) is None
    said = store.apply({"message": "hello", "device": "Cam"})
    assert said is not None
    assert said.message == "hello"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Cam", "P", "A"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["device", "name", "items", "value", "state", "target", "min", "perm"]),
            inner,
        )
    ),
    max_leaves=12,
)
KINDS = [
    "setNumberVector",
    "defSwitchVector",
    "defBLOBVector",
    "setTextVector",
    "deleteProperty",
    "message",
]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(KINDS), json_values, max_size=2))
def test_no_message_breaks_the_store(message: dict[str, Any]) -> None:
    store = PropertyStore()
    store.apply(define())
    store.apply(message)
    for properties in store.devices.values():
        for prop in properties.values():
            assert prop.state in ("Idle", "Ok", "Busy", "Alert")
            assert all(isinstance(i.value, (str, float, bool)) for i in prop.items.values())
