"""Many rows at once: inserts that skip what is there, updates that repeat safely, and look-ups by many keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Table, text
from sqlalchemy.sql.dml import Insert

from bioclip_plugin.store.database.schema import Blob, Integer, Real
from bioclip_plugin.store.database.values import clean_text

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Row = Mapping[str, Any]
Element = TypeVar("Element")

COPY_FROM_ROWS = 500
"""From here on PostgreSQL takes rows faster by COPY and a temporary table than one statement a row."""
KEYS_A_QUERY = 500
"""Values in one IN list; SQLite allows 32,766, and compiling longer lists takes longer than a second query."""


def chunked(elements: Iterable[Element], size: int = KEYS_A_QUERY) -> Iterator[list[Element]]:
    """The elements in lists of at most ``size``."""
    chunk: list[Element] = []
    for element in elements:
        chunk.append(element)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def insert_for(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert of the connection's own dialect, which knows ``on_conflict``."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # a tenth of a second that SQLite need not spend

    return postgresql.insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows (all with the same columns), leaving those alone whose key is there already."""
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM_ROWS:
        _copy_new(connection, table, rows)
    else:
        connection.execute(insert_for(connection, table).on_conflict_do_nothing(), list(rows))


def upsert(
    connection: Connection, table: Table, rows: Sequence[Row], *, changing: Mapping[str, Any] | None = None
) -> None:
    """Insert rows, and overwrite what is not the primary key where they are there already.

    Args:
        changing: expressions for columns that are not simply overwritten.
    """
    if not rows:
        return
    insert = insert_for(connection, table)
    keys = [column.name for column in table.primary_key.columns]
    values = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    statement: Insert = insert.on_conflict_do_update(index_elements=keys, set_={**values, **(changing or {})})
    connection.execute(statement, list(rows))


def _copy_new(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Binary COPY into a temporary table of the connection, then one INSERT … ON CONFLICT DO NOTHING."""
    names = list(rows[0])
    quoted = ", ".join(f'"{name}"' for name in names)
    waiting = f"copy_{table.name}"
    connection.execute(
        text(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {waiting} ON COMMIT DELETE ROWS "
            f"AS SELECT {quoted} FROM {table.name} WITH NO DATA"
        )
    )
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {waiting} ({quoted}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([_copy_type(table, name) for name in names])
            for row in rows:
                copy.write_row([clean_text(value) if isinstance(value, str) else value for value in row.values()])
    finally:
        cursor.close()
    statement = f"INSERT INTO {table.name} ({quoted}) SELECT {quoted} FROM {waiting} ON CONFLICT DO NOTHING"
    connection.execute(text(statement))
    connection.execute(text(f"TRUNCATE {waiting}"))  # the next table of rows may come in the same transaction


def _copy_type(table: Table, name: str) -> str:
    kind = table.columns[name].type
    return "int8" if kind is Integer else "float8" if kind is Real else "bytea" if kind is Blob else "text"
