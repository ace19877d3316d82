"""INDI's XML in INDIGO's words: shapes, states, images, and a stream that is not what it should."""

from __future__ import annotations

import base64
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allsky360.camera.errors import BadProperty, NoImage, TruncatedImage, UnsupportedImage
from allsky360.camera.indi import IndiDialect
from allsky360.camera.indi import stream as stream_room
from allsky360.camera.indi.stream import ElementStream
from allsky360.camera.indigo.properties import PropertyStore

CAMERA = "CCD Simulator"
EXPOSURE = """<{tag}NumberVector device="CCD Simulator" name="CCD_EXPOSURE" state="{state}"
 timeout="60" timestamp="2026-11-22T15:38:04"><oneNumber name="CCD_EXPOSURE_VALUE">
 {value}
 </oneNumber></{tag}NumberVector>"""
DEFINED = """
<defNumberVector device="CCD Simulator" name="CCD_EXPOSURE" label="Expose" state="Idle" perm="rw">
 <defNumber name="CCD_EXPOSURE_VALUE" min="0.01" max="3600" step="1" format="%5.2f">1</defNumber>
</defNumberVector>
<defBLOBVector device="CCD Simulator" name="CCD1" state="Idle" perm="ro">
 <defBLOB name="CCD1" label="Image"/></defBLOBVector>
"""


def blob(data: bytes, ending: str = ".fits", *, size: int | None = None, length: int = -1) -> bytes:
    text = base64.b64encode(data).decode()
    size = len(data) if size is None else size
    length = len(data) if length < 0 else length
    return (
        f'<setBLOBVector device="{CAMERA}" name="CCD1" state="Ok"><oneBLOB name="CCD1" '
        f'size="{size}" format="{ending}" len="{length}">\n{text}\n</oneBLOB></setBLOBVector>'
    ).encode()


def url_of(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["setBLOBVector"]["items"][0]["value"])


def test_definitions_come_in_indigos_names_with_their_limits() -> None:
    store = PropertyStore()
    for message in IndiDialect().feed(DEFINED.encode()):
        store.apply(message)
    exposure = store.get(CAMERA, "CCD_EXPOSURE")
    assert exposure is not None
    item = exposure.items["EXPOSURE"]
    assert (item.value, item.minimum, item.maximum) == (1.0, 0.01, 3600.0)
    assert store.get(CAMERA, "CCD_IMAGE") is not None
    formats = store.get(CAMERA, "CCD_IMAGE_FORMAT")
    assert formats is not None
    assert formats.selected() == "FITS"  # this driver offers no choice


def test_an_update_corrects_the_limits() -> None:
    store, dialect = PropertyStore(), IndiDialect()
    frame = (
        '<{}NumberVector device="C" name="CCD_FRAME" state="Ok" perm="rw">'
        '<{}Number name="X" min="0" max="{}">0</{}Number></{}NumberVector>'
    )
    for tag, one, most in (("def", "def", 0), ("set", "one", 1279)):
        for message in dialect.feed(frame.format(tag, one, most, one, tag).encode()):
            store.apply(message)
    found = store.get("C", "CCD_FRAME")
    assert found is not None
    assert found.items["LEFT"].maximum == 1279.0


def test_an_exposure_reads_as_one_of_an_indigo_camera() -> None:
    dialect = IndiDialect()
    dialect.feed(DEFINED.encode())
    begun = dialect.feed(EXPOSURE.format(tag="set", state="Busy", value="1").encode())
    assert [next(iter(m)) for m in begun] == ["setNumberVector", "setBLOBVector"]
    assert begun[1]["setBLOBVector"]["state"] == "Busy"
    going = dialect.feed(EXPOSURE.format(tag="set", state="Busy", value="0.897").encode())
    assert len(going) == 1
    image = dialect.feed(blob(b"SIMPLE  ="))
    assert dialect.take_image(url_of(image)) == b"SIMPLE  ="
    (done,) = dialect.feed(EXPOSURE.format(tag="set", state="Ok", value="0").encode())
    assert done["setNumberVector"]["state"] == "Ok"


