"""What was exported before, so that the next export sends changes only: a text file that is replaced as a whole."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bioclip_core.errors import UsageError
from bioclip_core.files.scratch import Scratch

VERSION = 1
_COLUMNS = "identificationID\toccurrenceID\tdigest\tstate"
_STATES = ("sent", "withdrawn")
_LINE_CHARACTERS = 1 << 16

News = Literal["new", "changed", "unchanged"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What an export was, beside the ones before it."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    """Sent before and not again."""
    withdrawn: int = 0
    """Sent before, and not what is said of the specimen now."""
    absent: int = 0
    """Specimens in the ledger that are not in this export at all."""

    def __str__(self) -> str:
        return (
            f"{self.new} new, {self.changed} changed, {self.unchanged} sent before and left out, {self.withdrawn} withdrawn; "
            f"{self.absent} specimens of the ledger are not in this export"
        )


class Ledger(Scratch):
    """A ledger with the plan of one export: ask :meth:`news` for each row, then :meth:`write_draft`.

    The ledger itself changes only with :meth:`commit`, which is called when the export has its name. To be used with ``with``.
    """

    def __init__(self, path: Path, target: str) -> None:
        """Read a ledger; one that is not there is empty.

        Args:
            path: the file.
            target: what it is a ledger of, such as the format's name.

        Raises:
            UsageError: if the file is no ledger, or one of another kind.
        """
        self.path = path
        self._target = target
        super().__init__(
            "CREATE TABLE sent (id TEXT PRIMARY KEY, occurrence TEXT, digest TEXT, state TEXT, seen INTEGER) WITHOUT ROWID;"
            "CREATE INDEX of_occurrence ON sent (occurrence);"
            "CREATE TABLE seen (occurrence TEXT PRIMARY KEY) WITHOUT ROWID;"
        )
        self._counts = {"new": 0, "changed": 0, "unchanged": 0}
        try:
            self._read()
        except BaseException:
            self._database.close()
            raise

    def saw(self, occurrence: str) -> None:
        """Say that the export knows this specimen, whatever it says of it."""
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (occurrence,))

    def news(self, identification: str, occurrence: str, digest: str) -> News:
        """Whether a row was sent before, and put it down as one of this export."""
        found = self._database.execute("SELECT digest, state FROM sent WHERE id = ?", (identification,)).fetchone()
        news: News = "new" if found is None else "unchanged" if found == (digest, "sent") else "changed"
        self._counts[news] += 1
        self._database.execute(
            "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, 'sent', 1)", (identification, occurrence, digest)
        )
        return news

    def withdraw(self) -> Iterator[tuple[str, str]]:
        """Withdraw what was sent of the specimens of this export and was not said again; each with its specimen."""
        gone = self._database.execute(
            "SELECT id, occurrence FROM sent WHERE seen = 0 AND state = 'sent' AND occurrence IN (SELECT occurrence FROM seen) "
            "ORDER BY id"
        ).fetchall()
        self._database.execute(
            "UPDATE sent SET state = 'withdrawn', seen = 2 "
            "WHERE seen = 0 AND state = 'sent' AND occurrence IN (SELECT occurrence FROM seen)"
        )
        yield from gone

    def counts(self) -> Counts:
        """How this export stands to the ones before."""
        withdrawn = self._one("SELECT count(*) FROM sent WHERE seen = 2")
        absent = self._one(
            "SELECT count(DISTINCT occurrence) FROM sent WHERE state = 'sent' AND occurrence NOT IN (SELECT occurrence FROM seen)"
        )
        return Counts(**self._counts, withdrawn=withdrawn, absent=absent)

    def write_draft(self, moment: str) -> Counts:
        """Write the ledger as it will be beside the old one.

        Raises:
            UsageError: if its folder cannot be written to.
        """
        counts = self.counts()
        about = {"ledger": self._target, "version": VERSION, "exported_at": moment, **asdict(counts)}
        try:
            with draft_of(self.path).open("w", encoding="utf-8", newline="\n") as file:
                file.write(f"# {json.dumps(about)}\n{_COLUMNS}\n")
                for row in self._database.execute("SELECT id, occurrence, digest, state FROM sent ORDER BY id"):
                    file.write("\t".join(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(
                f"the ledger {self.path} cannot be written: {error.strerror}; give another place"
            ) from error
        return counts

    def _one(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    def _read(self) -> None:
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise UsageError(
                    f"the folder {self.path.parent} of the ledger {self.path.name} does not exist: make it first"
                )
            return
        try:
            with self.path.open(encoding="utf-8", newline="\n") as file:
                _check_heading(
                    file.readline(_LINE_CHARACTERS), file.readline(_LINE_CHARACTERS), self.path, self._target
                )
                self._database.executemany("INSERT INTO sent VALUES (?, ?, ?, ?, 0)", _rows(file, self.path))
        except (OSError, UnicodeError) as error:
            raise UsageError(f"the ledger {self.path} cannot be read: {error}") from error
        except sqlite3.IntegrityError as error:
            raise UsageError(f"the ledger {self.path} is damaged: an identificationID comes twice") from error


def draft_of(path: Path) -> Path:
    """Where the next ledger waits until its export has its name."""
    return path.with_name(f".{path.name}.draft")


def commit(path: Path) -> str:
    """Make the draft the ledger; what it counted, in a sentence.

    Raises:
        UsageError: if there is no draft, or it cannot take its name.
    """
    draft = draft_of(path)
    try:
        with draft.open(encoding="utf-8") as file:
            about = json.loads(file.readline().removeprefix("# "))
        draft.replace(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the ledger {path} was not changed: {error}; the export will be sent again by the next one"
        ) from error
    names = Counts.__dataclass_fields__
    return str(Counts(**{name: about[name] for name in names}))


def discard(path: Path) -> None:
    """Forget the draft of an export that did not come about."""
    with suppress(OSError):
        draft_of(path).unlink(missing_ok=True)


def _check_heading(about: str, columns: str, path: Path, target: str) -> None:
    try:
        said: Any = json.loads(about.removeprefix("# "))
        kind, version = said["ledger"], said["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no ledger of exports: give another file, or a new name to begin one") from error
    if version != VERSION or columns.rstrip("\n") != _COLUMNS:
        raise UsageError(f"the ledger {path} is of version {version}; this software has {VERSION}")
    if kind != target:
        raise UsageError(f"the ledger {path} is one of {kind}, not of {target}: give each its own")


def _rows(file: Any, path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(file, start=3):
        cells = line.rstrip("\n").split("\t")
        if len(cells) != len(_COLUMNS.split("\t")) or cells[3] not in _STATES or not cells[0]:
            raise UsageError(f"the ledger {path} is damaged in line {number}: {line[:80]!r}; take it from a backup")
        yield cells
