"""The connection to the database: one transaction per piece of work, repeated when the database goes away for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database.faults import passes, store_error
from bioclip_plugin.store.database.holds import holds_of

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")

Execute = Callable[[str], list[Any]]
"""Function that runs one statement and returns its rows."""

BUSY_TIMEOUT_MS = 5_000  # SQLite waits this long for another writer before the attempt counts as failed
CONNECT_TIMEOUT_S = 10
_WRITES = "bioclip_writes"
_MIGRATES = "bioclip_migrates"
_REMOVES = "bioclip_removes"
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
        self.url, self.retry = url, retry
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine, self._connected = _engine(url), False
        self.holds = holds_of(self._engine)
        """The runs that a program works on."""

    def read(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run reading work in one transaction (on SQLite one state of the file).

        Raises:
            StoreError: if the database refuses, or goes away for longer than ``retry`` allows.
        """
        return self._run(self._engine, lambda connection: work(connection, *given, **named))

    def write(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run writing work in one transaction.

        Raises:
            StoreError: if the database refuses, or goes away for longer than ``retry`` allows.
        """
        return self._run(
            self._engine.execution_options(**{_WRITES: True}), lambda connection: work(connection, *given, **named)
        )

    def remove(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run work that removes rows in one transaction, while no other writes.

        Raises:
            StoreError: if the database refuses, or goes away for longer than ``retry`` allows.
        """
        return self._run(
            self._engine.execution_options(**{_WRITES: True, _REMOVES: True}),
            lambda connection: work(connection, *given, **named),
        )

    @contextmanager
    def alone(self) -> Iterator[Execute]:
        """Give a function that runs single statements outside of any transaction, as VACUUM needs it, without retries.

        Raises:
            StoreError: if the database refuses.
        """
        connection = self._engine.raw_connection()
        driver: Any = connection.driver_connection  # SQLite's runs outside of transactions until one is begun
        try:
            if not self.is_sqlite:
                driver.autocommit = True
            yield lambda statement: _rows_of(driver.execute(statement))
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise store_error(error, self.url) from error
        finally:
            connection.detach()  # never used for transactions again
            connection.close()

    def migrate(
        self, work: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Run a change of the tables; SQLite checks no foreign keys meanwhile, since a table may be made anew."""
        return self._run(
            self._engine.execution_options(**{_WRITES: True, _MIGRATES: True}),
            lambda connection: work(connection, *given, **named),
        )

    def close(self) -> None:
        """Close the connections; the last program to leave an SQLite file folds its log into it."""
        self.holds.close()
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        waits = self.retry.waits_s()
        for attempt in range(len(waits) + 1):
            try:
                return self._attempt(engine, work)
            except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
                if attempt == len(waits) or not passes(error, connected_before=self._connected):
                    raise store_error(error, self.url, tries=attempt + 1) from error
                logger.warning("%s; trying again in %.1f s", store_error(error, self.url), waits[attempt])
                time.sleep(waits[attempt])
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        with engine.connect() as connection:
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


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "bioclip-plugin", "client_encoding": "utf8"}
    engine = create_engine(url, connect_args={name: value for name, value in defaults.items() if name not in url.query})
    event.listen(engine, "connect", _check_encoding)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _set_up_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    # This pragma does nothing inside a transaction; a connection that migrated may be used again for other work.
    connection.exec_driver_sql(f"PRAGMA foreign_keys={'OFF' if options.get(_MIGRATES) else 'ON'}")
    # A transaction that reads first and writes later cannot wait for another writer, so a writer takes the lock at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(_WRITES) and not options.get(_MIGRATES):
        shared = "" if options.get(_REMOVES) else "_shared"
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{shared}({_WRITERS_LOCK})")


def _check_encoding(connection: Any, _entry: ConnectionPoolEntry) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the PostgreSQL database {connection.info.dbname} is in {encoding}, which cannot hold every name: "
            "create one with ENCODING 'UTF8'"
        )
