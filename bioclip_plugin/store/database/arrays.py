"""Columns of values as arrays in PostgreSQL's binary form, made by NumPy; psycopg's own lists take ten times as long."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.abc import PyFormat
from psycopg.adapt import Dumper
from psycopg.pq import Format

# Numbers of types in PostgreSQL's catalog: of an element, and of an array of it.
_INT8, _FLOAT8, _TEXT, _BYTEA = (20, 1016), (701, 1022), (25, 1009), (17, 1001)
_HEADER = struct.Struct(">iiIii")  # dimensions, is there a null, type of elements, length, number of the first element
_NULL = struct.pack(">i", -1)
_LENGTH = struct.Struct(">i").pack
_SHORT = 128
_LENGTHS = [_LENGTH(length) for length in range(_SHORT)]


class Array:
    """One column of values, on its way to the server."""

    __slots__ = ("data", "oid")

    def __init__(self, kind: tuple[int, int], length: int, body: bytes) -> None:
        element, self.oid = kind
        self.data = _HEADER.pack(1, 1, element, length, 1) + body


class _ArrayDumper(Dumper):
    """Hands an array over as it is; psycopg asks for one dumper per type of array."""

    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data

    def get_key(self, obj: Array, format: PyFormat) -> Any:  # noqa: A002, ARG002 (psycopg's)
        return (Array, obj.oid)

    def upgrade(self, obj: Array, format: PyFormat) -> Dumper:  # noqa: A002, ARG002 (psycopg's)
        dumper = _ArrayDumper(Array)
        dumper.oid = obj.oid
        return dumper


def teach(connection: Connection[Any]) -> None:
    """Let a connection take arrays as parameters."""
    connection.adapters.register_dumper(Array, _ArrayDumper)


def integers(values: Sequence[int | None]) -> Array:
    """Return a column of whole numbers."""
    return _fixed(_INT8, values, ">i8", struct.Struct(">iq").pack)


def floats(values: Sequence[float | None]) -> Array:
    """Return a column of numbers."""
    return _fixed(_FLOAT8, values, ">f8", struct.Struct(">id").pack)


def texts(values: Sequence[str | None]) -> Array:
    """Return a column of texts."""
    return _varying(_TEXT, [None if value is None else value.encode("utf-8") for value in values])


def blobs(values: Sequence[bytes | None]) -> Array:
    """Return a column of bytes."""
    return _varying(_BYTEA, values)


def _fixed(kind: tuple[int, int], values: Sequence[Any], number: str, pack: Callable[[int, Any], bytes]) -> Array:
    if None in values:
        body = b"".join([_NULL if value is None else pack(8, value) for value in values])
        return Array(kind, len(values), body)
    elements = np.empty(len(values), dtype=[("length", ">i4"), ("value", number)])
    elements["length"], elements["value"] = 8, values
    return Array(kind, len(values), elements.tobytes())


def _varying(kind: tuple[int, int], values: Sequence[bytes | None]) -> Array:
    parts = [
        _NULL if value is None else _LENGTHS[len(value)] + value if len(value) < _SHORT else _LENGTH(len(value)) + value
        for value in values
    ]
    return Array(kind, len(parts), b"".join(parts))
