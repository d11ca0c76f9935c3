"""Many rows at once: inserts that skip existing rows, updates that can be repeated, queries with many keys.

Statements are written with ``?``, take one parameter per column or row, and have one of few texts at every call, so that they
are compiled once: SQLite gets tuples (``executemany``), PostgreSQL one array per column (``unnest``), or ``COPY`` for many rows
that cannot exist yet. Building them with SQLAlchemy took longer than executing them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, any_, bindparam, func, select
from sqlalchemy.types import NULLTYPE, LargeBinary

from bioclip_plugin.store.database.schema import Integer, Real, Text
from bioclip_plugin.store.database.values import clean_text

Row = Sequence[Any]
"""The values of one row, in the order of the columns that are named beside it."""
Part = tuple[Table, Sequence[str], Sequence[Row]]
"""A table, the names of columns, and rows for them."""
Element = TypeVar("Element")
Key = TypeVar("Key")
Found = TypeVar("Found")

COPY_FROM_ROWS = 100
"""From this number on, ``COPY`` into a table of PostgreSQL is faster than ``unnest``."""
KEYS_PER_QUERY = 500
"""Values in one IN list; SQLite allows 32,766, and compiling longer lists takes longer than a second query."""
_KEYS_AT_ONCE = 2_000
"""Values in one query that takes them as one parameter."""
_ROWS_PACKED_AT_ONCE = 1_500
"""Rows that are packed while the server writes those before: about what a socket holds."""
_ROWS_AT_ONCE = 10_000
"""Rows in one statement of PostgreSQL, so that its parameters stay some megabytes."""


def chunked(elements: Iterable[Element], size: int = KEYS_PER_QUERY) -> Iterator[list[Element]]:
    """Yield the elements in lists that fit into one query."""
    left = iter(elements)
    while chunk := list(islice(left, size)):
        yield chunk


def rows_with(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]
) -> Iterator[Any]:
    """Yield the rows of a query whose column has one of these values, in ascending chunks of the values."""
    for chunk in chunked(sorted(set(values)), _KEYS_AT_ONCE):
        # Many rows per call of the driver: one by one, they take three times as long.
        for rows in connection.execute(query.where(one_of(connection, column, chunk))).partitions(_ROWS_AT_ONCE):
            yield from rows


def one_of(connection: Connection, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values (whole numbers, or texts), as one parameter."""
    parameter = keys_parameter(connection, values)
    if connection.dialect.name == "sqlite":
        return column.in_(select(func.json_each(bindparam(None, parameter)).table_valued("value").c.value))
    return column == any_(bindparam(None, parameter, type_=NULLTYPE))


def execute(connection: Connection, statement: str, *parameters: Any) -> Any:
    """Execute a statement written with ``?``; ``{keys}`` is a list of keys, whose parameter is that of ``keys_parameter``."""
    return connection.exec_driver_sql(_in_dialect(statement, connection.dialect.name), parameters)


@contextmanager
def sent_together(connection: Connection) -> Iterator[None]:
    """Send the statements of a block without waiting for the outcome of each, which PostgreSQL allows.

    The server works on one while the next is prepared, and a server far away is waited for once. The first error is raised by
    a later statement or at the end of the block. Statements that return rows cannot be used in it.
    """
    if connection.dialect.name == "sqlite" or not _sends_ahead():
        yield
    else:
        driver: Any = connection.connection.driver_connection
        with driver.pipeline():
            yield


_refusals: list[str] = []
"""Messages of servers that do not take statements ahead."""


def _sends_ahead() -> bool:
    """True if the library of PostgreSQL sends statements ahead, as it does since version 14, and no server refused it."""
    from psycopg import Pipeline

    return not _refusals and Pipeline.is_supported()


def send_one_by_one(message: str) -> None:
    """Wait for each statement from now on if an error says that a server, or a pooler before it, does not take them ahead."""
    if "pipeline mode" in message:
        _refusals.append(message)


def keys_parameter(connection: Connection, values: Sequence[Any]) -> Any:
    """Return whole numbers or texts as one parameter of a statement."""
    if connection.dialect.name == "sqlite":
        return json.dumps([clean_text(v) if isinstance(v, str) else v for v in values], ensure_ascii=False)
    from bioclip_plugin.store.database.arrays import integers, texts

    return texts([clean_text(v) for v in values]) if values and isinstance(values[0], str) else integers(values)


@lru_cache(maxsize=256)
def _in_dialect(statement: str, dialect: str) -> str:
    if dialect == "sqlite":
        return statement.replace("{keys}", "IN (SELECT value FROM json_each(?))")
    return statement.replace("{keys}", "= ANY(?)").replace("?", "%s")


