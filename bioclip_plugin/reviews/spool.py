"""Rows that are sorted without being held in memory: kept in a file, with a number each in memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator
from types import TracebackType
from typing import Any


class Spool:
    """Rows of plain JSON values, given back in the order of their keys. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by __exit__
        self._keys = array("d")
        self._starts = array("q")

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, row: dict[str, Any], key: float) -> None:
        """Keep a row under a key; the highest comes first."""
        self._keys.append(key)
        self._starts.append(self._file.tell())
        self._file.write(json.dumps(row).encode() + b"\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, the highest key first, equal ones as they came."""
        for place in sorted(range(len(self._keys)), key=lambda place: -self._keys[place]):
            self._file.seek(self._starts[place])
            row: dict[str, Any] = json.loads(self._file.readline())
            yield row
