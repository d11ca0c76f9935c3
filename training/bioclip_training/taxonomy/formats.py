"""Reading of checklists: the kind of a source (GBIF, ColDP, Darwin Core or a plain table), and its rows one by one."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_core.files.archives import archive_kind, open_archive
from bioclip_core.files.meta_xml import META, META_BYTES, Table
from bioclip_core.files.meta_xml import described as described_archive
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists, is_file, is_folder
from bioclip_core.files.regular import open_regular
from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.sheets import sheet_of
from bioclip_core.tables.text import lines_within
from bioclip_core.taxonomy import RANKS
from bioclip_training.taxonomy.metadata import Described, described

_TEXT_SUFFIXES = (".tsv", ".csv", ".txt", ".tab")
_ENGLISH = frozenset(("en", "eng", "english"))
_LIKELY = ("taxon", "nameusage", "taxa", "species", "checklist")
_UNDECODED = re.compile("[\udc80-\udcff]")
_RANKS = frozenset(rank.value for rank in RANKS)
_SHOWN = 500  # letters of the columns' names in a message
_NAMES = frozenset(("scientificname", "canonicalname", "specificepithet"))
_WORKBOOKS = (".xlsx", ".xlsm")
_NEEDED = (*_RANKS, *_NAMES)


@dataclass
class Checklist:
    """One opened source: its kind, its columns, and its rows as lists of cells."""

    path: Path
    kind: str
    """``gbif``, ``coldp``, ``darwin-core`` or ``table``."""
    columns: dict[str, int]
    """Column names in lower case without prefix and underscores, each with its place."""
    description: Described
    odd: Counter[str] = field(default_factory=Counter)
    """Oddities of lines, counted while they are read."""
    _layout: Layout = field(repr=False, default_factory=lambda: Layout(""))

    def rows(self) -> Iterator[list[str]]:
        """Yield every row in file order, at least as long as the header, with an empty cell at the end for missing columns.

        Raises:
            SourceError: if the file cannot be read to its end.
        """
        width = max(self.columns.values()) + 1
        for cells in _cells(self.path, self._layout, self.odd):
            if len(cells) < width:
                if not any(cells):
                    continue
                self.odd["lines with fewer cells than the header"] += 1
                cells += [""] * (width - len(cells))
            cells.append("")
            yield cells

    def vernaculars(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of taxon id and English name from the file of vernacular names beside the core, if it exists."""
        layout = self._layout.vernaculars
        if layout is None:
            return
        places = [layout.columns.get(name, sys.maxsize) for name in ("taxonid", "name", "language")]
        for cells in _cells(self.path, layout, Counter()):
            taxon_id, name, language = (cells[at].strip() if at < len(cells) else "" for at in places)
            if taxon_id and name and (language.lower() in _ENGLISH or "language" not in layout.columns):
                yield taxon_id, name


@dataclass(frozen=True)
class Layout:
    """Layout of one text file."""

    member: str
    """Its name within a folder or zip; empty if the source is the file itself."""
    separator: str = "\t"
    quote: str = ""
    """Empty if a quotation mark is a letter like any other, as in GBIF's files."""
    header_lines: int = 1
    encoding: str = "utf-8"
    columns: dict[str, int] = field(default_factory=dict)
    vernaculars: Layout | None = None
    is_workbook: bool = False


def open_checklist(path: Path) -> Checklist:
    """Open a source and recognise its kind by its content.

    Args:
        path: a text file, or a folder or zip that holds a Darwin Core archive, a ColDP package or a single table.

    Raises:
        SourceError: if it is missing, cannot be read, or is without a table of names.
    """
    with _reading(path):
        layout = _layout_of(path)
        columns = layout.columns or _header(path, layout)
        kind = _kind_of(columns)
        if kind is None:
            text = ", ".join(columns)
            shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:_SHOWN])
            raise SourceError(
                f"{path} is not a checklist: the columns of {layout.member or path.name} are "
                f"{shown or 'none'}{'…' if len(text) > _SHOWN else ''}; give GBIF's "
                "Taxon.tsv, ColDP's NameUsage.tsv, Darwin Core (taxonID, scientificName), or a table with columns of ranks (kingdom "
                "to species)"
            )
        return Checklist(path, kind, columns, described(path), _layout=layout)


def _kind_of(columns: dict[str, int]) -> str | None:
    if {"id", "scientificname"} <= columns.keys() and columns.keys() & {"parentid", "status"}:
        return "coldp"
    if "taxonid" in columns and columns.keys() & _NAMES:
        return "gbif" if "canonicalname" in columns and "acceptednameusageid" in columns else "darwin-core"
    return "table" if columns.keys() & (_RANKS | _NAMES) else None


