"""Both dialects: reading whatever clients send, writing what INDIGO clients read."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allsky360.simulator import websocket, wire_json, wire_xml
from allsky360.simulator.properties import (
    Define,
    Delete,
    EnableBlob,
    GetProperties,
    Item,
    Message,
    NewVector,
    Update,
    Vector,
    apply_numbers,
    apply_switches,
    by_name,
    number,
    switch,
    text,
)
from allsky360.simulator.wire_json import JsonReader, WireError
from allsky360.simulator.wire_xml import XmlReader

EXPOSE = NewVector("Number", "D", "CCD_EXPOSURE", {"EXPOSURE": 2.5})
EXPOSE_JSON = (
    b'{"newNumberVector":{"device":"D","name":"CCD_EXPOSURE",'
    b'"items":[{"name":"EXPOSURE","value":2.5}]}}'
)
EXPOSE_XML = (
    b"<newNumberVector device='D' name='CCD_EXPOSURE'>\n"
    b"<oneNumber name='EXPOSURE'> 2.5\n</oneNumber>\n</newNumberVector>\n"
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def feed_often(reader: Any, data: bytes) -> None:
    for _ in range(300):
        list(reader.feed(data))


# -- JSON in --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_json_arrives_in_any_segmentation(cuts: list[int]) -> None:
    stream = EXPOSE_JSON + EXPOSE_JSON + b'\r\n{"getProperties":\n{"device":"}{\\"","x":[1]}}'
    reader = JsonReader()
    found = [r for piece in pieces(stream, cuts) for r in reader.feed(piece)]
    assert found == [EXPOSE, EXPOSE, GetProperties('}{"', "")]


@given(st.binary(max_size=400))
def test_wild_bytes_never_do_more_than_close(data: bytes) -> None:
    for reader in (JsonReader(), XmlReader(), websocket.FrameReader()):
        try:
            list(reader.feed(data))
        except WireError:
            continue


@pytest.mark.parametrize(
    "line",
    [
        b'{"message":"hello"}',
        b'{"enableBLOB":{"device":"D"}}',
        b'{"getProperties":{"version":0}}',
        b'{"newBLOBVector":{"device":"D","name":"X","items":[{"name":"a","value":"b"}]}}',
        b'{"newNumberVector":[1,2]}',
        b"{}",
    ],
)
def test_unknown_json_is_ignored(line: bytes) -> None:
    assert list(JsonReader().feed(line)) == []


@pytest.mark.parametrize("line", [b'{"a":}', b" x", b"{]", b'{"a":"\xff"]', b"{} garbage"])
def test_json_that_is_none_closes(line: bytes) -> None:
    with pytest.raises(WireError):
        list(JsonReader().feed(b"{}" + line))


def test_requests_before_an_error_still_count() -> None:
    reader = JsonReader().feed(EXPOSE_JSON + b"oops")
    assert next(reader) == EXPOSE
    with pytest.raises(WireError):
        next(reader)


def test_an_endless_object_closes() -> None:
    reader = JsonReader()
    with pytest.raises(WireError, match="256 KiB"):
        feed_often(reader, b'{"a":"' + b"x" * 1024)


def test_odd_items_are_skipped() -> None:
    raw = b'{"newTextVector":{"device":"D","name":"T","items":[1,{"name":3},{"name":"A"}]}}'
    assert list(JsonReader().feed(raw)) == [NewVector("Text", "D", "T", {"A": None})]
    raw = b'{"newTextVector":{"device":5,"items":{"A":1}}}'
    assert list(JsonReader().feed(raw)) == [NewVector("Text", "", "", {})]


# -- JSON out -------------------------------------------------------------------------------------


def a_number(value: float, perm: str = "rw") -> Vector:
    return Vector("D", "N", "Number", by_name([number("A", value, 0, 100)]), perm=perm)  # type: ignore[arg-type]


@given(st.floats())
def test_numbers_are_always_json_and_xml(value: float) -> None:
    vector = a_number(value)
    written = wire_json.encode(Update(vector))
    read = json.loads(written, parse_constant=pytest.fail)
    shown = read["setNumberVector"]["items"][0]["value"]
    one = ElementTree.fromstring(wire_xml.encode(Update(vector)))[0]
    if abs(value) <= 1e300:
        assert shown == pytest.approx(value, rel=1e-9)
        assert float(one.text or "") == pytest.approx(value, rel=1e-9)
    elif not math.isfinite(value):
        assert shown == float(one.text or "") == 0


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_texts_survive_json(words: str) -> None:
    vector = Vector("D", "T", "Text", by_name([text("A", words)]))
    written = wire_json.encode(Update(vector))
    assert b"\n" not in written
    assert json.loads(written)["setTextVector"]["items"][0]["value"] == words


@given(st.text(alphabet=st.characters(codec=None)))
def test_no_text_breaks_either_dialect(words: str) -> None:
    vector = Vector("D", "T", "Text", by_name([text("A", words)]))
    json.loads(wire_json.encode(Update(vector, words)))
    ElementTree.fromstring(wire_xml.encode(Update(vector, words)))


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="￾￿")))
def test_texts_survive_xml(words: str) -> None:
    vector = Vector(f"D{words}", "T", "Text", by_name([text("A", words)]))
    element = ElementTree.fromstring(wire_xml.encode(Update(vector, message=words)))
    assert element.get("device") == f"D{words}"
    assert element.get("message", "") == words
    assert (element[0].text or "") == words


def test_shapes_by_kind() -> None:
    light = Vector("D", "L", "Light", by_name([Item("A", "Ok")]))
    blob = Vector("D", "B", "BLOB", by_name([Item("IMAGE", "/blob/0x1.raw")]), perm="ro")
    assert "perm" not in wire_json.document(Define(light))["defLightVector"]
    assert wire_json.document(Define(blob))["defBLOBVector"]["items"] == [
        {"name": "IMAGE", "label": "IMAGE", "value": "/blob/0x1.raw"}
    ]
    blob.state = "Busy"
    assert wire_json.document(Update(blob))["setBLOBVector"]["items"] == [{"name": "IMAGE"}]
    assert "target" not in wire_json.document(Update(a_number(1, "ro")))["setNumberVector"]["items"]
    hidden = Vector("D", "W", "Text", by_name([text("A", "secret")]), perm="wo")
    assert wire_json.document(Update(hidden))["setTextVector"]["items"] == []
    assert wire_json.document(Delete("D")) == {"deleteProperty": {"device": "D"}}
    assert wire_json.document(Message("words")) == {"message": "words"}
    partial = Update(a_number(1), only=frozenset())
    assert wire_json.document(partial)["setNumberVector"]["items"] == []


# -- XML ------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_xml_arrives_in_any_segmentation(cuts: list[int]) -> None:
    stream = (
        b"<getProperties version='1.7' client='x' switch='2.0'/>\n"
        b"<enableBLOB device='D' name='B'>\nURL\n</enableBLOB>" + EXPOSE_XML + b"<other/>"
        b"<newSwitchVector device='D' name='S' token='1F'><oneSwitch name='A'>On</oneSwitch>"
        b"<oneSwitch name='B'> Off </oneSwitch></newSwitchVector>\n"
        b"<newTextVector device='D' name='T'><oneText name='A'>a &amp; b</oneText></newTextVector>"
    )
    reader = XmlReader()
    found = [r for piece in pieces(stream, cuts) for r in reader.feed(piece)]
    assert found == [
        GetProperties("", "", "2.0"),
        EnableBlob("D", "B", "URL"),
        EXPOSE,
        NewVector("Switch", "D", "S", {"A": True, "B": False}),
        NewVector("Text", "D", "T", {"A": "a & b"}),
    ]


def test_xml_memory_stays_bounded() -> None:
    reader = XmlReader()
    for _ in range(5000):
        assert list(reader.feed(EXPOSE_XML)) == [EXPOSE]
    assert reader._root is not None
    assert len(reader._root) == 0


@pytest.mark.parametrize("data", [b"</a>", b"<a b></a>", b"<a>&nope;</a>"])
def test_malformed_xml_closes(data: bytes) -> None:
    with pytest.raises(WireError, match="not XML"):
        list(XmlReader().feed(data))


def test_an_endless_xml_element_closes() -> None:
    reader = XmlReader()
    with pytest.raises(WireError, match="256 KiB"):
        feed_often(reader, b"<oneText>" + b"x" * 1024)


def test_a_bad_xml_number_is_zero() -> None:
    xml = EXPOSE_XML.replace(b"2.5", b"soon")
    assert list(XmlReader().feed(xml)) == [
        NewVector("Number", "D", "CCD_EXPOSURE", {"EXPOSURE": 0})
    ]


def test_xml_definitions() -> None:
    element = ElementTree.fromstring(wire_xml.encode(Define(a_number(7))))
    assert element.tag == "defNumberVector"
    assert element.attrib == {
        "device": "D", "name": "N", "group": "Camera", "label": "N", "perm": "rw", "state": "Ok"
    }  # fmt: skip
    assert element[0].attrib == {
        "name": "A", "label": "A", "format": "%g", "min": "0", "max": "100", "step": "1",
        "target": "7",
    }  # fmt: skip
    choice = Vector("D", "S", "Switch", by_name([switch("A", True), switch("B")]))
    element = ElementTree.fromstring(wire_xml.encode(Define(choice)))
    assert element.get("rule") == "OneOfMany"
    assert [child.text for child in element] == ["On", "Off"]
    assert wire_xml.encode(Delete("D", "N")) == b'<delProperty device="D" name="N"/>\n'
    assert wire_xml.encode(Message("hi", "D")) == b'<message device="D" message="hi"/>\n'


def test_xml_images_come_as_enabled() -> None:
    blob = Vector("D", "B", "BLOB", by_name([Item("IMAGE", "/blob/0x1.raw")]), perm="ro")
    content = {"/blob/0x1.raw": b"RAW2 pixels"}.get
    assert wire_xml.encode(Update(blob), "Never", content) == b""
    url = ElementTree.fromstring(wire_xml.encode(Update(blob), "URL", content))
    assert url[0].attrib == {"name": "IMAGE", "path": "/blob/0x1.raw"}
    inline = ElementTree.fromstring(wire_xml.encode(Update(blob), "Also", content))
    assert inline[0].attrib == {"name": "IMAGE", "size": "11", "format": ".raw"}
    assert (inline[0].text or "").strip() == "UkFXMiBwaXhlbHM="
    blob.state = "Busy"
    assert len(ElementTree.fromstring(wire_xml.encode(Update(blob), "URL", content))) == 0


# -- WebSocket ------------------------------------------------------------------------------------


def masked(payload: bytes, opcode: int = 1, final: bool = True) -> bytes:
    mask = b"\x11\x22\x33\x44"
    frame = bytearray(websocket.frame(payload, opcode))
    if not final:
        frame[0] &= 0x7F
    frame[1] |= 0x80
    head = len(frame) - len(payload)
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes(frame[:head]) + mask + body


@given(st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([0, 5, 200, 70_000]))
def test_frames_arrive_in_any_segmentation(cuts: list[int], size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    stream = masked(payload) + masked(b"p", websocket.PING) + masked(b"ab", final=False)
    stream += masked(b"cd", opcode=0)
    reader = websocket.FrameReader()
    found = [m for piece in pieces(stream, cuts) for m in reader.feed(piece)]
    assert found == [(websocket.TEXT, payload), (websocket.PING, b"p"), (websocket.TEXT, b"abcd")]


def test_unmasked_and_huge_frames_close() -> None:
    with pytest.raises(WireError, match="masked"):
        list(websocket.FrameReader().feed(websocket.frame(b"x")))
    with pytest.raises(WireError, match="256 KiB"):
        list(websocket.FrameReader().feed(masked(b"x" * 300_000)))
    reader = websocket.FrameReader()
    with pytest.raises(WireError, match="256 KiB"):
        feed_often(reader, masked(b"x" * 60_000, final=False))


def test_the_accept_key_is_the_one_of_the_rfc() -> None:
    reply = websocket.accept_reply("dGhlIHNhbXBsZSBub25jZQ==", "x")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in reply


# -- how requests change values -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "got"), [(50, 50), (9999, 100), (-1, 0), ("50", 0), (True, 0), (None, 0), (1e999, 0)]
)
def test_numbers_are_clamped_and_wrong_types_are_zero(asked: object, got: float) -> None:
    vector = a_number(7)
    apply_numbers(vector, {"A": asked, "NOPE": 3})
    assert vector.items["A"].value == vector.items["A"].target == got


@pytest.mark.parametrize(
    ("asked", "on"),
    [
        ({"B": True}, ["B"]),
        ({"A": False}, []),
        ({"NOPE": True}, []),
        ({"B": 1}, []),
        ({"A": True, "B": True}, ["B"]),
    ],
)
def test_exclusive_switches_are_cleared_first(asked: dict[str, object], on: list[str]) -> None:
    vector = Vector("D", "S", "Switch", by_name([switch("A", True), switch("B")]))
    apply_switches(vector, asked)
    assert [i.name for i in vector.items.values() if i.value] == on


def test_any_of_many_keeps_the_others() -> None:
    vector = Vector("D", "S", "Switch", by_name([switch("A", True), switch("B")]), rule="AnyOfMany")
    apply_switches(vector, {"B": True})
    assert all(i.value for i in vector.items.values())
