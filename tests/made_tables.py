"""Tables of new stores from the statements of the first one, since running all migrations takes many times as long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from bioclip_plugin.store.database import versions

Statement = tuple[str, Any]
_LOOKS = ("SELECT", "PRAGMA", "SHOW")


def migrate_as_before(run: Callable[[Connection, str], None]) -> Callable[[Connection, str], None]:
    """Return ``versions.migrate`` that repeats the statements of ``run`` for empty databases, one kind of database at a time."""
    made: dict[str, list[Statement]] = {}

    def migrate(connection: Connection, revision: str) -> None:
        kind = connection.dialect.name
        if revision != versions.HEAD or versions.version_of(connection) is not None:
            run(connection, revision)
        elif kind in made:
            for statement, parameters in made[kind]:
                connection.exec_driver_sql(statement, parameters)
        else:
            with _recorded(connection) as statements:
                run(connection, revision)
            made[kind] = statements

    migrate.of_the_program = run  # type: ignore[attr-defined]
    return migrate


@contextmanager
def _recorded(connection: Connection) -> Iterator[list[Statement]]:
    statements: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        assert not executemany
        if not statement.lstrip().upper().startswith(_LOOKS):
            statements.append((statement, parameters or None))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)
