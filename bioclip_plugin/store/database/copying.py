"""Rows in the binary form of PostgreSQL's ``COPY``, made column by column; psycopg's own rows take three times as long."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Begins the rows of a ``COPY``: no flags, no extension of the header."""
TRAILER = b"\xff\xff"
"""Ends them."""
_NULL = struct.pack(">i", -1)
_NUMBERS = {"int8": (">i8", struct.Struct(">iq").pack), "float8": (">f8", struct.Struct(">id").pack)}
_ALL_NULL, _VARYING = -1, -2
"""Lengths of columns without values, and of values that do not have one length. The first one is PostgreSQL's."""


def packed(kinds: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """Return rows, given by their columns, as they are written between ``SIGNATURE`` and ``TRAILER``.

    Args:
        kinds: ``int8``, ``float8``, ``text`` or ``bytea``, by column.
        columns: values or None, at least one per column.
    """
    columns = [
        [None if value is None else value.encode("utf-8") for value in column] if kind == "text" else column
        for kind, column in zip(kinds, columns, strict=True)
    ]
    lengths = [_length(kind, column) for kind, column in zip(kinds, columns, strict=True)]
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for number, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        if length == _VARYING:
            return _joined(kinds, columns)
        fields.append((f"length{number}", ">i4"))
        if length > 0:
            fields.append((f"value{number}", _NUMBERS[kind][0] if kind in _NUMBERS else f"V{length}"))
    table = np.empty(len(columns[0]), dtype=fields)
    table["columns"] = len(kinds)
    for number, (kind, length, column) in enumerate(zip(kinds, lengths, columns, strict=True)):
        table[f"length{number}"] = length
        if length > 0:
            values: Any = column if kind in _NUMBERS else np.frombuffer(b"".join(column), dtype=f"V{length}")
            table[f"value{number}"] = values
    return table.tobytes()


def _length(kind: str, column: Sequence[Any]) -> int:
    """Return the bytes of every value of a column, ``_ALL_NULL`` or ``_VARYING``."""
    if kind in _NUMBERS and None not in column:
        return 8
    lengths = {_ALL_NULL if value is None else 8 if kind in _NUMBERS else len(value) for value in column}
    return lengths.pop() if len(lengths) == 1 else _VARYING


def _joined(kinds: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """Return rows of which a column has values of different lengths."""
    written: list[Sequence[bytes]] = []
    for kind, column in zip(kinds, columns, strict=True):
        if kind in _NUMBERS:
            pack = _NUMBERS[kind][1]
            written.append([_NULL if value is None else pack(8, value) for value in column])
        else:
            written.append([_NULL if value is None else len(value).to_bytes(4, "big") + value for value in column])
    count = len(kinds).to_bytes(2, "big")
    return b"".join(chain.from_iterable(zip(repeat(count, len(columns[0])), *written, strict=True)))
