"""The connection to the database: one transaction per piece of work, repeated when the database goes away for a moment."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from bioclip_core.errors import StoreError
from bioclip_core.process.forks import never_freed, renew_after_fork
from bioclip_core.process.quiet import quiet
from bioclip_plugin.store.database.address import may_be_remote, shown
from bioclip_plugin.store.database.bulk import send_one_by_one
from bioclip_plugin.store.database.faults import is_about_writing, passes, store_error
from bioclip_plugin.store.database.holds import holds_of
from bioclip_plugin.store.database.read_only import Reading, reading_of, why_read_only, why_server_read_only
from bioclip_plugin.store.database.values import DAMAGED

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")

Execute = Callable[[str], list[Any]]
"""Function that runs one statement and returns its rows."""

BUSY_TIMEOUT_MS = 5_000  # SQLite waits this long for another writer before the attempt counts as failed
CONNECT_TIMEOUT_S = 10
_LOOKS = 5
"""Attempts to read a file that another program writes to."""
_UNKNOWN_REASON = (
    "the file system does not let SQLite write there: put it on a local disk and give yourself the right to write the file and "
    "its folder"
)
_FULL_DISK = "its disk is full: make room"
_ROOM_BYTES = 64 * 1024
"""SQLite makes files of 32 kB beside a store to read it."""
_SYNCED, _SYNCED_LATER = "FULL", "NORMAL"
"""SQLite's ``synchronous``: a commit waits for the disk; or the next one that waits covers it."""
_LOG_PAGES = 8_000
"""Pages of SQLite's write-ahead log (32 MB) that are folded into the file at once; pages of indexes that change often are then
written less often than with SQLite's 1,000."""
_LOG_BYTES = 64 * 1024 * 1024
"""Size that the log goes back to once it is folded into the file. Without a limit it would keep the size that a long reader (an
export, a backup) made it grow to, until the last program closes the store."""
_STEPS_BETWEEN_LOOKS = 100_000  # instructions of SQLite's virtual machine, some milliseconds
_WRITES = "bioclip_writes"
_MIGRATES = "bioclip_migrates"
_NOT_SYNCED = "bioclip_not_synced"
_REMOVES = "bioclip_removes"
_PRAGMAS = "bioclip_pragmas"
_IS_REMOTE = "bioclip_is_remote"
# PostgreSQL: writers share this lock until their commit, and a program that removes rows has it alone, so that no row is
# removed between the moment a writer finds it and the moment it refers to it. SQLite has one writer at a time anyway.
_WRITERS_LOCK = 0x62696F5752495445


@dataclass(frozen=True, slots=True)
class Retry:
    """The time to go on trying when a database goes away; committed work stays in any case."""

    tries: int = 6
    """Attempts in all; 1 never tries again."""
    first_wait_s: float = 0.5
    """Pause before the second attempt, doubled before each further one."""
    longest_wait_s: float = 30.0
    """Limit of all pauses together."""

    def waits_s(self) -> list[float]:
        """Return the pauses between the attempts, in seconds."""
        waits: list[float] = []
        for attempt in range(self.tries - 1):
            waits.append(max(min(self.first_wait_s * 2**attempt, self.longest_wait_s - sum(waits)), 0.0))
        return waits


