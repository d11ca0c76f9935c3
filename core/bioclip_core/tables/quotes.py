"""Records of text tables: the decision where a quotation mark quotes a cell, and where it is a character of the text.

Programs that write tables either quote cells (RFC 4180: a quoted cell may hold separators, line ends and doubled marks) or
write every cell as it is, with the marks that people typed. A line without a quotation mark is split at its separators. For
other lines the first of these readings counts that fits the header, so that no row is swallowed by a mark:

======================================================================= ================================================
line                                                                    reading
======================================================================= ================================================
``a,"b, c",d`` every mark is sound: the cell begins with one, and the   quoted cells
closing one is followed by a separator or the line's end
``a,5" tall,c`` a mark within a cell                                    text
``a,"Hof" bei,c`` a closing mark followed by other text                 that cell is text, the others as they are
``a, "b, c",d`` blanks before a mark                                    quoted cells, if they give the header's number
``a,"say \\"b\\"",c`` marks with a backslash                              quoted cells, if they give the header's number
``a,"say "b", c",d`` marks that are not doubled                         the same, closed before a separator or line end
``a,"b`` a cell that is not closed in its line, and:
– the line has the header's number of cells, and no closing mark        text
  follows, or one that is followed by other text
– with the following lines up to the closing mark it gives the header's one cell of several lines
  number of cells, and the lines alone do not
– both do                                                               text if the lines look like rows (file names,
                                                                        numbers and dates in the same columns as in other
                                                                        rows), or if the file does not quote elsewhere and
                                                                        is separated by tabs; else one cell
– neither does, and it is closed soundly                                one cell of several lines
– otherwise                                                             the line is reported, and the next one is read
======================================================================= ================================================
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

from bioclip_core.errors import SourceError
from bioclip_core.tables.marks import ENDS, patterns_of, scan, split_line
from bioclip_core.tables.profile import Profile

LINE_CHARACTERS = 4 << 20
RECORD_CHARACTERS = 1 << 17
"""Longest record of several lines."""
_LENIENT_LINES, _LENIENT_CHARACTERS = 100, 1 << 14  # of a cell whose marks are not sound


class Record(NamedTuple):
    """One record: the number of its first line, and its cells, or the fault that prevents reading them."""

    line: int
    cells: list[str]
    fault: str = ""


class Records:
    """The records of a text table, one at a time, in flat memory."""

    def __init__(
        self,
        file: TextIO,
        name: str,
        separator: str,
        mark: str = '"',
        *,
        width: int = 0,
        profile: Profile | None = None,
        first_line: int = 1,
        is_declared: bool = False,
    ) -> None:
        """Begin to read.

        Args:
            file: opened with ``newline=""``, at the first record.
            name: of the table, for messages.
            separator: one character.
            mark: the quotation mark; empty if the table does not quote.
            width: number of the header's cells; 0: the first record is the header.
            profile: what rows of this table look like.
            first_line: number of the file's first line here.
            is_declared: True if the file itself states that it quotes.
        """
        self._file, self._name, self._separator, self._mark = file, name, separator, mark
        self.width = width
        """Number of cells of a whole row."""
        self._profile = profile or Profile(())
        self._ahead: deque[str] = deque()
        self._line = first_line - 1
        self._unclosed = 0  # the mark of a line up to this one is not closed before it either
        self._patterns = patterns_of(separator, mark) if mark else None
        self._is_unquoted_by_habit = separator == "\t" and not is_declared
        self._sound = self._stray = 0
        self._texts: list[str] = []
        if mark:
            self._reader, self._spaced_reader = (
                csv.reader(
                    iter(self._texts.pop, None),
                    delimiter=separator,
                    quotechar=mark,
                    strict=True,
                    skipinitialspace=spaced,
                )
                for spaced in (False, True)
            )
        self.as_text: dict[int, str] = {}
        """Lines since the last look whose marks were taken as text although a cell begins with one, with the cell."""

    def look_at(self, lines: Sequence[str]) -> None:
        """Take the file's habit of quoting from lines at its beginning."""
        for line in lines if self._patterns else ():
            if self._mark in line:
                self._note(line.rstrip(ENDS))

    def _note(self, text: str) -> tuple[list[str], int]:
        assert self._patterns is not None
        cells, odd = scan(text, self._separator, self._mark, self._patterns.sound)
        if (odd and not self._head(text)) or (not odd and self._patterns.inside.search(text)):
            self._stray += 1
        elif not odd:
            holds_separator = len(cells) <= text.count(self._separator)
            quotes_all = len(cells) > 1 and text.count(self._mark) >= 2 * len(cells)
            self._sound += holds_separator or quotes_all
        return cells, odd

    def __iter__(self) -> Iterator[Record]:
        separator, mark = self._separator, self._mark
        while line := self._next():
            begins = self._line
            if not mark or mark not in line:
                text = line.rstrip(ENDS)
                record = Record(begins, text.split(separator) if text else [])
            else:
                record = self._quoted(line.rstrip(ENDS), line, begins)
            if not self.width and record.cells:
                self.width = len(record.cells)
            yield record

    def _next(self) -> str:
        line = self._ahead.popleft() if self._ahead else self._read()
        self._line += bool(line)
        return line

    def _read(self) -> str:
        line = self._file.readline(LINE_CHARACTERS)
        if len(line) >= LINE_CHARACTERS:
            raise SourceError(
                f"{self._name}, line {self._line + len(self._ahead) + 1}: a line of more than {LINE_CHARACTERS:,} characters; "
                "is it a text file with lines?"
            )
        return line

    # -- lines with quotation marks ------------------------------------------------------------------------------------

    def _quoted(self, text: str, line: str, begins: int) -> Record:
        assert self._patterns is not None
        cells = self._strict(text)
        if cells is not None and len(cells) == self.width:
            return Record(begins, cells)
        if cells is not None and (spaced := self._spaced(text)):
            return Record(begins, spaced)
        cells, odd = self._note(text)
        if not odd:
            plain = text.split(self._separator)
            # "Hof<TAB>Tal" in a file that does not quote is two cells.
            return Record(begins, plain if len(plain) == self.width and self._is_plain else cells)
        if self._head(text):
            return self._opened(text, line, begins, cells)
        return self._odd(text, begins, cells)

    def _strict(self, text: str, *, spaced: bool = False) -> list[str] | None:
        """Return the cells of a line whose marks are all sound; None for another one."""
        self._texts.append(text)
        try:
            return next(self._spaced_reader if spaced else self._reader)
        except (csv.Error, IndexError):  # the latter: a cell goes on in the next line
            return None

    def _spaced(self, text: str) -> list[str] | None:
        """Return the cells of a line with blanks before its quoted cells, if the header has as many."""
        if f"{self._separator} {self._mark}" not in text:
            return None
        cells = self._strict(text, spaced=True)
        return cells if cells is not None and len(cells) == self.width else None

    def _head(self, text: str) -> tuple[list[str], str] | None:
        """Return the cells before the one that goes on in the next line, and its beginning; None without one."""
        assert self._patterns is not None
        opening = next(filter(None, (self._patterns.opening.match(text, at) for at in self._begins(text))), None)
        if opening is None:
            return None
        before = text[: opening.start()]
        cells = scan(before[:-1], self._separator, self._mark, self._patterns.sound).cells if before else []
        return cells, opening[1]

    def _begins(self, text: str) -> Iterator[int]:
        """Yield the places of marks that begin a cell and are not sound."""
        assert self._patterns is not None
        at = 0
        while at <= len(text):
            found = self._patterns.sound.match(text, at)
            if found is None and text.startswith(self._mark, at):
                yield at
            end = found.end() if found else text.find(self._separator, at)
            if end < 0 or end >= len(text):
                return
            at = end + 1

    @property
    def _is_plain(self) -> bool:
        """True if nothing so far shows that the file quotes cells, and something that it does not."""
        return not self._sound and (self._stray > 0 or self._is_unquoted_by_habit)

    def _odd(self, text: str, begins: int, cells: list[str]) -> Record:
        """Read a line in which a closing mark is followed by text."""
        assert self._patterns is not None
        if len(cells) != self.width:
            for quoted in self._patterns.lenient:
                others, odd = scan(text, self._separator, self._mark, quoted)
                if not odd and len(others) == self.width:
                    return Record(begins, _unescaped(others, self._mark, quoted is self._patterns.escaped))
            plain = text.split(self._separator)
            cells = plain if len(plain) == self.width else cells
        elif "\\" + self._mark in text:
            others, odd = scan(text, self._separator, self._mark, self._patterns.escaped)
            if not odd and len(others) == self.width:
                return Record(begins, _unescaped(others, self._mark, escaped=True))
        self._keep_as_text(begins, cells)
        return Record(begins, cells)

    def _keep_as_text(self, line: int, cells: Sequence[str]) -> None:
        self.as_text[line] = next((cell for cell in cells if cell.startswith(self._mark)), "")

    def _opened(self, text: str, line: str, begins: int, alone: list[str]) -> Record:
        """Read a line with a cell that is not closed in it."""
        joined = None if begins < self._unclosed else self._joined(text, line)
        row = self._as_row(alone, text)
        if joined is not None:
            cells, lines = joined
            if row is None or not self._are_rows(row, cells, lines):
                self._take(len(lines))
                self._sound += 1
                return Record(begins, cells)
        elif row is None and (lenient := self._lenient(line)):
            cells, count = lenient
            self._take(count)
            return Record(begins, cells)
        if row is not None:
            self._stray += 1
            self._keep_as_text(begins, row)
            return Record(begins, row)
        return Record(begins, [], f"a quotation mark is not closed in line {begins}")

    def _as_row(self, cells: list[str], text: str) -> list[str] | None:
        """Return the cells of a line that is a row on its own; None unless it has as many as the header."""
        if len(cells) == self.width:
            return cells
        plain = text.rstrip(ENDS).split(self._separator)
        return plain if len(plain) == self.width else None

    def _are_rows(self, row: list[str], cells: Sequence[str], lines: Sequence[str]) -> bool:
        """True if lines that could be one cell are rows of their own."""
        others = [self._as_row(split_line(line, self._separator, self._mark), line) for line in lines if line.strip()]
        whole = [other for other in others if other is not None]
        if 2 * len(whole) <= len(others):
            return False
        if len(cells) != self.width:
            return True
        alike = self._profile.share_of_rows([row, *whole], self._mark)
        return self._is_plain if alike is None else alike > 0.5

    def _take(self, count: int) -> None:
        for _ in range(count):
            self._ahead.popleft()
        self._line += count

    def _peek(self, number: int) -> str:
        while len(self._ahead) <= number:
            line = self._read()
            if not line:
                return ""
            self._ahead.append(line)
        return self._ahead[number]

    def _joined(self, text: str, line: str) -> tuple[list[str], list[str]] | None:
        """Return a record of several lines and the lines behind its first one; None if it is not closed soundly."""
        assert self._patterns is not None
        head = self._head(text)
        assert head is not None
        cells, parts = head[0], [head[1], line[len(text) :]]
        lines: list[str] = []
        characters = len(line)
        while True:
            following = self._peek(len(lines))
            characters += len(following)
            if not following or characters > RECORD_CHARACTERS:
                self._unclosed = self._line + len(lines)
                return None
            lines.append(following)
            text = following.rstrip(ENDS)
            found = self._patterns.closing.match(text)
            if found is None or (found.end() == len(text) and len(found[1]) == len(text)):
                if found is None:
                    return None  # the mark is followed by other text
                parts += [text, following[len(text) :]]
                continue
            parts.append(found[1])
            cells.append("".join(parts).replace(self._mark * 2, self._mark))
            if found.end() == len(text):
                return cells, lines
            rest = text[found.end() + 1 :]
            if (head := self._head(rest)) is None:
                return cells + scan(rest, self._separator, self._mark, self._patterns.sound).cells, lines
            cells, parts = cells + head[0], [head[1], following[len(text) :]]

    def _lenient(self, line: str) -> tuple[list[str], int] | None:
        """Return a record of several lines whose marks are escaped or not doubled, and the number of lines behind its first."""
        assert self._patterns is not None
        joined = line
        for count in range(1, _LENIENT_LINES):
            following = self._peek(count - 1)
            if not following or len(joined) + len(following) > _LENIENT_CHARACTERS:
                return None
            joined += following
            if self._mark in following:
                for quoted in self._patterns.lenient:
                    cells, odd = scan(joined.rstrip(ENDS), self._separator, self._mark, quoted)
                    if not odd and len(cells) == self.width:
                        return _unescaped(cells, self._mark, quoted is self._patterns.escaped), count
        return None


def _unescaped(cells: list[str], mark: str, escaped: bool) -> list[str]:
    return [cell.replace("\\" + mark, mark) for cell in cells] if escaped else cells
