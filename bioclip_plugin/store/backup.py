"""Copies of a store: one state of an SQLite file, taken while other programs write, and checked before it gets its name."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from bioclip_core.errors import BioclipError, StoreError
from bioclip_core.files.drives import sqlite_address
from bioclip_core.files.whole import whole_file
from bioclip_core.next_commands import shell_line
from bioclip_core.progress import Progress
from bioclip_plugin.store.database.address import check_place, parse_address, shown
from bioclip_plugin.store.database.connection import Database, Retry
from bioclip_plugin.store.database.schema import PREFIX
from bioclip_plugin.store.database.values import DAMAGED
from bioclip_plugin.store.database.versions import version_of

_PAGES = 2_048
"""Pages of 4 kB that are copied between two calls of the progress function."""
_OF_THE_COPY = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_FSYNC", "SQLITE_CANTOPEN")
_COMPANIONS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished copy."""

    path: Path
    size: int
    """In bytes."""
    rows: int
    """Rows of our tables."""
    version: str
    """Version of the tables, which is that of the store."""


def back_up(
    address: str | os.PathLike[str], output: str | os.PathLike[str], *, progress: Progress | None = None
) -> Backup:
    """Copy an SQLite store of any version as it is, without upgrading it.

    Args:
        address: that of the store.
        output: the file to make.
        progress: called with the pages copied and with all of them.

    Raises:
        StoreError: for a missing or damaged store, and for one in PostgreSQL, with the command that copies it.
        BioclipError: if the output exists or cannot be written.
    """
    url = parse_address(address)
    check_place(url, create=False)
    database = Database(url, Retry())
    try:
        return back_up_database(database, Path(output), progress)
    finally:
        database.close()


def back_up_database(database: Database, output: Path, progress: Progress | None) -> Backup:
    """Copy an open database, as :func:`back_up` does."""
    if not database.is_sqlite:
        raise StoreError(_by_pg_dump(shown(database.url), output))
    _check_free(output)
    with whole_file(output, reads=[str(database.url.database)]) as draft:
        counts, version = database.read(_copy, draft, output, progress)
        _check(draft, counts)
        _check_free(output)  # another program may have made it meanwhile
    return Backup(output, output.stat().st_size, sum(counts.values()), version)


def _copy(connection: Connection, draft: Path, output: Path, progress: Progress | None) -> tuple[dict[str, int], str]:
    """Copy the state of the transaction; return the number of rows of each table, and the version."""
    version = version_of(connection)
    if version is None:
        raise StoreError(f"the database {shown(connection.engine.url)} holds no store of ours: check the address")
    counts = _counts(connection)
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)

    def report(_status: int, left: int, total: int) -> None:
        if progress:
            progress(total - left, total)

    draft.unlink(missing_ok=True)  # of an attempt before this one
    with closing(sqlite3.connect(draft)) as copy:
        # The draft has its name only after it was flushed and checked, so it needs no journal of its own.
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        try:
            # The open transaction keeps this state of the file, so writers neither wait nor make the copy begin again.
            source.backup(copy, pages=_PAGES, progress=report)
        except sqlite3.Error as error:
            if error.sqlite_errorname.startswith(_OF_THE_COPY):
                raise BioclipError(f"{output} cannot be written: {error}; nothing was kept") from error
            raise
    return counts, version


def _counts(connection: Connection) -> dict[str, int]:
    names = sorted(name for name in connection.dialect.get_table_names(connection) if name.startswith(PREFIX))
    return {name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one() for name in names}


def _check(draft: Path, counts: dict[str, int]) -> None:
    """Check the copy: its structure, and its rows against those of the store."""
    with closing(sqlite3.connect(sqlite_address(draft.resolve(), "immutable=1"), uri=True)) as copy:
        try:
            found = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
            copied = {name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in counts}
        except sqlite3.DatabaseError as error:
            found, copied = [str(error)], counts
    if found != ["ok"]:
        raise StoreError(f"the store is damaged ({found[0]}), so no backup was made: {DAMAGED}")
    if copied != counts:
        name = next(name for name in counts if copied[name] != counts[name])
        raise StoreError(
            f"the copy has {copied[name]} rows in {name} instead of {counts[name]}; no backup was made: try again"
        )


def _check_free(output: Path) -> None:
    for ending in ("", *_COMPANIONS):
        path = output.with_name(output.name + ending)
        if path.exists():
            raise BioclipError(
                f"the backup {output} cannot be made, because {path} exists: give another name, or remove that file first"
            )


def _by_pg_dump(address: str, output: Path) -> str:
    address = address.replace("postgresql+psycopg://", "postgresql://").replace(":***@", "@")
    dump = shell_line(["pg_dump", "--format=custom", f"--table={PREFIX}*", f"--file={output}", address])
    restore = shell_line(["pg_restore", "--no-owner", "--exit-on-error", "--dbname=ADDRESS", str(output)])
    return (
        f"a store in PostgreSQL is backed up by PostgreSQL's own program: {dump} (and restored into a database without such "
        f"tables by {restore})"
    )
