"""The rows of a Darwin Core archive's tables, one at a time: reading goes on behind a row with a fault.

python-dwca-reader is not used: the first short row ends its iteration, and it replaces bytes that are not of the stated
encoding without a warning.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.cells import latin_1
from bioclip_core.errors import SourceError
from bioclip_core.files.meta_xml import Table
from bioclip_plugin.formats.shared.table_files import Lines


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    file: str
    number: int
    """Its first line, from 1."""
    id: str = ""
    """Its own id in the core, the id of the core's row in an extension."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The cells that are not empty, by the last part of the term; the first of two terms of that name counts."""
    fault: str = ""
    """Reason why it is not usable; its values are then empty."""
    is_latin_1: bool = False
    """True if it held bytes that are not of the stated encoding, and was read as Latin-1."""

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.number}"


def records(folder: Path, table: Table) -> Iterator[Record]:
    """Yield the rows of a table's files, without header lines and empty lines.

    Raises:
        SourceError: if a file is missing, or is not text in lines.
    """
    for name in table.names:
        yield from _records_of(folder / name, name, folder, table)


def header_of(folder: Path, name: str, table: Table) -> list[str] | None:
    """Return the cells of the last header line of a table's file; None without a header line or a file."""
    if not table.header_lines or not (folder / name).is_file():
        return None
    with (folder / name).open(encoding=table.encoding, errors="replace", newline="" if table.quote else None) as file:
        for number, cells in _rows(file, name, table):
            if number >= table.header_lines:
                return cells if isinstance(cells, list) else None
    return None


def _records_of(path: Path, name: str, folder: Path, table: Table) -> Iterator[Record]:
    if not path.is_file():
        raise SourceError(f"{name}, which meta.xml names, is not in the archive")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"{name} is a symbolic link that leaves the archive's folder; put the file itself there")
    expected, width = 0, table.width
    # Quoted cells may hold line ends, which csv must see unchanged; and meta.xml often states \r\n for files with \n.
    newline = "" if table.quote else table.line_end[-1]
    try:
        with path.open(encoding=table.encoding, errors="surrogateescape", newline=newline) as file:
            for number, cells in _rows(file, name, table):
                if number <= table.header_lines:
                    expected = len(cells)
                elif isinstance(cells, str) or any(cells):
                    yield _record(name, number, cells, table, width, expected)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{name} cannot be read as {table.encoding}: {error}") from error


def _rows(file: io.TextIOWrapper, name: str, table: Table) -> Iterator[tuple[int, list[str] | str]]:
    """Yield line numbers and cells, or the fault of a line."""
    lines = Lines(file, name)
    if not table.quote:
        for line in lines:
            lines.begin()
            yield lines.number, line.rstrip("\r\n").split(table.separator)
        return
    reader = csv.reader(lines, delimiter=table.separator, quotechar=table.quote)
    while True:
        begins = lines.begin()
        try:
            yield begins, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield begins, lines.why(error)


def _record(name: str, number: int, cells: list[str] | str, table: Table, width: int, expected: int) -> Record:
    if isinstance(cells, str):
        return Record(name, number, fault=cells)
    if len(cells) < width:
        return Record(name, number, fault=f"it has {len(cells)} columns; meta.xml needs {width}")
    if expected and len(cells) > expected:
        # A separator within a cell that is not quoted moves the cells behind it into the wrong columns.
        return Record(
            name, number, fault=f"it has {len(cells)} columns and the header has {expected}: a cell holds a separator"
        )
    whole = "".join(cells)
    read = cells if latin_1(whole) == whole else [latin_1(cell) for cell in cells]
    values: dict[str, str] = {}
    for column in table.columns:
        cell = read[column.index].replace("\0", "").strip() if column.index is not None else ""
        value = cell if cell not in ("", "\\N") else column.default
        if value:
            values.setdefault(column.name, value)
    own = read[table.id_index].replace("\0", "").strip()
    return Record(name, number, own, values, is_latin_1=read != cells)
