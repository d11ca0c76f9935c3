"""Quotation marks within a line: the cells that they quote soundly, and the others."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

ENDS = "\r\n"
"""Characters that end a line."""


class Patterns(NamedTuple):
    """Regular expressions for the cells of one dialect; the first group is the text between the marks."""

    sound: re.Pattern[str]
    """A quoted cell up to its closing mark, which a separator or the end follows."""
    opening: re.Pattern[str]
    """A quoted cell that goes on behind the text."""
    closing: re.Pattern[str]
    """The rest of a quoted cell of several lines."""
    escaped: re.Pattern[str]
    undoubled: re.Pattern[str]
    longest: re.Pattern[str]
    inside: re.Pattern[str]
    """A mark within a cell that is not quoted."""

    @property
    def lenient(self) -> tuple[re.Pattern[str], ...]:
        """Quoted cells whose marks are escaped or not doubled, in the order in which they are tried."""
        return self.escaped, self.undoubled, self.longest


@cache
def patterns_of(separator: str, mark: str) -> Patterns:
    """Return the patterns of a dialect."""
    s, q = re.escape(separator), re.escape(mark)
    body, end = f"[^{q}]*+(?:{q}{q}[^{q}]*+)*+", f"(?={s}|\\Z)"
    return Patterns(
        re.compile(f"{q}({body}){q}{end}"),
        re.compile(f"{q}({body})\\Z"),
        re.compile(f"({body})(?:{q}{end}|\\Z)"),
        re.compile(rf"{q}((?:[^{q}\\]|\\.|{q}{q})*+){q}{end}", re.DOTALL),
        re.compile(f"{q}(.*?){q}{end}", re.DOTALL),
        re.compile(f"{q}(.*){q}{end}", re.DOTALL),
        re.compile(f"[^{s}{q}]{q}(?!{q})[^{s}{q}]"),
    )


def split_line(line: str, separator: str, mark: str = '"') -> list[str]:
    """Return the cells of one line; a cell whose quotation marks are not sound is text."""
    text = line.rstrip(ENDS)
    if mark not in text:
        return text.split(separator)
    return scan(text, separator, mark, patterns_of(separator, mark).sound).cells


class Scanned(NamedTuple):
    """The cells of a line."""

    cells: list[str]
    odd: int
    """Number of cells that begin with a mark that is not sound; they are text."""


def scan(text: str, separator: str, mark: str, quoted: re.Pattern[str]) -> Scanned:
    """Return the cells of a text without its line end.

    Args:
        text: one line, or several that may be one record.
        separator: one character.
        mark: the quotation mark.
        quoted: what counts as a quoted cell; a cell that begins with a mark and does not match is text.
    """
    cells, at, odd = [], 0, 0
    while True:
        begins = text.startswith(mark, at)
        if found := quoted.match(text, at) if begins else None:
            cells.append(found[1].replace(mark * 2, mark))
            at = found.end()
        else:
            odd += begins
            end = text.find(separator, at)
            end = len(text) if end < 0 else end
            cells.append(text[at:end])
            at = end
        if at >= len(text):
            return Scanned(cells, odd)
        at += len(separator)
