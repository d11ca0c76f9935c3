"""Output of commands: the console, tables, JSON lines, and numbers and names as people read them."""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table

from bioclip_core.nouns import number_of


def console_for(*, to_stderr: bool = False) -> Console:
    """Return a console that neither wraps paths nor colours names that look like markup.

    Only a terminal gets tables and a live line: FORCE_COLOR, which many build servers set, does not change what a program reads.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    is_terminal = stream is not None and stream.isatty()
    return Console(
        stderr=to_stderr, force_terminal=is_terminal, highlight=False, soft_wrap=True, markup=False, emoji=False
    )


def print_lines(console: Console, *lines: str) -> None:
    """Print lines without the empty ones, which say nothing about this result."""
    for line in filter(None, lines):
        console.print(line)


_NARROWEST = 6
"""Columns of the terminal that a column of a table needs at least: a frame, two blanks and three letters."""


def print_table(
    console: Console, columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None
) -> None:
    """Print a table on a terminal, else tab-separated lines, with the names of the columns first.

    The lines are for a program, and for a terminal that is too narrow for the table.
    """
    header, cells = list(columns), [[str(cell) for cell in row] for row in rows]
    if not console.is_terminal or console.width < _NARROWEST * len(header) + 1:
        for line in (header, *cells):
            click.echo("\t".join(line), file=console.file)  # rich would make spaces of tabs
        return
    table = Table(title=title, title_justify="left")
    for column in header:
        table.add_column(column, overflow="fold")  # a name is shown whole
    for line in cells:
        table.add_row(*line)
    console.print(table)


_json_output: ContextVar[TextIO | None] = ContextVar("_json_output", default=None)


@contextmanager
def json_alone() -> Iterator[None]:
    """Keep standard output for :func:`print_json`: what plugins and their libraries print there goes to standard error."""
    output = sys.stdout
    token = _json_output.set(output)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = output
        _json_output.reset(token)


def print_json(value: Any) -> None:
    """Print one line of JSON on standard output, where nothing else goes in ``--json`` mode; written out at once."""
    output = _json_output.get() or sys.stdout
    click.echo(json_text(value), file=output)
    output.flush()


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON as standard output can take it: in an encoding of Windows, letters are escaped as JSON escapes them."""
    return json.dumps(value, ensure_ascii=not _is_utf_8(_json_output.get() or sys.stdout), indent=indent)


def write_csv_as_utf_8() -> None:
    """Let standard output be UTF-8 for a table that a program or file takes, unless the user has set an encoding.

    A pipe of Windows has an encoding of its own, in which most letters of names would be lost.
    """
    stream: Any = sys.stdout
    if not _is_utf_8(stream) and not stream.isatty() and "PYTHONIOENCODING" not in os.environ:
        with suppress(AttributeError, io.UnsupportedOperation):
            stream.reconfigure(encoding="utf-8")


def _is_utf_8(stream: Any) -> bool:
    name = getattr(stream, "encoding", None) or "utf-8"
    return codecs.lookup(name).name == "utf-8"


@contextmanager
def log_lines(console: Console, worded: Callable[[str], str] = str) -> Iterator[None]:
    """Show the package's log records (the device and its reason, skipped plugins) as lines of this command.

    Args:
        console: where they are shown.
        worded: returns a record's text in the words of this command, for one whose work is part of another.
    """

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(printable(worded(record.getMessage())))

    logger, handler = logging.getLogger("bioclip_plugin"), Lines(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first names and the number of the others.

    >>> first_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


_FAILED = {"read": "cannot be read", "verify": "other bytes than recorded", "decode": "cannot be decoded"}


def failure_lines(failures: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return images that could not be used, by the stage that failed, each stage with its first example.

    >>> failure_lines([{"stage": "read", "images": 2, "first": "a.jpg: the file is empty"}])
    ['Skipped: 2 images (cannot be read); the first is a.jpg: the file is empty']
    """
    return [
        f"Skipped: {number_of(found['images'], 'image')} ({_FAILED.get(found['stage'], found['stage'])}); the first is "
        f"{printable(found['first'])}"
        for found in failures
    ]


def printable(name: str) -> str:
    """Return a file's name on one line of a terminal: control characters are shown, not obeyed.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
