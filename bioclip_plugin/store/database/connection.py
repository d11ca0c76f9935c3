"""The connection to the database: set up for either kind, one transaction a piece of work, tried again when it drops."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database.faults import passes, store_error
from bioclip_plugin.store.records import Retry

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BUSY_TIMEOUT_MS = 5_000  # SQLite waits this long for another writer before the attempt counts as failed
CONNECT_TIMEOUT_S = 10
_WRITES = "bioclip_writes"
_MIGRATES = "bioclip_migrates"


class Database:
    """An engine with our rules: work is a function of a connection, run as one transaction, repeatable at any point."""

    def __init__(self, url: URL, retry: Retry) -> None:
        self.url = url
        self.retry = retry
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._connected = False
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(**{_WRITES: True})
        self._migrating = self._engine.execution_options(**{_WRITES: True, _MIGRATES: True})

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run reading work in one transaction (on SQLite one state of the file)."""
        return self._run(self._engine, work)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run writing work in one transaction; it must give the same rows when it is run twice.

        Raises:
            StoreError: if the database refuses, or goes away for longer than ``retry`` allows.
        """
        return self._run(self._writing, work)

    def migrate(self, work: Callable[[Connection], Result]) -> Result:
        """The same for a change of the tables: SQLite looks at no foreign key meanwhile, since a table may be made anew."""
        return self._run(self._migrating, work)

    def close(self) -> None:
        """Give the connections back; the last one to leave an SQLite file folds its log into it."""
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        driver = self._engine.dialect.loaded_dbapi
        waits = self.retry.waits_s()
        for attempt in range(len(waits) + 1):
            try:
                return self._attempt(engine, work)
            except (DBAPIError, driver.Error) as error:
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
            except self._engine.dialect.loaded_dbapi.Error:
                # From COPY, which goes past SQLAlchemy: it cannot know that this connection may be dead.
                connection.invalidate()
                raise


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    arguments = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "bioclip-plugin", "client_encoding": "utf8"}
    engine = create_engine(
        url, connect_args={name: value for name, value in arguments.items() if name not in url.query}
    )
    event.listen(engine, "connect", _check_encoding)
    return engine


def _set_up_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer, so writers say so at once.
    writes = connection.get_execution_options().get(_WRITES)
    # Outside a transaction is the only place for this; a connection that migrated may be used again for other work.
    migrates = connection.get_execution_options().get(_MIGRATES)
    connection.exec_driver_sql(f"PRAGMA foreign_keys={'OFF' if migrates else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_encoding(connection: Any, _entry: ConnectionPoolEntry) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the PostgreSQL database {connection.info.dbname} is in {encoding}, which cannot hold every name: "
            "create one with ENCODING 'UTF8'"
        )
