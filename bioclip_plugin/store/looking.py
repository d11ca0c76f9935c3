"""A look at a store that changes nothing: not its tables, its log, or the mode of its file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from bioclip_core.errors import StoreError
from bioclip_core.process.quiet import quiet
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.database.address import check_place, network_kind, parse_address, shown
from bioclip_plugin.store.database.connection import Database, Retry, connect_to_read
from bioclip_plugin.store.database.faults import store_error
from bioclip_plugin.store.database.read_only import reading_of, why_read_only, why_server_read_only
from bioclip_plugin.store.database.values import DAMAGED

_STEPS_BETWEEN_LOOKS = 10_000  # instructions of SQLite's virtual machine
_LOOKS = 3
"""Attempts to read a file that another program writes to."""
_LOCK_WAIT_S = 2.0
_kept: list[sqlite3.Connection] = []
"""Connections that are not closed: the last one that closes folds the log into the file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a store."""

    code: str
    """One of ``read-only``, ``locked``, ``damaged``, ``unreadable``, ``old``, ``newer``, ``empty``, ``no-rights``."""
    found: str
    meaning: str
    advice: str
    is_grave: bool = True


@dataclass(slots=True)
class Look:
    """The outcome of a look at a store."""

    address: str
    """Without a password."""
    kind: str
    head: str = versions.HEAD
    """Version of the tables that this program makes."""
    server: str | None = None
    """Version of the database program."""
    version: str | None = None
    """Version of the tables; None without tables of ours."""
    bytes: int | None = None
    log_bytes: int = 0
    file_system: str | None = None
    """Kind of the network file system that holds the file; None for a local one."""
    whole: bool | None = None
    """True if SQLite found no damage; None if there was no time for it."""
    is_locked: bool | None = None
    """True if another program holds the right to write for longer than the look waits; None if that cannot be told."""
    faults: list[Fault] = field(default_factory=list)


def look_at(address: str, *, patience_s: float = 5.0) -> Look:
    """Look at a store.

    Args:
        address: as given to a command.
        patience_s: time for the search for damage, and for the answer of a server.

    Raises:
        StoreError: if there is none, or it does not answer or admit.
    """
    url = parse_address(address)
    check_place(url, create=False)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise StoreError(f"the store {url.database} is not a file: give a file")
    if url.get_backend_name() == "sqlite":
        return _look_at_file(url, Path(url.database or ""), patience_s)
    return _look_at_server(url, patience_s)


def _look_at_file(url: URL, path: Path, patience_s: float) -> Look:
    log = path.with_name(path.name + "-wal")
    found = Look(
        shown(url), "SQLite", server=sqlite3.sqlite_version, bytes=path.stat().st_size,
        log_bytes=log.stat().st_size if log.exists() else 0, file_system=network_kind(path.resolve()),
    )  # fmt: skip
    if not may_read(path):
        found.faults.append(Fault("unreadable", f"the store {found.address} cannot be read", "the rights on the file do not allow it",
                                  "ask its owner, or give yourself the right to read and write it"))  # fmt: skip
        return found
    reason = why_read_only(path)
    if reason:
        what, _, advice = reason.partition(": ")
        found.faults.append(Fault("read-only", f"the store {found.address} can only be read", what, advice))
    if not found.bytes:
        found.faults.append(Fault("empty", f"the store {found.address} is an empty file", "it holds no results",
                                  "the next classify command makes the tables", is_grave=False))  # fmt: skip
        return found
    try:
        found.version, found.whole = _read(url, path, patience_s)
    except Exception as error:  # whatever a damaged file makes of SQLite and SQLAlchemy
        found.faults.append(_fault_of(error, url))
        return found
    if found.whole is False:
        found.faults.append(Fault("damaged", f"the store {found.address} is damaged", "results may be lost", DAMAGED))
    found.faults += _version_faults(found)
    if not reason:
        found.is_locked = _is_locked(path, min(_LOCK_WAIT_S, patience_s / 4), has_log=log.exists())
    if found.is_locked:
        found.faults.append(
            Fault("locked", f"the store {found.address} is in use by another program that does not release it",
                  "commands that write to it wait, and then fail", "wait for that program, or end it")
        )  # fmt: skip
    return found


def may_read(path: Path) -> bool:
    """Return True if this process may read a file."""
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _read(url: URL, path: Path, patience_s: float) -> tuple[str | None, bool | None]:
    """Return the version of the tables, and whether the file is whole; read again if another program wrote meanwhile."""
    until = time.monotonic() + patience_s
    for _ in range(_LOOKS):
        reading = reading_of(path)
        engine = create_engine(url, creator=partial(connect_to_read, reading), poolclass=NullPool)
        with quiet(), engine.connect() as connection:
            version, whole = versions.version_of(connection), _is_whole(connection, until)
        if reading.is_current():
            return version, whole
    return version, None


def _fault_of(error: Exception, url: URL) -> Fault:
    if isinstance(error, UnicodeDecodeError):
        return Fault("damaged", f"the store {shown(url)} is damaged", "results may be lost", DAMAGED)
    if not isinstance(error, StoreError):
        error = store_error(error, url)
    what, _, advice = str(error).partition(": ")
    code = "damaged" if "damaged" in what or "not an SQLite" in what else "locked" if "in use" in what else "unreadable"
    return Fault(code, what, "", advice)


def _version_faults(found: Look) -> Iterator[Fault]:
    if found.version == found.head:
        return
    tables = f"the store {found.address} has the tables {found.version}, those of this program are {found.head}"
    if found.version is None:
        yield Fault("empty", f"the database {found.address} holds no store of ours", "",
                    "check the address; the next classify command makes the tables", is_grave=False)  # fmt: skip
    elif versions.is_newer(found.version):
        yield Fault("newer", tables, "a newer bioclip-plugin wrote it", "upgrade bioclip-plugin, or use another store")
    elif found.version not in versions.known_versions():
        yield Fault("unreadable", tables, "no bioclip-plugin has tables of this version, so the store is damaged",
                    "restore it from a copy, or use another store")  # fmt: skip
    else:
        is_file = found.kind == "SQLite"
        yield Fault(
            "old", tables, "they are upgraded when a command opens it" if is_file else "commands refuse it until it is upgraded",
            "nothing needs to be done; a copy before that allows to go back" if is_file else "upgrade it", is_grave=not is_file,
        )  # fmt: skip


def _is_whole(connection: Connection, until: float) -> bool | None:
    """Return True if SQLite finds no damage, False if it does, None if that takes too long."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(lambda: time.monotonic() > until, _STEPS_BETWEEN_LOOKS)
    try:
        return bool(driver.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            return None
        raise
    finally:
        driver.set_progress_handler(None, 0)


def _is_locked(path: Path, wait_s: float, *, has_log: bool) -> bool | None:
    """Return True if another program holds the right to write.

    The right is asked for and given back at once. Without a log no program has a store of ours open; asking would make one.
    """
    if not has_log and _is_in_wal_mode(path):
        return False
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=wait_s)
        _kept.append(connection)
        connection.isolation_level = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return False
        except sqlite3.OperationalError as error:
            return "locked" in str(error) or "busy" in str(error) or None
    return None