def insert_new(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows with these columns; rows whose key exists are left as they are."""
    if not rows:
        return
    rows = _cleaned(table, names, rows)
    names = tuple(names)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_insert_into_sqlite(table, names, "ON CONFLICT DO NOTHING"), rows)
    else:
        _insert_into_postgres(connection, table, names, rows, "ON CONFLICT DO NOTHING")


def insert_fresh(connection: Connection, parts: Iterable[Part]) -> list[Part]:
    """Insert rows whose keys cannot exist, since they contain a number that this transaction has given.

    The next part is made while PostgreSQL writes the one before.

    Returns:
        The parts that are not worth a statement of their own here: they are for ``insert_new``.
    """
    left: list[Part] = []
    following = iter(parts)
    part = next(following, None)
    while part is not None:
        table, names, rows = part
        if connection.dialect.name == "sqlite" or len(rows) < COPY_FROM_ROWS:
            left.append(part)
            part = next(following, None)
        else:
            with _copying(connection, table, names) as write:
                write(_cleaned(table, names, rows))
                part = next(following, None)
    return left


def find_or_insert(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    keys: Iterable[Key],
    find: Callable[[], dict[Key, Found]],
    row_of: Callable[[Key], Row],
    found_of: Callable[[Key, int], Found],
) -> tuple[dict[Key, Found], set[Key]]:
    """Return the result of ``find`` with the rows that were inserted for the keys without one, and the keys of these rows.

    Args:
        names: the columns of a row.
        found_of: the result for a key whose row was inserted with a number.
    """
    found = find()
    missing = {key: row_of(key) for key in keys if key not in found}
    new = insert_numbered(connection, table, names, missing)
    if len(new) < len(missing):  # another program was faster
        found = find()
    found |= {key: found_of(key, number) for key, number in new.items()}
    return found, set(new)


def insert_numbered(
    connection: Connection, table: Table, names: Sequence[str], given: Mapping[Key, Row]
) -> dict[Key, int]:
    """Insert rows of a table that numbers them; return their numbers, which rise in the order of the rows.

    A row that another program inserted meanwhile is left as it is, and absent from the result. On SQLite there is none.
    """
    if not given:
        return {}
    names, rows = ("id", *names), _cleaned(table, names, list(given.values()))
    if connection.dialect.name == "sqlite":
        # Nobody else writes in this transaction, and SQLite gives the same numbers.
        first = execute(connection, f"SELECT coalesce(max(id), 0) + 1 FROM {table.name}").scalar_one()
        numbers = list(range(first, first + len(rows)))
        numbered = [(number, *row) for number, row in zip(numbers, rows, strict=True)]
        connection.exec_driver_sql(_insert_into_sqlite(table, names, ""), numbered)
        return dict(zip(given, numbers, strict=True))
    # In a query of its own, so that the sequence is looked up once and not for each number.
    sequence = f"(SELECT pg_get_serial_sequence('{table.name}', 'id')::regclass)"
    following = f"SELECT array_agg(nextval({sequence})) FROM generate_series(1, ?)"
    numbers = sorted(execute(connection, following, len(rows)).scalar_one())
    numbered = [(number, *row) for number, row in zip(numbers, rows, strict=True)]
    there: Collection[int] = numbers
    if _insert_into_postgres(connection, table, names, numbered, "ON CONFLICT DO NOTHING") < len(rows):
        query = f"SELECT id FROM {table.name} WHERE id {{keys}}"
        there = set(execute(connection, query, keys_parameter(connection, numbers)).scalars())
    return {key: number for key, number in zip(given, numbers, strict=True) if there is numbers or number in there}


def upsert(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    *,
    changing: Mapping[str, str] | None = None,
) -> None:
    """Insert rows; where the primary key exists, overwrite the other columns. No two rows have one key.

    Args:
        changing: expressions for columns that are not simply overwritten.
    """
    if not rows:
        return
    rows, names = _cleaned(table, names, rows), tuple(names)
    keys = [column.name for column in table.primary_key.columns]
    expressions = {name: f'excluded."{name}"' for name in names if name not in keys} | dict(changing or {})
    conflict = (
        f"ON CONFLICT ({', '.join(_quoted(keys))}) DO UPDATE SET "
        + ", ".join(f'"{name}" = {expression}' for name, expression in expressions.items())
    )  # fmt: skip
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_insert_into_sqlite(table, names, conflict), rows)
    else:
        _insert_into_postgres(connection, table, names, rows, conflict)


def update_present(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row],
                   changing: Mapping[str, str]) -> None:  # fmt: skip
    """Update rows by their number, the last column; None leaves a column as it is.

    Args:
        changing: expressions for columns that are not simply overwritten; ``given.NAME`` is the given value.
    """
    if not rows:
        return
    rows = _cleaned(table, names, rows)
    columns = [name for name in names if name != "id"]
    new = {name: changing.get(name, f'coalesce(given."{name}", {table.name}."{name}")') for name in columns}
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_update_in_sqlite(table.name, new, changing.keys() & new.keys()), rows)
        return
    set_to = ", ".join(f'"{name}" = {expression}' for name, expression in new.items())
    source = f"unnest({', '.join(['%s'] * len(names))}) AS given({', '.join(_quoted(names))})"
    statement = f"UPDATE {table.name} SET {set_to} FROM {source} WHERE {table.name}.id = given.id"
    for part in chunked(sorted(rows, key=lambda row: row[-1]), _ROWS_AT_ONCE):
        connection.exec_driver_sql(statement, _arrays(table, dict(zip(names, _columns(part), strict=True))))


def _update_in_sqlite(table: str, new: Mapping[str, str], changing: Collection[str]) -> str:
    if not changing:
        return f"UPDATE {table} SET {', '.join(f'{name} = coalesce(?, {name})' for name in _quoted(new))} WHERE id = ?"
    # A row of values as a table, so that the expressions are the same on both databases; without UPDATE … FROM, which
    # SQLite has since 3.33.
    values = ", ".join(f'? AS "{name}"' for name in new)
    given = f"(SELECT {', '.join(new.values())} FROM (SELECT {values}) AS given)"
    return f"UPDATE {table} SET ({', '.join(_quoted(new))}) = {given} WHERE id = ?"


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _cleaned(table: Table, names: Sequence[str], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return the rows as tuples with texts that both databases take."""
    text = _text_columns(table, tuple(names))
    if not text:
        return [tuple(row) for row in rows]
    found = []
    for row in rows:
        for place in text:
            value = row[place]
            if value and ("\x00" in value or not value.isascii()):
                cleaned = list(row)
                for other in text:
                    cleaned[other] = None if row[other] is None else clean_text(row[other])
                row = cleaned
                break
        found.append(tuple(row))
    return found


@lru_cache(maxsize=256)
def _text_columns(table: Table, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(names) if isinstance(table.columns[name].type, Text))


@lru_cache(maxsize=256)
def _insert_into_sqlite(table: Table, names: tuple[str, ...], conflict: str) -> str:
    values = ", ".join("?" * len(names))
    return f"INSERT INTO {table.name} ({', '.join(_quoted(names))}) VALUES ({values}) {conflict}"


def _insert_into_postgres(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row], conflict: str
) -> int:
    """Insert by one statement with an array per column; return how many rows are new, which is unknown in a pipeline."""
    inserted = 0
    for part in chunked(rows, _ROWS_AT_ONCE):
        # A column without any value is left out: of most images, nine columns of the media are unknown.
        given = {
            name: values
            for name, values in zip(names, _columns(part), strict=True)
            if values[0] is not None or values.count(None) < len(values)
        }
        source = ", ".join(["%s"] * len(given))
        statement = f"INSERT INTO {table.name} ({', '.join(_quoted(given))}) SELECT * FROM unnest({source}) {conflict}"
        inserted += connection.exec_driver_sql(statement, _arrays(table, given)).rowcount
    return inserted


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Return the columns of rows. ``zip`` would make an object per row, which the garbage collector counts and looks through."""
    return [list(map(itemgetter(place), rows)) for place in range(len(rows[0]))]


def _arrays(table: Table, columns: Mapping[str, Sequence[Any]]) -> tuple[Any, ...]:
    from bioclip_plugin.store.database import arrays

    kinds: dict[str, Callable[[Sequence[Any]], Any]]
    kinds = {"int8": arrays.integers, "float8": arrays.floats, "bytea": arrays.blobs, "text": arrays.texts}
    return tuple(kinds[_type_of(table, name)](values) for name, values in columns.items())


@contextmanager
def _copying(connection: Connection, table: Table, names: Sequence[str]) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Give a function that sends rows by binary ``COPY``, straight into the table; the end waits until they are written."""
    from bioclip_plugin.store.database import copying

    kinds = [_type_of(table, name) for name in names]
    cursor: Any = connection.connection.cursor()
    statement = f"COPY {table.name} ({', '.join(_quoted(names))}) FROM STDIN (FORMAT BINARY)"

    def write(rows: Sequence[Row]) -> None:
        for part in chunked(rows, _ROWS_PACKED_AT_ONCE):
            copy.write(copying.packed(kinds, _columns(part)))

    try:
        with cursor.copy(statement) as copy:
            copy.write(copying.SIGNATURE)
            yield write
            copy.write(copying.TRAILER)
    finally:
        cursor.close()


def _type_of(table: Table, name: str) -> str:
    kind = table.columns[name].type
    return (
        "int8"
        if kind is Integer
        else "float8"
        if kind is Real
        else "bytea"
        if isinstance(kind, LargeBinary)
        else "text"
    )