def test_an_exposure_that_ends_idle_was_aborted() -> None:
    dialect = IndiDialect()
    dialect.feed(EXPOSURE.format(tag="set", state="Busy", value="5").encode())
    (ended,) = dialect.feed(EXPOSURE.format(tag="set", state="Idle", value="0").encode())
    assert ended["setNumberVector"]["state"] == "Alert"
    (idle,) = dialect.feed(EXPOSURE.format(tag="set", state="Idle", value="0").encode())
    assert idle["setNumberVector"]["state"] == "Idle"


def test_gain_and_offset_of_older_drivers_lie_among_many() -> None:
    dialect = IndiDialect()
    found = dialect.feed(
        b'<defNumberVector device="ZWO" name="CCD_CONTROLS" state="Idle" perm="rw">'
        b'<defNumber name="Gain" min="0" max="600">100</defNumber>'
        b'<defNumber name="WB_R" min="0" max="99">52</defNumber>'
        b'<defNumber name="Offset" min="0" max="80">8</defNumber></defNumberVector>'
    )
    names = [m["defNumberVector"]["name"] for m in found]
    assert names == ["CCD_GAIN", "CCD_OFFSET"]
    line = dialect.change("Number", "ZWO", "CCD_GAIN", {"GAIN": 250.0}).decode()
    assert 'name="CCD_CONTROLS"' in line
    assert '<oneNumber name="Gain">250</oneNumber>' in line
    gone = dialect.feed(b'<delProperty device="ZWO" name="CCD_CONTROLS"/>')
    assert [m["deleteProperty"]["name"] for m in gone] == ["CCD_GAIN", "CCD_OFFSET"]
    dialect.feed(b'<delProperty device="ZWO"/>')  # the driver died: back as another
    assert b"CCD_GAIN" in dialect.change("Number", "ZWO", "CCD_GAIN", {"GAIN": 1.0})


def test_requests_use_indis_names_and_escape_what_xml_would_eat() -> None:
    dialect = IndiDialect()
    line = dialect.change("Switch", 'A & "B"', "CONNECTION", {"CONNECTED": True}).decode()
    assert line == (
        '<newSwitchVector device=\'A &amp; "B"\' name="CONNECTION">'
        '<oneSwitch name="CONNECT">On</oneSwitch></newSwitchVector>\n'
    )
    text = dialect.change("Text", "C", "UPLOAD_SETTINGS", {"UPLOAD_DIR": "<&>"})
    assert b"&lt;&amp;&gt;" in text
    assert dialect.ask("me", "C", "CCD_BIN") == (
        b'<getProperties version=\'1.7\' device="C" name="CCD_BINNING"/>\n'
    )
    with pytest.raises(BadProperty):
        dialect.change("Number", "C", "CCD_EXPOSURE", {"EXPOSURE": float("inf")})
    with pytest.raises(BadProperty):
        dialect.change("Number", "C", "CCD_EXPOSURE", {})


def test_images_are_asked_for_uncompressed() -> None:
    dialect = IndiDialect()
    assert b"<enableBLOB device=\"C\" name='CCD1'>Also</enableBLOB>" in dialect.prepare("C")
    dialect.feed(
        b'<defSwitchVector device="C" name="CCD_COMPRESSION" state="Idle">'
        b'<defSwitch name="INDI_ENABLED">On</defSwitch>'
        b'<defSwitch name="INDI_DISABLED">Off</defSwitch></defSwitchVector>'
    )
    assert b'<oneSwitch name="INDI_DISABLED">On</oneSwitch>' in dialect.prepare("C")


