"""Strategies that damage good samples: bytes, JSON documents, and tables with hostile cells."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import reduce
from typing import Any

from hypothesis import strategies as st

Change = Callable[[bytes], bytes]

_NUMBERS = tuple(
    struct.pack(order + form, value & mask)
    for form, mask in (("B", 0xFF), ("H", 0xFFFF), ("I", 0xFFFFFFFF), ("Q", 0xFFFFFFFFFFFFFFFF))
    for order in "<>"
    for value in (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, -1, -2, 65_000, 100_000_000)
)
_PLACES = st.one_of(st.integers(0, 63), st.integers(0, 1023), st.integers(0, 1 << 24))
"""Places in a file, taken modulo its length: most of what a reader believes is at the beginning."""


@st.composite
def changes(draw: st.DrawFn, others: Sequence[bytes]) -> Change:
    """Draw one change of the bytes of a file."""
    kind = draw(st.sampled_from(("set", "flip", "cut", "drop", "repeat", "insert", "splice")))
    at = draw(_PLACES)
    length = draw(st.integers(1, 512))
    if kind == "set":
        number = draw(st.sampled_from(_NUMBERS))
        return lambda data: _put(data, at, len(number), number)
    if kind == "flip":
        bit = draw(st.integers(0, 7))
        return lambda data: _put(data, at, 1, bytes((data[at % len(data)] ^ (1 << bit),))) if data else data
    if kind == "cut":
        return lambda data: data[: at % (len(data) + 1)]
    if kind == "drop":
        return lambda data: _put(data, at, length, b"")
    if kind == "repeat":
        times = draw(st.integers(2, 400))
        return lambda data: _put(data, at, length, _part(data, at, length) * times)
    if kind == "insert":
        inserted = draw(st.binary(max_size=64))
        return lambda data: _put(data, at, 0, inserted)
    other = draw(st.sampled_from(others))
    start = draw(_PLACES)
    return lambda data: data[: at % (len(data) + 1)] + other[start % (len(other) + 1) :]


@st.composite
def mutated(draw: st.DrawFn, samples: Sequence[bytes], *, most: int = 6) -> bytes:
    """Draw a sample with some changes, its PNG checksums made right again half of the time, as an attacker would do."""
    sample = draw(st.sampled_from(samples))
    found = reduce(lambda data, change: change(data), draw(st.lists(changes(samples), max_size=most)), sample)
    return with_checksums(found) if found[:4] == b"\x89PNG" and draw(st.booleans()) else found


@st.composite
def mutated_json(draw: st.DrawFn, samples: Sequence[Any]) -> bytes:
    """Draw a document with one to four members or elements replaced, removed, renamed or duplicated."""
    value = json.loads(json.dumps(draw(st.sampled_from(samples))))
    for _ in range(draw(st.integers(1, 4))):
        value = _changed(draw, value)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace(f'"{_TWICE}"', '"id"').replace('"\\ud800"', '"\ufffd"')
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
    data = text.encode(encoding, "replace")
    return draw(mutated([data], most=2)) if draw(st.integers(0, 4)) == 0 else data


_HOSTILE: tuple[Any, ...] = (
    "", [], {}, "NaN", 10**400, 1e308, -1, 0, "../../etc/passwd", "/dev/zero", "file:///", "x" * 5000, "\x00", "CON", "http://[::1",
    "a\nb\r\nc", "\ud800", "2024-13-45T99:99", "1" * 400, [[[[[[[[]]]]]]]], {"a": {"b": {"c": None}}},
)  # fmt: skip


def hostile_values() -> st.SearchStrategy[Any]:
    """Return values that a document may hold and that no reader wants."""
    return _hostile_cells() | st.integers(60, 300).map(_nested)


def _hostile_cells() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(_HOSTILE)
    )


@st.composite
def mutated_table(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Draw a text table with hostile cells, other delimiters or quotes, or changed bytes."""
    data = draw(st.sampled_from(samples))
    lines = data.decode("utf-8").split("\n")
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.integers(0, len(lines) - 1))
        cells = lines[row].split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = str(draw(_hostile_cells())).replace("\ud800", "\ufffd")
        lines[row] = ",".join(cells)
    text = "\n".join(lines)
    text = text.replace(",", draw(st.sampled_from((",", ",", "\t", ";", "|", " "))))
    found = text.encode(draw(st.sampled_from(("utf-8", "utf-8", "latin-1", "utf-16", "cp1252"))), "replace")
    return draw(mutated([found], most=3)) if draw(st.booleans()) else found


def with_checksums(png: bytes) -> bytes:
    """Return the bytes of a PNG file with the right checksum in each chunk."""
    found, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        found += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(found)


_TWICE = "a key that becomes a duplicate"


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """Return a document with one change at a place that is drawn."""
    places = [((), value)]
    for path, found in places:
        if len(places) > 400:
            break
        children = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        places += [((*path, key), child) for key, child in children]
    path = draw(st.sampled_from([path for path, _ in places]))
    if not path:
        return deepcopy(draw(hostile_values())) if draw(st.integers(0, 9)) == 0 else value
    parent = reduce(lambda found, key: found[key], path[:-1], value)
    kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "again")))
    if kind == "replace":
        parent[path[-1]] = deepcopy(draw(hostile_values()))
    elif kind == "remove" or isinstance(parent, list):
        del parent[path[-1]]
    elif kind == "rename":
        parent[draw(st.text(max_size=8))] = parent.pop(path[-1])
    else:
        parent[_TWICE] = parent[path[-1]]
    return value


def _put(data: bytes, at: int, length: int, new: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + new + data[at + length :]


def _part(data: bytes, at: int, length: int) -> bytes:
    at %= len(data) + 1
    return data[at : at + length]
