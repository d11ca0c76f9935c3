"""Many rows at once: inserts that skip existing rows, updates that can be repeated, queries with many keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, text
from sqlalchemy.dialects import sqlite

from bioclip_plugin.store.database.schema import Blob, Integer, Real
from bioclip_plugin.store.database.values import clean_text

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Values = Mapping[str, Any]
"""One row to write, by the names of its columns."""
Element = TypeVar("Element")
Key = TypeVar("Key")
Found = TypeVar("Found")

COPY_FROM_ROWS = 500
"""From this number on, PostgreSQL takes rows faster by COPY and a temporary table than by one statement per row."""
KEYS_PER_QUERY = 500
"""Values in one IN list; SQLite allows 32,766, and compiling longer lists takes longer than a second query."""


def chunked(elements: Iterable[Element]) -> Iterator[list[Element]]:
    """Yield the elements in lists that fit into one query."""
    left = iter(elements)
    while chunk := list(islice(left, KEYS_PER_QUERY)):
        yield chunk


def rows_with(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]
) -> Iterator[Any]:
    """Yield the rows of a query whose column has one of these values, in ascending chunks of the values."""
    for chunk in chunked(sorted(set(values))):
        yield from connection.execute(query.where(column.in_(chunk)))


def insert_for(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert of the connection's dialect, which has ``on_conflict`` clauses."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # takes a tenth of a second, which SQLite need not spend

    return postgresql.insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Insert rows that all have the same columns; rows whose key exists are left as they are."""
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM_ROWS:
        _copy_new(connection, table, rows)
    elif rows:
        connection.execute(insert_for(connection, table).on_conflict_do_nothing(), list(rows))


def find_or_insert(
    connection: Connection,
    table: Table,
    keys: Iterable[Key],
    find: Callable[[], dict[Key, Found]],
    row_of: Callable[[Key], Values],
) -> dict[Key, Found]:
    """Return the result of ``find``, after inserting a row for each key that it does not find at first."""
    found = find()
    missing = [row_of(key) for key in keys if key not in found]
    if missing:
        insert_new(connection, table, missing)
        found = find()
    return found


def upsert(
    connection: Connection, table: Table, rows: Sequence[Values], *, changing: Mapping[str, Any] | None = None
) -> None:
    """Insert rows; where the primary key exists, overwrite the other columns.

    Args:
        changing: expressions for columns that are not simply overwritten.
    """
    if not rows:
        return
    insert = insert_for(connection, table)
    keys = [column.name for column in table.primary_key.columns]
    values = {name: insert.excluded[name] for name in rows[0] if name not in keys} | dict(changing or {})
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=values), list(rows))


def _copy_new(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Send rows by binary COPY into a temporary table, then run one INSERT … ON CONFLICT DO NOTHING."""
    quoted = ", ".join(f'"{name}"' for name in rows[0])
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
            copy.set_types([_copy_type(table, name) for name in rows[0]])
            for row in rows:
                copy.write_row([clean_text(value) if isinstance(value, str) else value for value in row.values()])
    finally:
        cursor.close()
    for statement in (
        f"INSERT INTO {table.name} ({quoted}) SELECT {quoted} FROM {waiting} ON CONFLICT DO NOTHING",
        f"TRUNCATE {waiting}",  # more rows of this table may follow in the same transaction
    ):
        connection.execute(text(statement))


def _copy_type(table: Table, name: str) -> str:
    kind = table.columns[name].type
    return "int8" if kind is Integer else "float8" if kind is Real else "bytea" if kind is Blob else "text"
