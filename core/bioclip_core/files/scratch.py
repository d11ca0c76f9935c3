"""Scratch databases: what does not fit into memory, found again by its id, gone when the work is done."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self


class Scratch:
    """A database of SQLite's own, in a file that nobody else sees and that goes when it is closed. To be used with ``with``."""

    def __init__(self, tables: str) -> None:
        """Make it, with these tables (SQL)."""
        # One transaction that is never committed; read by whichever thread the listing goes on in.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;")
        self._database.executescript(tables)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