def _layout_of(path: Path) -> Layout:
    if not exists(sheet_of(path)[0]):
        raise SourceError(f"the checklist {path} does not exist{near_hint(path)}: give a file, folder or zip")
    if sheet_of(path)[0].suffix.lower() in _WORKBOOKS:
        header = open_table(path, needed=_NEEDED).headings.names
        return Layout(
            "",
            columns={column_name(name): at for at, name in reversed(list(enumerate(header))) if name},
            is_workbook=True,
        )
    if not is_folder(path) and archive_kind(path) is None:
        return _guessed(path, "")
    names = _members(path)
    meta = next((name for name in names if PurePosixPath(name).name.lower() == "meta.xml"), None)
    if meta is not None:
        return _from_meta(path, meta, names)
    tables = [name for name in names if PurePosixPath(name).suffix.lower() in _TEXT_SUFFIXES]
    by_stem = {PurePosixPath(name).stem.lower(): name for name in reversed(tables)}  # of several, the first one
    if exact := by_stem.get("nameusage") or by_stem.get("taxon"):
        layout = _guessed(path, exact)
        if "vernacularname" not in by_stem:
            return layout
        beside = _guessed(path, by_stem["vernacularname"])
        return replace(layout, vernaculars=_of_vernaculars(replace(beside, columns=_header(path, beside))))
    likely = [name for name in tables if any(word in name.lower() for word in _LIKELY)] or tables
    if len(likely) != 1:
        raise SourceError(
            f"{path} holds {len(likely)} tables that may be the checklist ({', '.join(likely[:4]) or 'no .tsv, .csv or .txt'}); "
            "give the file of names itself"
        )
    return _guessed(path, likely[0])


def _guessed(path: Path, member: str) -> Layout:
    """Guess the layout of a file: the separator is the most frequent one in its header; tab-separated text does not quote."""
    with _open(path, member) as file:
        first = file.readline(1_000_000)
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{path} is UTF-16: save it as UTF-8 and try again")
    if b"\x00" in first:
        raise SourceError(f"{path} is not a checklist: {member or path.name} is not a text file")
    separator = max(("\t", ",", ";"), key=lambda s: first.count(s.encode()))
    return Layout(member, separator, "" if separator == "\t" else '"')


def _of_vernaculars(layout: Layout) -> Layout:
    """Return the layout of a file of common names with its id, name and language alone; the name is Darwin Core's or ColDP's."""
    names = {"taxonid": "taxonid", "name": "name", "language": "language", "vernacularname": "name"}
    return replace(
        layout, columns={ours: layout.columns[name] for name, ours in names.items() if name in layout.columns}
    )


def _header(path: Path, layout: Layout) -> dict[str, int]:
    columns: dict[str, int] = {}
    for place, cell in enumerate(next(_cells(path, replace(layout, header_lines=0), Counter()), [])):
        if name := column_name(cell):
            columns.setdefault(name, place)
    return columns


def _from_meta(path: Path, meta: str, names: list[str]) -> Layout:
    """Return the layout that an archive's ``meta.xml`` states, which gives every column its place."""
    with _open(path, meta) as file:
        description = described_archive(file.read(META_BYTES + 1), f"{META} of {path}")
    core = _table_layout(description.core, PurePosixPath(meta).parent, names, path)
    vernacular = next((table for table in description.extensions if table.kind == "VernacularName"), None)
    if vernacular is None:
        return core
    return replace(
        core, vernaculars=_of_vernaculars(_table_layout(vernacular, PurePosixPath(meta).parent, names, path))
    )


def _table_layout(table: Table, folder: PurePosixPath, names: list[str], path: Path) -> Layout:
    member = (folder / table.names[0]).as_posix()
    if member not in names:
        raise SourceError(f"{path}: its meta.xml names {table.names[0]}, which is not in it")
    columns = {"taxonid": table.id_index}
    for column in table.columns:
        if column.index is not None:
            columns.setdefault(column_name(column.term), column.index)
    return Layout(member, table.separator, table.quote, table.header_lines, table.encoding.lower(), columns)


def _members(path: Path) -> list[str]:
    if is_folder(path):
        return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if is_file(file))
    with open_archive(path) as archive:
        return [name for name in archive.members if not name.startswith("__MACOSX")]


def _open(path: Path, member: str) -> IO[bytes]:
    if not member or is_folder(path):
        return open_regular(path / member if member else path)
    return open_archive(path).open(member)  # the open member keeps its archive


def _cells(path: Path, layout: Layout, odd: Counter[str]) -> Iterator[list[str]]:
    if layout.is_workbook:
        findings = Findings()
        table = open_table(path, None, findings, needed=_NEEDED)
        for row in table:
            yield [str(row.cells.get(name, "")) if name else "" for name in table.headings.names]
        odd.update({text: findings.count(text) for text in findings.texts()})
        return
    with _reading(path), _open(path, layout.member) as file:
        lines = _lines(file, layout, odd)
        if layout.quote:
            yield from csv.reader(lines, delimiter=layout.separator, quotechar=layout.quote)
        else:
            yield from (line.split(layout.separator) for line in lines)


def _lines(file: IO[bytes], layout: Layout, odd: Counter[str]) -> Iterator[str]:
    """Yield lines without their ends. A line that is not UTF-8 is read as Latin-1 (Windows' form of it) and counted, not fatal."""
    encoding = "utf-8" if layout.encoding.replace("-", "") in ("utf8", "") else layout.encoding
    # Only line feeds end a line: names may hold the other characters that Python counts as ends.
    with io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="\n") as text:
        for number, line in enumerate(lines_within(text, layout.member or "the checklist")):
            if number == 0:
                line = line.removeprefix("\ufeff")
            if number < layout.header_lines:
                continue
            if not line.isascii() and _UNDECODED.search(line):
                odd["lines that are not UTF-8, read as Latin-1"] += 1
                line = line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
            yield line if layout.quote else line.rstrip("\r\n")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, LookupError, csv.Error, UnicodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(
            f"the checklist {path} cannot be read: {reason}; get it again, or give its file of names"
        ) from error
