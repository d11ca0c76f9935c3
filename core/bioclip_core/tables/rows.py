"""The rows of a table and its headings, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from bioclip_core.cells import UNDECODED, column_name, latin_1
from bioclip_core.errors import DataError, UsageError
from bioclip_core.findings import Findings

NOT_UTF_8 = "cells are not UTF-8 and are read as Windows-1252; --encoding states another encoding"
ABOVE = "rows above the header are not read"
TableKind = Literal["text", "excel", "parquet"]


class TableRow(NamedTuple):
    """One row of a table."""

    number: int
    """Number of the row below the header, from 1."""
    line: int
    """Its first line in a text file, or its row in a sheet, from 1 for the first one of the file."""
    cells: Mapping[str, Any]
    """The values that are not empty, by their headings."""
    fault: str = ""
    """Reason why the row cannot be read; it has no cells then."""
    undecoded: Mapping[str, str] = MappingProxyType({})
    """The cells whose bytes are not of the encoding, with these bytes as surrogates: for file names."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is open for reading."""

    name: str
    """Its name in messages."""
    kind: TableKind
    headings: Headings
    read: Callable[[], Iterator[TableRow]] = field(repr=False)
    """Return the rows from the first one; rows are read as they are needed."""

    @property
    def header(self) -> tuple[str, ...]:
        """The headings that are not empty, as the columns are read."""
        return tuple(filter(None, self.headings.names))

    def __iter__(self) -> Iterator[TableRow]:
        return self.read()


class Headings:
    """The headings of a table: each column has its own name, and the columns of ``--column`` are called after their fields."""

    def __init__(self, written: Sequence[object], chosen: Mapping[str, str], fields: Sequence[str], table: str) -> None:
        """Name the columns.

        Args:
            written: the headings as the table has them.
            chosen: the headings by the field that each is read as.
            fields: the fields that the reader knows; empty: any.
            table: name of the table, for messages.

        Raises:
            UsageError: for an unknown field.
            DataError: for a heading that the table does not have.
        """
        self._table = table
        self.undecoded = [str(name) for name in written if UNDECODED.search(str(name))]
        """The headings with bytes that are not of the table's encoding, as surrogates."""
        self.written = [latin_1("" if name is None else str(name)).replace("\0", "").strip() for name in written]
        """The headings as the table has them."""
        renamed = self._renamed(chosen, fields)
        self.names: list[str] = []
        """The headings by which cells are known; empty for a column without one."""
        self.duplicates: list[str] = []
        """The headings that occur more than once."""
        taken, last = set(renamed.values()), dict[str, int]()
        for place, heading in enumerate(self.written):
            name = renamed.get(place, heading)
            if name and place not in renamed and name in taken:
                self.duplicates.append(name)
                name = self._numbered(name, taken, last)
            taken.add(name)
            self.names.append(name)

    @staticmethod
    def _numbered(name: str, taken: set[str], last: dict[str, int]) -> str:
        """Return a name that is not taken; ``last`` keeps the number of each name's last column, so that many are not tried again."""
        number = last.get(name, 1) + 1
        while f"{name} ({number})" in taken:
            number += 1
        last[name] = number
        return f"{name} ({number})"

    def _renamed(self, chosen: Mapping[str, str], fields: Sequence[str]) -> dict[int, str]:
        """Return the fields that columns are read as, by the columns' places."""
        renamed: dict[int, str] = {}
        known = {column_name(name): name for name in reversed(fields)}
        for asked, heading in chosen.items():
            if known and column_name(asked) not in known:
                raise UsageError(
                    f"--column {asked}={heading}: {asked} is not a field of {self._table}; known are {', '.join(fields)}"
                )
            places = [
                place for place, name in enumerate(self.written) if column_name(name) == column_name(heading) and name
            ]
            exact = [place for place in places if self.written[place] == heading]
            if not places:
                raise DataError(
                    f"--column {asked}={heading}: {self._table} has no column {heading!r}; it has {self.shown()}"
                )
            renamed[(exact or places)[0]] = known.get(column_name(asked), asked)
        return renamed

    def shown(self) -> str:
        """Return the headings for a message."""
        return ", ".join(filter(None, self.written)) or "no columns"

    def written_as(self, name: str) -> str:
        """Return the heading of a column as the table has it."""
        return next((self.written[place] for place, known in enumerate(self.names) if known == name), name)

    def name_of(self, place: int) -> str:
        """Return the name of a column; one without a heading is called after its place."""
        name = self.names[place] if place < len(self.names) else ""
        return name or f"column {place + 1}"

    def report(self, findings: Findings) -> None:
        """Report headings that occur more than once, and those that are not of the encoding."""
        for name in self.undecoded:
            findings.add(NOT_UTF_8, f"{self._table}, its header: {latin_1(name)}")
        for name in self.duplicates:
            findings.add(
                "headings occur more than once in their table; the later column gets a number",
                f"{self._table}: {name!r}",
            )


class RowFindings:
    """Findings about the shape of a table's rows."""

    def __init__(self, findings: Findings, table: str) -> None:
        self._findings, self._table = findings, table

    def add(self, text: str, number: int, line: int, example: str = "") -> None:
        """Count a finding with its row."""
        self._findings.add(text, f"{self._table}, row {number} (line {line})" + (f": {example}" if example else ""))


def shown_path(path: Path) -> str:
    """Return a path as messages show it: bytes that are not UTF-8 are readable, and control characters are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in latin_1(str(path)))
