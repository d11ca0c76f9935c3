"""Scratch databases for data that does not fit into memory."""

from __future__ import annotations

import sqlite3
from typing import Self


class Scratch:
    """A temporary SQLite database that no other program sees and that vanishes when it is closed. Use it in a ``with`` block."""

    def __init__(self, tables: str) -> None:
        """Create the database with these tables, given as SQL."""
        # One transaction that is never committed. Pipelines read it from another thread than the one that made it.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;" + tables + ";BEGIN"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
