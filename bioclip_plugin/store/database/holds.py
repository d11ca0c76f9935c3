"""Marks of the runs that a program works on; they end with the program, even if it is killed."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.engine import Engine

from bioclip_core.files.locks import lock
from bioclip_core.process import system
from bioclip_core.process.forks import never_freed, renew_after_fork
from bioclip_core.process.quiet import quiet

logger = logging.getLogger(__name__)

_LOCKS = (
    0x62696F  # "bio": the first half of the advisory locks of runs in a PostgreSQL database; the second is the number
)
_TRIES = 50  # a program that looks whether a run is held has its file locked for less than a millisecond
_CHECKED_EVERY_S = 5.0


class Holds(Protocol):
    """The runs that this program works on, and a look at those of others."""

    def hold(self, run: int) -> None:
        """Mark a run as worked on by this program; once is enough, and it does no harm to repeat it."""

    def release(self, run: int) -> None:
        """End the mark of a run."""

    def is_held(self, connection: Connection, run: int) -> bool:
        """Return True if a living program, which may be this one, works on the run."""

    def is_mine(self, run: int) -> bool:
        """Return True if this connection of this program works on the run."""

    def close(self) -> None:
        """End all marks of this program."""


def holds_of(engine: Engine) -> Holds:
    """Return the marks of the runs of this engine's database."""
    return FileHolds(str(engine.url.database)) if engine.dialect.name == "sqlite" else SessionHolds(engine)


class FileHolds:
    """On SQLite, a locked file beside the database for each run; the system unlocks it when the program ends."""

    def __init__(self, database: str) -> None:
        self._database, self._lock = os.path.realpath(database), threading.Lock()
        self._held: dict[int, int] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the marks to the parent: closing a copy of a file unlocks nothing."""
        self._lock = threading.Lock()
        for file in self._held.values():
            os.close(file)
        self._held = {}

    def path(self, run: int) -> str:
        """Return the file of a run."""
        return f"{self._database}-run-{run}"

    def hold(self, run: int) -> None:
        """Mark a run as worked on by this program."""
        with self._lock:
            for _ in range(_TRIES if run not in self._held else 0):
                try:
                    file = os.open(self.path(run), os.O_RDWR | os.O_CREAT, 0o666)
                except OSError as error:  # the store can be written, so this is rare; the run works without its mark
                    logger.debug("run %d is not marked as running: %s", run, error)
                    return
                if not lock(file, exclusive=False):
                    os.close(file)
                    time.sleep(0.001)
                elif not _is_at(file, self.path(run)):  # another program removed it meanwhile
                    os.close(file)
                else:
                    self._held[run] = file
                    return

    def release(self, run: int) -> None:
        """End the mark of a run; the last program to do so removes the file."""
        with self._lock:
            file = self._held.pop(run, None)
            if file is not None:
                _close(file, self.path(run), remove=lock(file, exclusive=True) is True)

    def is_held(self, connection: Connection, run: int) -> bool:  # noqa: ARG002 (that of the protocol)
        """Return True if a living program works on the run."""
        try:
            file = os.open(self.path(run), os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # of another user, who may be working on it
        is_free = lock(file, exclusive=True) is True
        _close(file, self.path(run), remove=is_free)
        return not is_free

    def is_mine(self, run: int) -> bool:
        """Return True if this object has the mark of the run."""
        return run in self._held

    def close(self) -> None:
        """End all marks of this program."""
        for run in list(self._held):
            self.release(run)


class SessionHolds:
    """On PostgreSQL, advisory locks, all on one connection; the server frees them when that ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._connection: Connection | None = None
        self._checked_at = 0.0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the marks and their connection to the parent."""
        self._lock = threading.Lock()
        never_freed(self._connection)
        self._connection, self._held = None, set()

    def hold(self, run: int) -> None:
        """Mark a run as worked on by this program; a connection that was lost is made again."""
        with self._lock:
            if self._connection is not None and time.monotonic() - self._checked_at >= _CHECKED_EVERY_S:
                self._run("SELECT 1")
            known = self._held if self._connection is not None else set()
            for number in {*self._held, run} - known:
                self._take(number)
            self._checked_at = time.monotonic()

    def _take(self, run: int) -> None:
        if self._connection is None:
            with quiet():
                self._connection = self._engine.connect()
        try:
            self._connection.execute(text("SELECT pg_advisory_lock_shared(:locks, :run)"), _keys(run))
        except BaseException:
            self._connection.invalidate()
            self._drop()
            raise
        self._held.add(run)

    def release(self, run: int) -> None:
        """End the mark of a run."""
        with self._lock:
            if run in self._held:
                self._held.discard(run)
                self._run("SELECT pg_advisory_unlock_shared(:locks, :run)", run)
                if not self._held:
                    self._drop()

    def _run(self, statement: str, run: int = 0) -> None:
        """Run a statement; a connection that is lost is dropped, and its locks with it."""
        if self._connection is not None:
            try:
                self._connection.execute(text(statement), _keys(run) if ":run" in statement else {})
            except Exception:  # lost with the server: the work itself says what is wrong
                self._connection.invalidate()
                self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def is_held(self, connection: Connection, run: int) -> bool:
        """Return True if a living program works on the run."""
        held = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid::bigint = :locks AND objid::bigint = :run "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(connection.execute(held, _keys(run)).scalar_one())

    def is_mine(self, run: int) -> bool:
        """Return True if this object has the mark of the run."""
        return run in self._held

    def close(self) -> None:
        """End all marks of this program."""
        for run in list(self._held):
            self.release(run)


def _keys(run: int) -> dict[str, int]:
    return {"locks": _LOCKS, "run": run % 2**31}


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), Path(path).stat())
    except OSError:
        return False


def _close(file: int, path: str, *, remove: bool) -> None:
    """Close a file and remove it: while it is still locked, except on Windows, which removes closed files only."""
    closes_first = system.is_windows()
    if closes_first:
        os.close(file)
    if remove:
        with suppress(OSError):
            Path(path).unlink()
    if not closes_first:
        os.close(file)