class Database:
    """An engine whose work is a function of a connection and further arguments, run as one transaction.

    The function may be run again from the start when the database goes away, even after a commit that was not confirmed, so
    it must write the same rows when it runs twice.
    """

    def __init__(self, url: URL, retry: Retry) -> None:
        """Set up; the first piece of work connects.

        Raises:
            StoreError: for an SQLite file that can only be read, with changes beside it that cannot be read in place.
        """
        self.url, self.retry = url, retry
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.read_only = _why_read_only(url)
        """The reason why an SQLite file can only be read, with what to do; None if it can be written."""
        self._lock = threading.Lock()
        self._has_index = True
        self._reading = reading_of(Path(url.database or "")) if self.read_only else None
        self._engine, self._connected = _engine(url, self._reading), False
        self.holds = holds_of(self._engine)
        """The runs that a program works on."""
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent: the child opens its own."""
        self._lock = threading.Lock()
        never_freed(self._engine.pool)
        self._engine.dispose(close=False)

    def read(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run reading work in one transaction (on SQLite one state of the file).

        Raises:
            StoreError: if the database refuses, or goes away for longer than ``retry`` allows.
        """
        if self._reading is None:
            try:
                return self._run(self._engine, lambda connection: work(connection, *given, **named))
            except StoreError as error:
                if not self._can_only_be_read(error):
                    raise
        return self._read_in_place(lambda connection: work(connection, *given, **named))

    def write(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run writing work in one transaction.

        Raises:
            StoreError: if the database refuses or can only be read, or goes away for longer than ``retry`` allows.
        """
        self.check_writable()
        return self._run(
            self._engine.execution_options(**{_WRITES: True}), lambda connection: work(connection, *given, **named)
        )

    def write_unsynced(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run writing work in one transaction without waiting for the disk, for rows that the same command writes again.

        A process that is killed loses nothing. After a power cut such rows may be missing, but never if a later
        :meth:`write` returned, since both databases write their logs in order.

        Raises:
            StoreError: if the database refuses or can only be read, or goes away for longer than ``retry`` allows.
        """
        self.check_writable()
        return self._run(
            self._engine.execution_options(**{_WRITES: True, _NOT_SYNCED: True}),
            lambda connection: work(connection, *given, **named),
        )

    def remove(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run work that removes rows in one transaction, while no other writes.

        Raises:
            StoreError: if the database refuses or can only be read, or goes away for longer than ``retry`` allows.
        """
        self.check_writable()
        return self._run(
            self._engine.execution_options(**{_WRITES: True, _REMOVES: True}),
            lambda connection: work(connection, *given, **named),
        )

    @contextmanager
    def alone(self, warnings: list[str] | None = None) -> Iterator[Execute]:
        """Give a function that runs single statements outside of any transaction, as VACUUM needs it, without retries.

        Args:
            warnings: takes the warnings of PostgreSQL.

        Raises:
            StoreError: if the database refuses or can only be read.
        """
        self.check_writable()
        with quiet():
            connection = self._engine.raw_connection()
        driver: Any = connection.driver_connection  # SQLite's runs outside of transactions until one is begun
        try:
            if self.is_sqlite:
                # Python looks for Ctrl-C only while it executes Python, and a statement may take minutes.
                driver.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)
            else:
                driver.autocommit = True
                driver.add_notice_handler(
                    lambda notice: None if warnings is None else warnings.append(notice.message_primary)
                )
            yield lambda statement: _rows_of(driver.execute(statement))
        except self._engine.dialect.loaded_dbapi.Error as error:
            if str(error) == "interrupted":  # by the exception of a signal, which SQLite does not hand on
                raise KeyboardInterrupt from None
            raise store_error(error, self.url) from error
        finally:
            connection.detach()  # never used for transactions again
            connection.close()

    def migrate(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run a change of the tables; SQLite checks no foreign keys meanwhile, since a table may be made anew."""
        self.check_writable()
        return self._run(
            self._engine.execution_options(**{_WRITES: True, _MIGRATES: True}),
            lambda connection: work(connection, *given, **named),
        )

    def check_writable(self) -> None:
        """Refuse to write to a file that can only be read.

        Raises:
            StoreError: with the reason and what to do.
        """
        self._refuse_writing(self.read_only)

    def check_server_writable(self) -> None:
        """Refuse to write to a PostgreSQL database that can only be read: a standby, or without the rights.

        Raises:
            StoreError: with the reason and what to do.
        """
        if not self.is_sqlite:
            self._refuse_writing(self.read(why_server_read_only))

    def _refuse_writing(self, reason: str | None) -> None:
        if reason:
            raise StoreError(f"the store {shown(self.url)} can only be read, since {reason}")

    def close(self) -> None:
        """Close the connections; the last program to leave an SQLite file folds its log into it."""
        self.holds.close()
        with quiet():
            self._engine.dispose()

    def _read_in_place(self, work: Callable[[Connection], Result]) -> Result:
        """Run reading work on a file that this process cannot write, again if another one wrote to it meanwhile."""
        for _ in range(_LOOKS):
            reading, engine = self._reading, self._engine
            try:
                result = self._run(engine, work)
            except StoreError:
                if not self._renew(reading):
                    raise
            else:
                if reading is None or reading.is_current():
                    return result
                self._renew(reading)
        raise StoreError(f"the store {shown(self.url)} is written by another program all the time: read it later")

    def _renew(self, used: Reading | None) -> bool:
        """Choose the way to read the file anew; return False if it is the way that was used."""
        with self._lock:
            if self._reading is used:
                chosen = reading_of(Path(self.url.database or ""), index=self._has_index)
                if chosen == used:
                    return False
                with quiet():
                    self._engine.dispose()
                self._reading, self._engine = chosen, _engine(self.url, chosen)
            return True

    def _can_only_be_read(self, error: StoreError) -> bool:
        """Return True if an SQLite file cannot be opened for writing, which its rights did not show, but can be read."""
        if self._connected or not (self.is_sqlite and is_about_writing(error.__cause__)):
            return False
        path = Path(self.url.database or "")
        is_full = path.is_file() and shutil.disk_usage(path).free < _ROOM_BYTES
        self.read_only, self._has_index = _FULL_DISK if is_full else _UNKNOWN_REASON, False
        return self._renew(None)

    def _run(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        waits = self.retry.waits_s()
        for attempt in range(len(waits) + 1):
            try:
                return self._attempt(engine, work)
            except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
                send_one_by_one(str(error))
                if attempt == len(waits) or not passes(error, connected_before=self._connected):
                    raise store_error(error, self.url, tries=attempt + 1) from error
                logger.warning("%s; trying again in %.1f s", store_error(error, self.url), waits[attempt])
                time.sleep(waits[attempt])
            except UnicodeDecodeError as error:  # in a message of SQLite about its damaged tables
                raise StoreError(f"the store {shown(self.url)} is damaged: {DAMAGED}") from error
            except LookupError as error:  # a number in a row that leads nowhere
                raise StoreError(
                    f"the rows of the store {shown(self.url)} do not fit together ({error!r}; `runs verify` shows more): {DAMAGED}"
                ) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        with quiet(), engine.connect() as connection:
            self._connected = True
            try:
                with connection.begin():
                    return work(connection)
            except engine.dialect.loaded_dbapi.Error:
                # From COPY, which bypasses SQLAlchemy: SQLAlchemy cannot know that this connection may be dead.
                connection.invalidate()
                raise


def _rows_of(cursor: Any) -> list[Any]:
    return list(cursor.fetchall()) if cursor.description is not None else []


def _why_read_only(url: URL) -> str | None:
    path = Path(url.database or "")
    return (
        why_read_only(path, remotely=may_be_remote(url))
        if url.get_backend_name() == "sqlite" and path.is_file()
        else None
    )


def _engine(url: URL, reading: Reading | None = None) -> Engine:
    if reading is not None:
        engine = create_engine(url.set(query={}), creator=lambda: connect_to_read(reading))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if url.get_backend_name() == "sqlite":
        # Without the options of the address, which are ours.
        engine = create_engine(
            url.set(query={}), connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
        )
        event.listen(engine, "connect", _set_up_remote_sqlite if may_be_remote(url) else _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "bioclip-plugin", "client_encoding": "utf8"}
    engine = create_engine(url, connect_args={name: value for name, value in defaults.items() if name not in url.query})
    event.listen(engine, "connect", _set_up_postgres)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _set_up_sqlite(connection: Any, _entry: ConnectionPoolEntry, journal: str = "WAL") -> None:
    """Set a connection up. It keeps SQLite's own 2 MB of pages, until it is closed: with 64 MB the memory of a run grew with its store,
    and writing was no faster."""
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    log = (f"wal_autocheckpoint={_LOG_PAGES}", f"journal_size_limit={_LOG_BYTES}")
    for pragma in (
        f"journal_mode={journal}",
        f"synchronous={_SYNCED}",
        "foreign_keys=ON",
        *log,
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_remote_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Use a rollback journal: the write-ahead log needs memory that all programs share, and so one machine."""
    _set_up_sqlite(connection, entry, "DELETE")
    entry.info[_IS_REMOTE] = True


def connect_to_read(reading: Reading) -> sqlite3.Connection:
    """Return a connection that reads an SQLite file in a given way."""
    connection = sqlite3.connect(reading.uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False)
    connection.isolation_level = None
    for pragma in (
        *(("locking_mode=EXCLUSIVE",) if reading.exclusive else ()),
        "query_only=ON",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    # Without a write-ahead log, a commit that does not wait for the disk may damage the file.
    is_lazy = options.get(_NOT_SYNCED) and not connection.info.get(_IS_REMOTE)
    # These pragmas do nothing inside a transaction; a connection that migrated may be used again for other work.
    wanted = ("OFF" if options.get(_MIGRATES) else "ON", _SYNCED_LATER if is_lazy else _SYNCED)
    if connection.info.get(_PRAGMAS) != wanted:
        for name, value in zip(("foreign_keys", "synchronous"), wanted, strict=True):
            connection.exec_driver_sql(f"PRAGMA {name}={value}")
        connection.info[_PRAGMAS] = wanted
    # A transaction that reads first and writes later cannot wait for another writer, so a writer takes the lock at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(_WRITES) and not options.get(_MIGRATES):
        shared = "" if options.get(_REMOVES) else "_shared"
        unsynced = ", set_config('synchronous_commit', 'off', true)" if options.get(_NOT_SYNCED) else ""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{shared}({_WRITERS_LOCK}){unsynced}")


def _set_up_postgres(connection: Any, _entry: ConnectionPoolEntry) -> None:
    from bioclip_plugin.store.database import arrays

    arrays.teach(connection)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the PostgreSQL database {connection.info.dbname} is in {encoding}, which cannot hold every name: "
            "create one with ENCODING 'UTF8'"
        )