def _is_in_wal_mode(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(19)[18:] == b"\x02"
    return False


def _look_at_server(url: URL, patience_s: float) -> Look:
    given = shown(url)
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(max(2, int(patience_s)))})
    try:
        return _asked(url, given)
    except StoreError as error:
        raise StoreError(str(error).replace(shown(url), given)) from error


def _asked(url: URL, address: str) -> Look:
    with closing(Database(url, Retry(tries=1))) as database:
        found = Look(address, "PostgreSQL")
        found.server = str(database.read(lambda connection: connection.execute(text("SHOW server_version")).scalar()))
        found.version = database.read(versions.version_of)
        found.bytes = database.read(
            lambda one: one.execute(text("SELECT pg_database_size(current_database())")).scalar()
        )
        if found.version is not None:
            reason = database.read(why_server_read_only)
            if reason:
                what, _, advice = reason.partition(": ")
                found.faults.append(Fault("read-only", f"the store {found.address} can only be read", what, advice))
        else:
            found.faults += database.read(_right_to_make_tables, found.address)
    found.faults += _version_faults(found)
    return found


def _right_to_make_tables(connection: Connection, address: str) -> list[Fault]:
    if connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar():
        return []
    return [Fault("no-rights", f"this user may not make tables in {address}", "the first classify command fails",
                  "ask its administrator: GRANT CREATE ON SCHEMA public TO the user")]  # fmt: skip
