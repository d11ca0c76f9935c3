"""Sizes of a store: rows and bytes of each table, images of each run, and the space that a compaction gives back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from bioclip_plugin.store.compacting import free_bytes, size_of
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.address import shown
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.versions import version_of
from bioclip_plugin.store.deleting import BYTES_PER_ROW
from bioclip_plugin.store.reading import summary
from bioclip_plugin.store.records import RunSize, StoreInfo, TableSize
from bioclip_plugin.store.runs import all_runs, half_deleted

MEASURED, ESTIMATED = "measured", "estimated from typical sizes of rows and the size of the file"


def info(database: Database) -> StoreInfo:
    """Return the sizes of a store."""
    return database.read(_info, database)


def _info(connection: Connection, database: Database) -> StoreInfo:
    there = {*connection.dialect.get_table_names(connection)}  # a store of an earlier version lacks some
    rows = {name: _rows(connection, name) for name in schema.metadata.tables if name in there}
    if database.is_sqlite:
        sizes, method = _sqlite_sizes(connection, rows)
        free, dead = free_bytes(connection), None
        log = Path(f"{database.url.database}-wal")
        log_bytes = log.stat().st_size if log.exists() else 0
    else:
        sizes, dead = _postgres_sizes(connection), _dead_rows(connection)
        method, free, log_bytes = MEASURED, 0, 0
    found = all_runs(connection)
    counts = [summary(connection, run) for run in found]
    return StoreInfo(
        address=shown(database.url),
        kind="SQLite" if database.is_sqlite else "PostgreSQL",
        version=version_of(connection) or "none",
        bytes=size_of(database) if database.is_sqlite else sum(sizes.values()),
        free_bytes=free,
        log_bytes=log_bytes,
        dead_rows=dead,
        method=method,
        tables=tuple(
            TableSize(name.removeprefix(schema.PREFIX), rows[name], sizes.get(name, 0))
            for name in sorted(rows, key=lambda name: (-sizes.get(name, 0), name))
        ),
        runs=tuple(
            RunSize(run, count.listed, count.done, count.failed, count.todo, count.regions,
                    database.holds.is_held(connection, run.id))
            for run, count in zip(found, counts, strict=True)
        ),
        half_deleted=tuple(half_deleted(connection)),
    )  # fmt: skip


def _rows(connection: Connection, name: str) -> int:
    return int(connection.execute(select(func.count()).select_from(schema.metadata.tables[name])).scalar_one())


def _sqlite_sizes(connection: Connection, rows: Mapping[str, int]) -> tuple[dict[str, int], str]:
    """Return the bytes of each table with its indexes, and how they were found."""
    of_table = "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat AS d JOIN sqlite_schema AS s ON s.name = d.name"
    try:
        found = connection.execute(text(f"{of_table} WHERE d.aggregate = TRUE GROUP BY s.tbl_name"))
        return {name: int(size) for name, size in found if name in rows}, MEASURED
    except DBAPIError:  # this SQLite was compiled without dbstat
        pages, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
        typical = {name: count * _typical(name) for name, count in rows.items()}
        scale = (pages * size - free_bytes(connection)) / max(1, sum(typical.values()))
        return {name: int(number * scale) for name, number in typical.items()}, ESTIMATED


def _typical(name: str) -> int:
    return BYTES_PER_ROW.get(name.removeprefix(schema.PREFIX), 300)


def _postgres_sizes(connection: Connection) -> dict[str, int]:
    query = text("SELECT name, pg_total_relation_size(to_regclass(name)) FROM unnest(CAST(:names AS text[])) AS name")
    rows: Any = connection.execute(query, {"names": list(schema.metadata.tables)})
    return {name: int(size or 0) for name, size in rows}


def _dead_rows(connection: Connection) -> int:
    query = text("SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname = ANY(:names)")
    return int(connection.execute(query, {"names": list(schema.metadata.tables)}).scalar() or 0)
