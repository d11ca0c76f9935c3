"""The encoding and the separator of a text table, from its first bytes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bioclip_core.cells import column_name
from bioclip_core.tables.marks import split_line

LOOK_AT = 65_536
"""Bytes at the beginning of a table from which its dialect is derived; the header must end within them."""
SEPARATORS = (",", "\t", ";", "|")

_MARKS = (  # UTF-32 first, whose mark begins like the one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_STATED = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE | re.ASCII)
_LINES_COMPARED = 50
_TITLE_LINES = 20
_WIDE_HEADER = 10  # cells that no line of text has by chance
_WIDE_SHARE = 0.8  # share of a file's characters that have a zero byte, in UTF-16 without a mark


@dataclass(frozen=True, slots=True)
class Dialect:
    """The encoding and the separator of a text table, and its first lines."""

    encoding: str
    separator: str
    lines: Sequence[str]
    """The lines of the beginning, from the header on; the last one may be cut off."""
    lines_before: int = 0
    """Lines before the header: Excel's ``sep=;``, a title, and blank ones."""
    title_lines: int = 0
    """Lines among them that hold a title or remarks."""
    is_binary: bool = False
    """True for a file that is not text."""

    @property
    def errors(self) -> str:
        """The handling of bytes that are not of the encoding, which must keep them readable."""
        return "replace" if self.encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"


def dialect_of(start: bytes, encoding: str | None = None, suffix: str = "", needed: Container[str] = ()) -> Dialect:
    """Return the dialect of a text table.

    The separator is the one that gives the most rows the number of cells that the header has, and more than one cell.

    Args:
        start: the beginning of the file, ``LOOK_AT`` bytes of it.
        encoding: the encoding, if the user states it.
        suffix: the end of the file's name, which decides between separators that fit equally well.
        needed: comparable names of headings; a line with one of them is the header, below a title.
    """
    encoding = _encoding_of(start, encoding)
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    text = start.decode(encoding, errors).removeprefix("\ufeff")
    lines = list(_lines_of(text))
    before = next((number for number, line in enumerate(lines) if line.strip()), 0)
    separator = ""
    if len(lines) > before and (stated := _STATED.fullmatch(lines[before].rstrip("\r\n"))):
        separator = stated[1]
        before = next((number for number, line in enumerate(lines) if number > before and line.strip()), len(lines))
    title = 0 if separator else _lines_of_title(lines[before:], needed)
    lines, before = lines[before + title :], before + title
    is_binary = "\0" in (lines[0] if lines else "") or text.count("\0") > len(text) // 4
    if not separator:
        separator = "," if is_binary else _separator_of(lines, suffix)
    return Dialect(encoding, separator, lines, before, title, is_binary)


def _lines_of_title(lines: Sequence[str], needed: Container[str]) -> int:
    """Return the number of lines above the one with a needed heading, if these have fewer cells; else 0."""
    for number, line in enumerate(lines[:_TITLE_LINES]):
        for separator in SEPARATORS:
            if any(column_name(cell) in needed for cell in split_line(line, separator)):
                width = _filled(line, separator)
                return number if all(_filled(above, separator) < width for above in lines[:number]) else 0
    return 0


def _filled(line: str, separator: str) -> int:
    return sum(bool(cell.strip()) for cell in split_line(line, separator))


def _encoding_of(start: bytes, stated: str | None) -> str:
    """Return the encoding: the stated one, that of the mark, UTF-16 if every second byte is zero, else UTF-8."""
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if marked or stated:
        return marked or codecs.lookup(stated or "").name  # a mark is certain
    half = len(start) // 2
    if half >= 4:
        if start[1::2].count(0) > _WIDE_SHARE * half and 0 not in start[:64:2]:
            return "utf-16-le"
        if start[::2].count(0) > _WIDE_SHARE * half and 0 not in start[1:64:2]:
            return "utf-16-be"
    return "utf-8"


def _lines_of(text: str) -> Iterator[str]:
    """Yield lines with their ends, which may be those of Windows, Unix and old Macs; other characters do not end a line."""
    return (found[0] for found in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text))


def _separator_of(lines: Sequence[str], suffix: str) -> str:
    whole = lines[:-1] if len(lines) > 1 and not lines[-1].endswith(("\r", "\n")) else lines
    sample = list(islice((line for line in whole if line.strip()), _LINES_COMPARED))
    preferred = "\t" if suffix in (".tsv", ".tab") else ","
    return max(SEPARATORS, key=lambda separator: (*_fit(sample, separator), separator == preferred))


def _fit(lines: Sequence[str], separator: str) -> tuple[bool, float, int]:
    """Return how well a separator fits: several columns, the share of rows with the header's number of cells, columns."""
    counts = [len(split_line(line, separator)) for line in lines] or [1]
    columns, rows = counts[0], counts[1:]
    # A row may lack its last cells or have surplus ones, and a line of a quoted cell has fewer.
    points = sum(
        1.0 if count == columns else 0.5 if 1 < count < columns else 0.25 * (count > columns) for count in rows
    )
    share = points / len(rows) if rows else 1.0
    if columns >= _WIDE_HEADER and share <= 0.1:  # quoted cells of several lines break up the rows, not the header
        return False, 1.0, columns
    return columns > 1 and share > 0.1, round(share, 1), columns
