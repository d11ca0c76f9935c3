"""What a long command says: progress with rate and time left on a terminal, plain lines when not, a summary at the end."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store

T = TypeVar("T")

_PLAIN_EVERY_S = 10.0


def console_for(*, to_stderr: bool = False) -> Console:
    """A console that neither wraps paths nor paints names that look like markup."""
    return Console(stderr=to_stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def say_unfinished(console: Console, store: Store, run: Run) -> None:
    """Say what a run lacks, so that what goes out of it is not taken for the whole."""
    todo, undecided = store.summary(run).todo, store.undecided(run)
    if todo:
        console.print(
            f"Not finished: {todo:,} images are still to do; the classify command of this run goes on with them."
        )
    if undecided:
        console.print(
            f"Not finished: {undecided:,} regions are not decided by the run's rules and stand with their plain consensus. "
            f"Next: bioclip-plugin rules apply --store {shlex.quote(store.shown_address)} --run {run.id}"
        )


class Report:
    """Counts and shows progress of one long piece of work. Use it in a ``with`` statement."""

    def __init__(self, what: str, *, unit: str = "images", console: Console | None = None) -> None:
        self.what = what
        self.unit = unit
        self.console = console or console_for(to_stderr=True)
        self.count = 0
        self.already = 0
        """What an earlier call had done: shown, but no part of the rate."""
        self.total: int | None = None
        self._started_at = self._said_at = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Report:
        self._started_at = self._said_at = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started_at

    @property
    def rate(self) -> float:
        """Units a second."""
        return (self.count - self.already) / self.seconds if self.seconds > 0 else 0.0

    def advance(self, by: int = 1) -> None:
        """Count what was done."""
        self.count += by
        if self._bar is not None:
            self._bar.update(self._task, completed=self.count, total=self.total, rate=f"{self.rate:.1f} {self.unit}/s")
        elif time.monotonic() - self._said_at >= _PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            self.console.print(self._plain())

    def expect(self, total: int) -> None:
        """Set the total, from which the time left is estimated."""
        self.total = total

    def reach(self, count: int, total: int) -> None:
        """Count up to what was done, of so much."""
        self.total = total
        self.advance(count - self.count)

    def _plain(self) -> str:
        line = f"{self.what}: {self.count} {self.unit}, {self.rate:.1f}/s"
        if self.total:
            left = max(0, self.total - self.count)
            line = f"{self.what}: {self.count} of {self.total} {self.unit}, {self.rate:.1f}/s"
            if self.rate > 0:
                line += f", {duration(left / self.rate)} left"
        return line


def duration(seconds: float) -> str:
    """A length of time for people: "45 s", "3 min 20 s", "5 h 10 min".

    >>> duration(200)
    '3 min 20 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size_of(count: int) -> str:
    """A number of bytes for people.

    >>> size_of(28_350_000)
    '28.4 MB'
    """
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def passing(items: Iterable[T], report: Report) -> Iterator[T]:
    """The same items, each counted when it is taken."""
    for item in items:
        report.advance()
        yield item


@contextmanager
def log_lines(console: Console) -> Iterator[None]:
    """Show what the package logs (which device and why, plugins left out) as lines of this command."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(record.getMessage())

    logger, handler = logging.getLogger("bioclip_plugin"), Lines(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def print_table(
    console: Console, columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None
) -> None:
    """A table on a terminal; tab-separated lines, the columns' names first, for a program."""
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(str(cell) for cell in row), file=console.file)  # rich would make spaces of tabs
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")  # a name is shown whole
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def print_json_line(text: str) -> None:
    """One line on standard output, where nothing else goes in ``--json`` mode; written out at once."""
    click.echo(text)
    sys.stdout.flush()


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM (a batch system's time limit) as Ctrl-C, so that the run ends tidily."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printable(name: str) -> str:
    """A file's name on one line of a terminal: control characters are shown, not obeyed.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