def test_images_are_cut_to_their_length_and_unpacked() -> None:
    dialect = IndiDialect()
    padded = dialect.feed(blob(b"image" + bytes(99), size=5, length=5))
    assert dialect.take_image(url_of(padded)) == b"image"
    packed = zlib.compress(b"image" * 100)
    found = dialect.feed(blob(packed, ".fits.z", size=500))
    assert dialect.take_image(url_of(found)) == b"image" * 100
    assert dialect.take_image("/blob/0x1.fits") is None


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (blob(b"image", length=6), TruncatedImage),
        (blob(zlib.compress(b"image" * 100)[:-9], ".fits.z", size=500), TruncatedImage),
        (blob(b"no zlib at all", ".fits.z", size=500), TruncatedImage),
        (blob(zlib.compress(bytes(1000)), ".fits.z", size=2**40), UnsupportedImage),
        (blob(b"tiles", ".fits.fz"), UnsupportedImage),
        (blob(b"image").replace(b"\n", b"\n*", 1), TruncatedImage),
    ],
)
def test_images_that_are_not_whole_have_a_name(sent: bytes, error: type[Exception]) -> None:
    dialect = IndiDialect()
    url = url_of(dialect.feed(sent))
    with pytest.raises(error):
        dialect.take_image(url)
    with pytest.raises(NoImage):
        dialect.take_image(url)


WHOLE = [
    DEFINED.encode(),
    EXPOSURE.format(tag="set", state="Busy", value="1").encode(),
    b'<message device="CCD Simulator" message="gr\xc3\xbc\xc3\x9fe &amp; mehr"/>',
    blob(bytes(range(256)) * 20),
    EXPOSURE.format(tag="set", state="Ok", value="0").encode(),
    b'<delProperty device="CCD Simulator"/>',
]


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [next(iter(m)) for m in messages]


@given(st.lists(st.integers(0, len(b"".join(WHOLE))), max_size=12))
def test_it_does_not_matter_how_the_stream_is_cut(cuts: list[int]) -> None:
    whole = b"".join(WHOLE)
    dialect, found = IndiDialect(), []
    edges = [0, *sorted(cuts), len(whole)]
    for a, b in pairwise(edges):
        found += dialect.feed(whole[a:b])
    assert kinds(found) == kinds(IndiDialect().feed(whole))
    assert dialect.skipped == 0


@given(st.binary(max_size=300))
def test_no_bytes_break_the_stream_for_good(noise: bytes) -> None:
    dialect = IndiDialect()
    dialect.feed(noise)
    dialect.feed(b"</x>")  # whatever was open, is open no longer
    assert "deleteProperty" in kinds(dialect.feed(WHOLE[-1]))


@pytest.mark.parametrize(
    "bad", [b"<setNumberVector device='C' <", b"</none>", b"<a>&undefined;</a>"]
)
def test_what_cannot_be_read_costs_itself(bad: bytes) -> None:
    stream = ElementStream()
    found = stream.feed(WHOLE[2] + WHOLE[5] + bad + WHOLE[5])
    assert [e.tag for e in found] == ["message", "delProperty", "delProperty"]
    assert stream.skipped == 1


def test_declarations_and_endless_elements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ElementStream()
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><message message="&b;"/>'
    assert all("a" not in str(e.get("message")) for e in stream.feed(bomb))
    assert stream.skipped >= 1
    monkeypatch.setattr(stream_room, "MAX_ELEMENT_BYTES", 1000)
    stream = ElementStream()
    stream.feed(b"<setBLOBVector>")
    for _ in range(20):
        stream.feed(b"x" * 100)
    assert stream.skipped == 1
    stream.feed(b"<setBLOBVector>cut off")
    assert [e.get("message") for e in stream.feed(b"<message message='on'/>")] == ["on"]


def test_what_other_clients_ask_is_not_for_us() -> None:
    dialect = IndiDialect()
    assert dialect.feed(b"<getProperties version='1.7'/>") == []
    assert dialect.feed(b"<newSwitchVector device='C' name='CONNECTION'/>") == []
    assert dialect.feed(b"<defNumberVector/>")[0]["defNumberVector"]["device"] == ""
