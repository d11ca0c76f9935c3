"""The ledger of earlier exports, so that the next one sends changes only: a text file that is replaced as a whole."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from bioclip_core.errors import DataError
from bioclip_core.files.documents import parse_document
from bioclip_core.files.present import is_folder
from bioclip_core.files.replacing import remove, rename
from bioclip_core.files.scratch import Scratch

VERSION = 1
_COLUMNS = "identificationID\toccurrenceID\tdigest\tstate"
_STATES = ("sent", "withdrawn")
_LINE_CHARACTERS = 1 << 16

News = Literal["new", "changed", "unchanged"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of an export compared with the ones before it."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    """Sent before and not again."""
    withdrawn: int = 0
    """Sent before, and no longer an identification of the specimen."""
    absent: int = 0
    """Specimens in the ledger that are not in this export at all."""

    def __str__(self) -> str:
        return (
            f"{self.new} new, {self.changed} changed, {self.unchanged} sent before and left out, {self.withdrawn} withdrawn; "
            f"{self.absent} specimens of the ledger are not in this export"
        )


class Ledger(Scratch):
    """A ledger with the plan of one export: ask :meth:`news` for each row, then :meth:`write_draft`.

    The ledger itself changes only with :func:`commit`, after the export is in place. To be used with ``with``.
    """

    def __init__(self, path: Path, target: str) -> None:
        """Read a ledger; a missing file is an empty one.

        Args:
            path: the file.
            target: name of the format that it is a ledger of.

        Raises:
            DataError: if the file is not a ledger, or one of another format.
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
        """Record that the export contains this specimen, with or without an identification."""
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (occurrence,))

    def news(self, identification: str, occurrence: str, digest: str) -> News:
        """Record a row of this export, and return how it compares with the one sent before."""
        found = self._database.execute("SELECT digest, state FROM sent WHERE id = ?", (identification,)).fetchone()
        news: News = "new" if found is None else "unchanged" if found == (digest, "sent") else "changed"
        self._counts[news] += 1
        self._database.execute(
            "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, 'sent', 1)", (identification, occurrence, digest)
        )
        return news

    def withdraw(self) -> list[tuple[str, str]]:
        """Withdraw the rows of this export's specimens that were sent before and are not in it; each with its specimen."""
        outdated = "WHERE seen = 0 AND state = 'sent' AND occurrence IN (SELECT occurrence FROM seen)"
        gone = self._database.execute(f"SELECT id, occurrence FROM sent {outdated} ORDER BY id").fetchall()
        self._database.execute(f"UPDATE sent SET state = 'withdrawn', seen = 2 {outdated}")
        return gone

    def counts(self) -> Counts:
        """Return how this export compares with the ones before."""
        ((withdrawn, absent),) = self._database.execute(
            "SELECT (SELECT count(*) FROM sent WHERE seen = 2), (SELECT count(DISTINCT occurrence) FROM sent "
            "WHERE state = 'sent' AND occurrence NOT IN (SELECT occurrence FROM seen))"
        )
        return Counts(**self._counts, withdrawn=withdrawn, absent=absent)

    def write_draft(self, moment: str) -> Counts:
        """Write the next ledger beside the old one.

        Raises:
            DataError: if its folder is not writable.
        """
        counts = self.counts()
        heading = {"ledger": self._target, "version": VERSION, "exported_at": moment, **asdict(counts)}
        try:
            with draft_of(self.path).open("w", encoding="utf-8", newline="\n") as file:
                file.write(f"# {json.dumps(heading)}\n{_COLUMNS}\n")
                for row in self._database.execute("SELECT id, occurrence, digest, state FROM sent ORDER BY id"):
                    file.write("\t".join(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"the ledger {self.path} cannot be written: {error.strerror}; give another place"
            ) from error
        return counts

    def _read(self) -> None:
        if not is_folder(self.path.parent):
            raise DataError(
                f"the folder {self.path.parent} of the ledger {self.path.name} does not exist: make it first"
            )
        try:
            with self.path.open(encoding="utf-8", newline="\n") as file:
                _check_heading(file, self.path, self._target)
                self._database.executemany("INSERT INTO sent VALUES (?, ?, ?, ?, 0)", _rows(file, self.path))
        except FileNotFoundError:
            return
        except (OSError, UnicodeError) as error:
            raise DataError(f"the ledger {self.path} cannot be read: {error}") from error
        except sqlite3.IntegrityError as error:
            raise DataError(f"the ledger {self.path} is damaged: duplicate identificationID") from error


def draft_of(path: Path) -> Path:
    """Return the path of the next ledger, which waits there until its export is in place."""
    return path.with_name(f".{path.name}.draft")


def commit(path: Path) -> str:
    """Make the draft the ledger, and return its counts as a sentence.

    Raises:
        DataError: if the draft is missing, or cannot replace the ledger.
    """
    draft = draft_of(path)
    try:
        with draft.open(encoding="utf-8") as file:
            heading = _heading(file, draft)
        rename(draft, path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the ledger {path} was not changed: {error}; the next export sends the same rows again"
        ) from error
    return str(Counts(**{field.name: heading[field.name] for field in fields(Counts)}))


def discard(path: Path) -> None:
    """Remove the draft of an export that failed."""
    with suppress(OSError):
        remove(draft_of(path))


def _check_heading(file: IO[str], path: Path, target: str) -> None:
    try:
        heading = _heading(file, path)
        kind, version = heading["ledger"], heading["version"]
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is not a ledger of exports: give another file, or a new name to begin one") from error
    if version != VERSION or file.readline(_LINE_CHARACTERS).rstrip("\n") != _COLUMNS:
        raise DataError(f"the ledger {path} is of version {version}; this software has {VERSION}")
    if kind != target:
        raise DataError(f"the ledger {path} is one of {kind}, not of {target}: give each format its own")


def _heading(file: IO[str], path: Path) -> dict[str, Any]:
    line = file.readline(_LINE_CHARACTERS).removeprefix("# ")
    return parse_document(line, dict[str, Any], name=f"the heading of {path}")


def _rows(file: IO[str], path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(iter(partial(file.readline, _LINE_CHARACTERS), ""), start=3):
        cells = line.rstrip("\n").split("\t")
        if len(cells) != len(_COLUMNS.split("\t")) or cells[3] not in _STATES or not cells[0]:
            raise DataError(f"the ledger {path} is damaged in line {number}: {line[:80]!r}; take it from a backup")
        yield cells
