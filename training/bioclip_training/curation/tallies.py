"""Counts of a stage: rows that it dropped with the reason and an example, other counts, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from bioclip_core.findings import shortened


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that a stage dropped for one reason."""

    reason: str
    """Words that follow a number of records: "without a name"."""
    count: int
    example: str = ""
    is_failure: bool = False
    """True if something failed, such as reading an image; false if a rule decided."""


@dataclass(frozen=True, slots=True)
class Tallied:
    """Content of a tally, in an order that does not depend on that of the calls."""

    dropped: tuple[Dropped, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows_read: int = 0
    rows_written: int = 0


class Tally:
    """Counts that a stage adds up; several threads may share one.

    Of several examples, the first in alphabetical order is kept, so that neither threads nor the order of rows decide.
    """

    def __init__(self) -> None:
        self._dropped: dict[str, tuple[int, str, bool]] = {}
        self._counts: dict[str, int] = {}
        self._notes: set[str] = set()
        self._rows_read = self._rows_written = 0
        self._lock = Lock()

    def read(self, rows: int) -> None:
        """Count rows that the stage read; without a call, they are the rows of the first stage that it needs."""
        with self._lock:
            self._rows_read += rows

    def wrote(self, rows: int) -> None:
        """Count rows that the stage wrote elsewhere than to parts."""
        with self._lock:
            self._rows_written += rows

    def drop(self, reason: str, count: int = 1, example: str = "", *, is_failure: bool = False) -> None:
        """Count rows that the stage drops or marks as excluded.

        Args:
            reason: words that follow a number of records: "without a name".
            count: number of rows.
            example: one of them: source, record id and the value.
            is_failure: true if something failed, which gives the command the exit code of failures.
        """
        if not count:
            return
        example = shortened(example)
        with self._lock:
            so_far, first, _ = self._dropped.get(reason, (0, "", False))
            self._dropped[reason] = (so_far + count, min(filter(None, (first, example)), default=""), is_failure)

    def count(self, name: str, n: int = 1) -> None:
        """Count something that is not dropped: "names resolved through a synonym"."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + n

    def note(self, sentence: str) -> None:
        """Keep a sentence for the report; equal ones are kept once."""
        with self._lock:
            self._notes.add(sentence)

    def add(self, tallied: Tallied) -> None:
        """Add the content of another tally."""
        for dropped in tallied.dropped:
            self.drop(dropped.reason, dropped.count, dropped.example, is_failure=dropped.is_failure)
        for name, count in tallied.counts.items():
            self.count(name, count)
        for note in tallied.notes:
            self.note(note)
        self.read(tallied.rows_read)
        self.wrote(tallied.rows_written)

    def tallied(self) -> Tallied:
        """Return the counts so far."""
        with self._lock:
            return Tallied(
                tuple(Dropped(reason, *self._dropped[reason]) for reason in sorted(self._dropped)),
                dict(sorted(self._counts.items())),
                tuple(sorted(self._notes)),
                self._rows_read,
                self._rows_written,
            )


def added(several: Iterable[Tallied]) -> Tallied:
    """Return the sum of several tallies."""
    total = Tally()
    for tallied in several:
        total.add(tallied)
    return total.tallied()
