"""Large text tables column by column: the rows that nearly all files have go to Arrow's parser, the others to the careful reader."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
from pyarrow import csv as arrow_csv

from bioclip_core.cells import UNDECODED, latin_1
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.marks import split_line
from bioclip_core.tables.profile import Profile
from bioclip_core.tables.quotes import RECORD_CHARACTERS, Records
from bioclip_core.tables.rows import NOT_UTF_8
from bioclip_core.tables.text import BAD_CHARACTERS, NUL, SHORT, STRAY, SURPLUS

BLOCK_BYTES = 8 << 20
_LONGEST_LINE = 64 << 20
_TAIL_BYTES = 1 << 20
_PROFILED_ROWS = 50
_AHEAD = 2 * RECORD_CHARACTERS
"""Characters behind a block that the careful reader may need for its last record."""
_LONE_RETURN = re.compile(rb"\r(?!\n)")
BREAKS = "cells hold a line break of an old Mac, which is read as a blank"
CUT = "tables end in the middle of a row; is the file complete?"


@dataclass(frozen=True, slots=True)
class TextForm:
    """The form of a text table."""

    name: str
    """Name of the table in messages."""
    columns: tuple[str, ...]
    """Name of each column, none of them twice."""
    separator: str
    quote: str = '"'
    """Empty if the table does not quote."""
    encoding: str = "utf-8"
    lines_before: int = 1
    """Lines that are not rows: the header, and what is above it."""
    sample: tuple[str, ...] = ()
    """First lines, from which the careful reader knows what a row looks like."""


def read_columns(
    form: TextForm, open_file: Callable[[], IO[bytes]], wanted: Sequence[str], findings: Findings
) -> Iterator[pa.RecordBatch]:
    """Yield batches of text columns, in the order of the file up to rows that need the careful reader.

    Args:
        form: of the table.
        open_file: opens it at its beginning.
        wanted: the columns that are read.
        findings: for rows of another length, stray quotation marks and bytes of another encoding.

    Raises:
        SourceError: if it cannot be read.
    """
    reader = _Reader(form, wanted, findings)
    try:
        with open_file() as file:
            yield from reader.batches(_Blocks(file, form, findings))
    except UnicodeError as error:
        raise SourceError(
            f"the table {form.name} cannot be read as {form.encoding}: {error}; state its encoding"
        ) from error
    except EOFError as error:
        raise SourceError(f"the table {form.name} is cut short or damaged: {error}; copy the archive again") from error
    except OSError as error:
        raise SourceError(f"the table {form.name} cannot be read: {error.strerror or error}") from error


def read_part(file: IO[bytes], size: int) -> bytes:
    """Return the next bytes of a file, which may be a member of an archive.

    Raises:
        EOFError: if the archive is cut short or damaged.
        OSError: if it cannot be read.
    """
    try:
        return file.read(size)
    except (zlib.error, zipfile.BadZipFile) as error:
        raise EOFError(str(error)) from error


class _Blocks:
    """Whole lines of a table as UTF-8, some megabytes at a time."""

    def __init__(self, file: IO[bytes], form: TextForm, findings: Findings) -> None:
        self._file, self._form, self._findings = file, form, findings
        utf_8 = codecs.lookup(form.encoding).name in ("utf-8", "utf-8-sig", "ascii")
        self._decoder = None if utf_8 else codecs.getincrementaldecoder(form.encoding)(_errors(form.encoding))
        self._rest = b""
        self._ends = False
        self.line = 1
        """Number of the first line of the next block."""

    def skip_lines(self, count: int) -> None:
        """Pass lines at the beginning."""
        block = self.next()
        at = 0
        for _ in range(count):
            end = block.find(b"\n", at)
            at = len(block) if end < 0 else end + 1
        self.line = 1 + count
        self._rest = block[at:] + self._rest

    def next(self) -> bytes:
        """Return the next lines; empty at the end."""
        while not self._ends and len(self._rest) < BLOCK_BYTES:
            self._read()
        while (end := self._rest.rfind(b"\n")) < 0 and not self._ends:
            self._read()
            if len(self._rest) > _LONGEST_LINE:
                raise SourceError(f"{self._form.name}, line {self.line}: a line of more than {_LONGEST_LINE:,} bytes")
        cut = len(self._rest) if self._ends else end + 1
        block, self._rest = self._rest[:cut], self._rest[cut:]
        self.line += block.count(b"\n")
        return block

    def ahead(self) -> bytes:
        """Return what follows, as far as one record may reach, and leave it."""
        while not self._ends and len(self._rest) < 4 * _AHEAD:
            self._read()
        return self._rest

    def pass_bytes(self, count: int) -> None:
        """Pass the beginning of what follows."""
        self.line += self._rest.count(b"\n", 0, count)
        self._rest = self._rest[count:]

    def _read(self) -> None:
        data = read_part(self._file, BLOCK_BYTES)
        self._ends = not data
        if self._decoder is not None:
            data = self._decoder.decode(data, not data).encode("utf-8", "surrogateescape")
        self._rest += self._plain(data)

    def _plain(self, data: bytes) -> bytes:
        """Return text without what the parser does not take: zero bytes and lone carriage returns."""
        if zeros := data.count(b"\0"):
            self._findings.add(NUL, self._form.name, zeros)
            data = data.replace(b"\0", b"")
        if data.endswith(b"\r") and not self._ends and (more := self._file.read(1)):  # the line feed may follow
            data += more if self._decoder is None else self._decoder.decode(more).encode("utf-8", "surrogateescape")
        if data.count(b"\r") == data.count(b"\r\n"):
            return data
        if b"\n" not in data and b"\n" not in self._rest:  # lines of an old Mac
            return data.replace(b"\r", b"\n")
        data, found = _LONE_RETURN.subn(b" ", data)
        self._findings.add(BREAKS, self._form.name, found)
        return data


class _Reader:
    def __init__(self, form: TextForm, wanted: Sequence[str], findings: Findings) -> None:
        self._form, self._findings = form, findings
        self._wanted = list(dict.fromkeys(wanted))
        self._places = [form.columns.index(name) for name in self._wanted]
        self._schema = pa.schema([(name, pa.string()) for name in self._wanted])
        self._odd: list[list[str]] = []
        self._last_odd = ""

    def batches(self, blocks: _Blocks) -> Iterator[pa.RecordBatch]:
        blocks.skip_lines(self._form.lines_before)
        tail = b""
        while True:
            line = blocks.line
            block = blocks.next()
            if not block:
                break
            tail = block[-_TAIL_BYTES:]
            unsound = self._unsound(block) if self._form.quote and b'"' in block else -1
            plain, rest = (block, b"") if unsound < 0 else (block[:unsound], block[unsound:])
            yield from self._parsed(plain)
            if rest:
                yield self._batch(self._careful(rest, line + plain.count(b"\n"), blocks))
            if self._odd:
                yield self._batch(self._odd)
                self._odd = []
        if self._last_odd and tail.endswith(self._last_odd.encode("utf-8", "surrogateescape")):
            self._findings.add(CUT, f"{self._form.name}: {self._last_odd[:80]!r}")

    def _unsound(self, block: bytes) -> int:
        """Return the place of the first line whose quotation marks need the careful reader; -1 if there is none."""
        width = len(self._form.columns)
        end = 0
        while (mark := block.find(b'"', end)) >= 0:
            start = block.rfind(b"\n", end, mark) + 1 or end
            end = block.find(b"\n", mark) + 1 or len(block)
            text = block[start:end].decode("utf-8", "surrogateescape").rstrip("\r\n")
            try:
                cells = next(csv.reader([text], delimiter=self._form.separator, strict=True))
            except csv.Error:
                return start
            if len(cells) != width:
                return start
        return -1

    def _parsed(self, block: bytes) -> Iterator[pa.RecordBatch]:
        if not block.strip(b"\r\n"):
            return
        clean = self._utf_8(block)
        table = arrow_csv.read_csv(
            pa.BufferReader(clean),
            arrow_csv.ReadOptions(
                use_threads=False, block_size=len(clean) + 1, column_names=list(self._form.columns), encoding="utf8"
            ),
            arrow_csv.ParseOptions(
                delimiter=self._form.separator,
                quote_char=self._form.quote or False,
                ignore_empty_lines=True,
                invalid_row_handler=self._keep_odd,
            ),
            arrow_csv.ConvertOptions(
                column_types=self._schema,
                include_columns=self._wanted,
                strings_can_be_null=False,
                check_utf8=False,  # it is: see above
            ),
        )
        yield from table.to_batches()

    def _keep_odd(self, row: arrow_csv.InvalidRow) -> str:
        text = row.text.rstrip("\r\n")
        if text:
            self._odd.append(self._sized(split_line(text, self._form.separator), text))
        return "skip"

    def _sized(self, cells: list[str], text: str) -> list[str]:
        """Return the cells of a row of another length, which is reported."""
        width = len(self._form.columns)
        if len(cells) < width:
            self._findings.add(SHORT, f"{self._form.name}: {len(cells)} of {width}: {text[:80]!r}")
            self._last_odd = text
        elif any(cell.strip() for cell in cells[width:]):
            self._findings.add(SURPLUS, f"{self._form.name}: {text[:80]!r}")
        return [*cells[:width], *[""] * (width - len(cells))]

    def _utf_8(self, block: bytes) -> bytes:
        """Return the block as valid UTF-8; other bytes are read as Windows-1252, and reported."""
        if block.isascii():
            return block
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            text = block.decode("utf-8", "surrogateescape")
            lines = [line for line in text.split("\n") if UNDECODED.search(line)]
            self._findings.add(NOT_UTF_8, f"{self._form.name}: {latin_1(lines[0])[:80]}", len(lines))
            block = latin_1(text).encode("utf-8")
        if "\ufffd" in text:
            self._findings.add(BAD_CHARACTERS, self._form.name, text.count("\ufffd"))
        return block

    def _careful(self, block: bytes, line: int, blocks: _Blocks) -> Iterator[list[str]]:
        """Yield the rows of lines with unsound quotation marks, and of what follows if the last record goes on there."""
        text = block.decode("utf-8", "surrogateescape")
        ahead = blocks.ahead().decode("utf-8", "surrogateescape")
        width = len(self._form.columns)
        sample = (split_line(one.rstrip("\r\n"), self._form.separator) for one in self._form.sample if '"' not in one)
        profile = Profile([cells for cells in sample if len(cells) == width][:_PROFILED_ROWS])
        records = Records(
            io.StringIO(text + ahead, newline=""),
            self._form.name,
            self._form.separator,
            self._form.quote,
            width=width,
            profile=profile,
        )
        records.look_at(self._form.sample)
        last = text.count("\n") + (not text.endswith("\n"))
        passed = None
        for record in records:
            if record.line > last:
                passed = record.line - 1 - last
                break
            if record.fault:
                self._findings.add(
                    "rows cannot be read", f"{self._form.name}, line {line + record.line - 1}: {record.fault}"
                )
                continue
            for _, cell in records.as_text.items():
                self._findings.add(STRAY, f"{self._form.name}, line {line + record.line - 1}: {latin_1(cell)}")
            records.as_text.clear()
            if any(cell.strip() for cell in record.cells):
                cells = [latin_1(cell) for cell in record.cells]
                yield (
                    cells
                    if len(cells) == len(self._form.columns)
                    else self._sized(cells, self._form.separator.join(cells))
                )
        lines = ahead.count("\n") if passed is None else passed
        at = 0
        for _ in range(lines):
            at = ahead.index("\n", at) + 1
        blocks.pass_bytes(
            len(ahead[:at].encode("utf-8", "surrogateescape")) if passed is not None else len(blocks.ahead())
        )

    def _batch(self, rows: Iterator[list[str]] | list[list[str]]) -> pa.RecordBatch:
        columns: list[list[str]] = [[] for _ in self._places]
        for row in rows:
            for column, place in zip(columns, self._places, strict=True):
                column.append(row[place])
        return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=self._schema)


def _errors(encoding: str) -> str:
    return "replace" if encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")) else "surrogateescape"
