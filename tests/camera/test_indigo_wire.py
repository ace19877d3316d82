"""Bytes to messages and back: what the real server sends, cut anywhere, and what it can read."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allsky360.camera.errors import BadProperty
from allsky360.camera.indigo.wire import (
    MAX_PENDING_CHARS,
    MessageStream,
    encode_change,
    encode_get_properties,
    encode_number,
)

FIRST = {"setNumberVector": {"device": "Cam é ☃", "name": "P", "state": "Ok", "items": []}}
SECOND = {"message": 'he said "}{"\n and left'}
THIRD = {"deleteProperty": {"device": "Cam"}}
STREAM = "".join(json.dumps(m, ensure_ascii=False) for m in (FIRST, SECOND, THIRD)).encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_messages_arrive_whole_however_tcp_cuts_them(cuts: list[int]) -> None:
    stream, found = MessageStream(), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        found += stream.feed(STREAM[start:end])
    assert found == [FIRST, SECOND, THIRD]
    assert stream.skipped == 0


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_no_bytes_break_the_stream(chunks: list[bytes]) -> None:
    stream = MessageStream()
    for chunk in chunks:
        assert all(isinstance(m, dict) for m in stream.feed(chunk))
    # the noise may have opened a string that swallows a message, but not all that follow
    assert THIRD in stream.feed(json.dumps(THIRD).encode() * 4)


def test_one_bad_object_costs_only_itself() -> None:
    stream = MessageStream()
    bad = b'{ "setTextVector": { "device": "x, "name" } }'
    assert stream.feed(json.dumps(FIRST).encode() + bad + json.dumps(THIRD).encode()) == [
        FIRST,
        THIRD,
    ]
    assert stream.skipped == 1


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (r'"C:\images\x"', r"C:\images\x"),
        ("inf", None),
        ("-nan", None),
        ('"tab\there"', "tab\there"),
    ],
)
def test_the_servers_known_faults_are_repaired(sent: str, value: object) -> None:
    stream = MessageStream()
    head = '{"setTextVector": {"device": "Cam", "items": [{"name": "A", "value": '
    bad = head + sent + "}]}}"
    first, second = stream.feed(bad.encode() + json.dumps(THIRD).encode())
    assert first["setTextVector"]["items"][0]["value"] == value
    assert second == THIRD


def test_cut_utf8_character_is_replaced() -> None:
    data = json.dumps({"message": "grad °X"}, ensure_ascii=False).encode().replace(b"\xb0", b"")
    assert MessageStream().feed(data) == [{"message": "grad �X"}]


def test_what_never_ends_is_dropped_and_the_stream_goes_on() -> None:
    stream = MessageStream()
    assert stream.feed(b'{"message": "' + b"x" * (MAX_PENDING_CHARS + 10)) == []
    assert stream.skipped == 1
    assert stream.feed(b'xxx"}' + json.dumps(THIRD).encode()) == [THIRD]


def test_deep_nesting_and_long_numbers_are_skipped() -> None:
    stream = MessageStream()
    data = b"[" * 200_000 + json.dumps(THIRD).encode()
    assert stream.feed(data) == [THIRD]
    long_number = b'{"message": ' + b"9" * 6000 + b"}"
    assert stream.feed(long_number + json.dumps(THIRD).encode()) == [THIRD]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e16, "1e16"), (1.5, "1.5"), (0.000032, "3.2e-05"), (-2.0, "-2"), (1 / 3, "0.3333333333")],
)
def test_numbers_have_no_plus_in_the_exponent(value: float, text: str) -> None:
    assert encode_number(value) == text


@given(st.floats(-1e300, 1e300))
def test_every_number_survives_the_servers_parser(value: float) -> None:
    text = encode_number(value)
    assert set(text) <= set("0123456789.e-")
    assert float(text) == pytest.approx(value, rel=1e-9)


def test_requests_are_one_line_of_plain_utf8() -> None:
    line = encode_change("Text", "Cam é", "P", {"A": 'say "é"\n'})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert "é".encode() in line
    assert b"\\u" not in line
    assert json.loads(line) == {
        "newTextVector": {
            "device": "Cam é",
            "name": "P",
            "items": [{"name": "A", "value": 'say "é"\n'}],
        }
    }
    switch = encode_change("Switch", "Cam", "P", {"ON": True})
    assert b'"value":true' in switch
    greeting = json.loads(encode_get_properties("me", "Cam", "P"))
    assert greeting == {
        "getProperties": {"version": 512, "client": "me", "device": "Cam", "name": "P"}
    }


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"A": float("inf")},
        {"A": float("nan")},
        {"A": "C:\\x"},
        {"A": "\x07"},
        {"A": "x" * 300_000},
    ],
)
def test_what_would_block_the_servers_parser_is_never_sent(values: dict[str, float | str]) -> None:
    with pytest.raises(BadProperty):
        encode_change("Text", "Cam", "P", values)
