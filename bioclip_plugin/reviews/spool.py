"""Rows sorted without being held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bioclip_core.files.scratch import Scratch


class Spool(Scratch):
    """Rows of plain JSON values, sorted by a key on the disk. Use it in a ``with`` block."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE rows (place INTEGER PRIMARY KEY, key REAL, row TEXT)")
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: dict[str, Any], key: float) -> None:
        """Keep a row under its key."""
        self._database.execute("INSERT INTO rows (key, row) VALUES (?, ?)", (key, json.dumps(row)))
        self._count += 1

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, the highest key first and rows of equal keys in the order of their coming."""
        for (row,) in self._database.execute("SELECT row FROM rows ORDER BY key DESC, place"):
            yield json.loads(row)
