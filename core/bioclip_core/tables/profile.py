"""Likeness of rows: the columns of a table whose cells are file names, numbers or dates."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KINDS = (
    ("file", re.compile(r"\S.*\.[A-Za-z][A-Za-z0-9]{1,4}|\w+://\S+")),
    ("number", re.compile(r"[-+]?\d+(?:[.,]\d+)?")),
    ("date", re.compile(r"\d{1,4}[-./:]\d{1,2}[-./:]\d{1,4}\b.*")),
)
_LEAST_ROWS = 2


class Profile:
    """The kinds of a table's columns, from some of its rows."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """Take the kinds from rows whose number of cells is the header's."""
        self._kinds = {
            place: kind
            for place, column in enumerate(zip(*rows, strict=True))
            if (kind := _kind_of([cell.strip() for cell in column if cell.strip()]))
        }

    def share_of_rows(self, rows: Sequence[Sequence[str]], mark: str) -> float | None:
        """Return the share of some records that look like rows of the table; None if the columns do not tell."""
        named = "file" in self._kinds.values()
        if not named and len(self._kinds) < 2:
            return None
        return sum(self._is_row([cell.strip().strip(mark) for cell in row]) for row in rows) / len(rows)

    def _is_row(self, cells: Sequence[str]) -> bool:
        """True if the known columns hold cells of their kind or nothing, and the file's name is one."""
        patterns = dict(_KINDS)
        return all(
            bool(patterns[kind].fullmatch(cells[place])) or (not cells[place] and kind != "file")
            for place, kind in self._kinds.items()
        )


def _kind_of(cells: Sequence[str]) -> str | None:
    if len(cells) < _LEAST_ROWS:
        return None
    return next((kind for kind, pattern in _KINDS if all(map(pattern.fullmatch, cells))), None)
