"""Lines of a text file, of limited length, for a reader of records that may have several lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from bioclip_core.errors import SourceError

_LINE_CHARACTERS = 4 << 20
_RECORD_CHARACTERS = 1 << 17  # csv's own limit applies to the whole process, and other libraries raise it


class Lines:
    """Lines for :func:`csv.reader`. A quotation mark that is not closed ends its record, and no more."""

    def __init__(self, file: io.TextIOBase, name: str) -> None:
        self._file = file
        self._name = name
        self.number = 0
        """Number of the last line, from 1."""
        self._begins = 1
        self._characters = 0

    def begin(self) -> int:
        """Begin a record, and return the number of its first line; to be called before each."""
        self._begins, self._characters = self.number + 1, 0
        return self._begins

    def why(self, error: csv.Error) -> str:
        """Return why the reader could not read the record."""
        if self.number > self._begins or "larger" in str(error):
            return f"a quotation mark is not closed in line {self._begins}"
        return str(error)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LINE_CHARACTERS)
        is_continued = self._characters > 0
        if not line:
            if self.number > self._begins and is_continued:
                raise csv.Error("the file ends within a record of several lines")
            raise StopIteration
        self.number += 1
        if len(line) >= _LINE_CHARACTERS:
            raise SourceError(
                f"{self._name}, line {self.number}: a line of more than {_LINE_CHARACTERS:,} characters; is it a text file with lines?"
            )
        if self.number == 1:
            line = line.removeprefix("\ufeff")
        self._characters += len(line)
        if is_continued and self._characters > _RECORD_CHARACTERS:
            raise csv.Error("the record is larger than allowed")
        return line
