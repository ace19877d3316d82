"""Wild inputs from good ones: bytes changed as storage and networks do, values as people do."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

MAX_BYTES = 1 << 17

Change = Callable[[random.Random, bytes, Sequence[bytes], bytes], bytes]

_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31)
_WIDE = (*_NUMBERS, 2**32 - 1, 2**53, 2**63 - 1, 2**64, -(2**31), -(2**63), 10**18)
_TEXTS = (b"nan", b"inf", b"-inf", b"1e999", b"-0.0", b"1e-400", b"null", b"", b"9" * 400)
_STRINGS = ("", "\0", "é☃𝄞", "\udc80", "A" * 5000, "../../etc/passwd", "%s%n", "nan", "-1", "2026")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutate(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    """Return ``data`` changed once or several times.

    Parameters
    ----------
    data
        What worked before.
    words
        That mean something to the decoder.
    other
        Another input, to be joined with.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 9))):
        change = rng.choice(_CHANGES)
        if rng.random() < 0.4 and data.lstrip()[:1] in (b"{", b"["):
            change = _json
        data = change(rng, data, words, other)[:MAX_BYTES]
    return data


def _flip(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _byte(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return (
        data[:at]
        + bytes([rng.choice((0, 10, 32, 127, 128, 255, rng.randrange(256)))])
        + (data[at + rng.randrange(2) :])
    )


def _integer(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(max(1, len(data) - size + 1))
    value = rng.choice(_WIDE) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _cut(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 80, 512)) :]


def _repeat(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.choice((1, 4, 80, 256))]
    return data[:at] + piece * rng.choice((2, 3, 50)) + data[at:]


def _word(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    if not words:
        return data
    at, word = rng.randrange(len(data) + 1), rng.choice(words)
    return data[:at] + word + data[at + (len(word) if rng.random() < 0.5 else 0) :]


def _number(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    found = list(_NUMBER.finditer(data[:20000]))
    if not found:
        return data
    place = rng.choice(found)
    text = rng.choice((*_TEXTS, *(str(n).encode() for n in _WIDE)))
    return data[: place.start()] + text + data[place.end() :]


def _splice(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _json(rng: random.Random, data: bytes, words: Sequence[bytes], other: bytes) -> bytes:
    """Change one value of a JSON document, and leave it one."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _word(rng, data, words, other)
    places = list(_places(content))
    if not places:
        return data
    holder, key = rng.choice(places)
    act = rng.randrange(5)
    if act == 0:
        del holder[key]
    elif act == 1 and isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 5, 500)))
    elif act == 2:
        holder[key] = [holder[key]]
    else:
        holder[key] = rng.choice(
            (None, True, False, {}, [], 1.5, -0.0, 1e308, rng.choice(_WIDE), rng.choice(_STRINGS))
        )
    return json.dumps(content).encode()


def _places(value: Any) -> Any:
    children = value.items() if isinstance(value, dict) else ()
    children = enumerate(value) if isinstance(value, list) else children
    for key, child in children:
        yield value, key
        yield from _places(child)


_CHANGES: tuple[Change, ...] = (
    _flip,
    _byte,
    _integer,
    _cut,
    _drop,
    _repeat,
    _word,
    _number,
    _splice,
)
