"""Features as ``halfvec`` columns of pgvector on PostgreSQL: a table per feature set, derived from the stored features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from bioclip_plugin.store.database.bulk import execute
from bioclip_plugin.store.database.schema import PREFIX
from bioclip_plugin.store.feature_rows import FeatureKeys, StoredFeatureSet

OLDEST = (0, 8)
"""First version of pgvector whose index goes on until enough rows pass a filter."""
LARGEST_DIMENSION = 4_000
"""Numbers of a halfvec that its index takes."""
INDEX_FROM = 200_000
"""Rows from which an index is made; below, comparing all of them is fast enough and exact."""
_START = f"{PREFIX}halfvecs_"
_LOCK = 0x62696F5345415243  # of programs that bring such a table up to date
_CONTENTS_AT_ONCE = 4_096

Vectors = Callable[[list[int]], tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float16]]]
"""Function that returns the usable features of some contents: R contents, R packed boxes, R×D vectors."""


def why_no_pgvector(connection: Connection, dimension: int) -> str:
    """Return why a database cannot have such tables; empty if it can. The extension is made if the server has it."""
    if dimension > LARGEST_DIMENSION:
        return f"its index takes {LARGEST_DIMENSION:,} numbers per feature, and these have {dimension:,}"
    offered = execute(connection, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'").scalar_one()
    if not offered:
        return "the server does not have the extension pgvector"
    execute(connection, "CREATE EXTENSION IF NOT EXISTS vector")
    version = str(execute(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'").scalar_one())
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"the database has pgvector {version}, and {'.'.join(map(str, OLDEST))} is needed"
    return ""


def table_of(feature_set: StoredFeatureSet) -> str:
    """Return the name of a feature set's table."""
    return f"{_START}{feature_set.number}"


def stored_state(connection: Connection, feature_set: StoredFeatureSet) -> str | None:
    """Return the state of the features that a table was made of; None without a table."""
    query = "SELECT obj_description(to_regclass(?), 'pg_class')"
    state = execute(connection, query, table_of(feature_set)).scalar_one()
    return None if state is None else str(state)


def bring_up(
    connection: Connection,
    feature_set: StoredFeatureSet,
    state: str,
    keys: FeatureKeys,
    vectors: Vectors,
    rebuild: bool,
    report: Callable[[int, int], None],
) -> None:
    """Make a table, or bring it up to date: rows of features that are gone are deleted, and new ones copied in."""
    execute(connection, f"SELECT pg_advisory_xact_lock({_LOCK})")
    table = table_of(feature_set)
    if rebuild:
        execute(connection, f"DROP TABLE IF EXISTS {table}")
    _drop_others(connection)
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {table} (content bigint, box bigint, tag bigint, "
        f"vector halfvec({feature_set.dimension}) NOT NULL, PRIMARY KEY (content, box))",
    )
    kept = {(content, box): tag for content, box, tag in execute(connection, f"SELECT content, box, tag FROM {table}")}
    wanted = dict(zip(zip(keys.content_N.tolist(), keys.box_N.tolist(), strict=True), keys.tag_N.tolist(), strict=True))
    gone = [key for key, tag in kept.items() if wanted.get(key) != tag]
    if gone:
        query = (
            f"DELETE FROM {table} t USING unnest(?, ?) AS gone(content, box) "
            "WHERE t.content = gone.content AND t.box = gone.box"
        )
        execute(connection, query, *_arrays(gone))
    missing = {key: tag for key, tag in wanted.items() if kept.get(key) != tag}
    _copy(connection, table, missing, vectors, report)
    rows = execute(connection, f"SELECT count(*) FROM {table}").scalar_one()
    if rows >= INDEX_FROM:
        execute(connection, f"CREATE INDEX IF NOT EXISTS ix_{table} ON {table} USING hnsw (vector halfvec_cosine_ops)")
    execute(connection, f"COMMENT ON TABLE {table} IS '{state}'")  # a hexadecimal hash


def _drop_others(connection: Connection) -> None:
    """Drop the tables of feature sets that were deleted."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND starts_with(tablename, ?)"
    known = {f"{_START}{number}" for number in execute(connection, f"SELECT id FROM {PREFIX}feature_sets").scalars()}
    for name in execute(connection, query, _START).scalars().all():
        if name not in known and name.removeprefix(_START).isdecimal():
            execute(connection, f"DROP TABLE {name}")


def _copy(
    connection: Connection,
    table: str,
    missing: dict[tuple[int, int], int],
    vectors: Vectors,
    report: Callable[[int, int], None],
) -> None:
    from bioclip_plugin.store.database import copying

    contents, done = sorted({content for content, _ in missing}), 0
    cursor: Any = connection.connection.cursor()
    for first in range(0, len(contents), _CONTENTS_AT_ONCE):
        content_R, box_R, rows_RD = vectors(contents[first : first + _CONTENTS_AT_ONCE])
        pairs = list(zip(content_R.tolist(), box_R.tolist(), strict=True))
        chosen = [place for place, key in enumerate(pairs) if key in missing]
        if chosen:
            head = rows_RD.shape[1].to_bytes(2, "big") + bytes(2)
            values = [head + row.tobytes() for row in rows_RD[chosen].astype(">f2")]
            columns = [
                *zip(*(pairs[place] for place in chosen), strict=True),
                [missing[pairs[p]] for p in chosen],
                values,
            ]
            with cursor.copy(f"COPY {table} (content, box, tag, vector) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(copying.SIGNATURE)
                copy.write(copying.packed(("int8", "int8", "int8", "bytea"), columns))
                copy.write(copying.TRAILER)
        done += len(chosen)
        report(done, len(missing))
    cursor.close()


def keys_of(connection: Connection, feature_set: StoredFeatureSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return contents and packed boxes of a table, in their order."""
    rows = execute(connection, f"SELECT content, box FROM {table_of(feature_set)} ORDER BY content, box").all()
    keys_N2 = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
    return keys_N2[:, 0].copy(), keys_N2[:, 1].copy()


def vectors_of(
    connection: Connection, feature_set: StoredFeatureSet, pairs: list[tuple[int, int]]
) -> NDArray[np.float16]:
    """Return K×D features of keys of a table, in the order of the keys."""
    table = table_of(feature_set)
    query = (
        f"SELECT t.content, t.box, t.vector::real[] FROM {table} t JOIN unnest(?, ?) AS k(content, box) "
        "ON t.content = k.content AND t.box = k.box"
    )
    found = {(content, box): vector for content, box, vector in execute(connection, query, *_arrays(pairs))}
    rows = [found[pair] for pair in pairs]
    return np.array(rows, np.float16).reshape(len(pairs), feature_set.dimension)


def nearest_exactly(
    connection: Connection,
    feature_set: StoredFeatureSet,
    query_D: NDArray[np.floating[Any]],
    count: int,
    pairs: list[tuple[int, int]] | None,
) -> list[tuple[int, int]]:
    """Return the keys of the nearest rows, of these pairs or (None) of all, every one compared."""
    table, join = table_of(feature_set), ""
    given: tuple[Any, ...] = ()
    if pairs is not None:
        join = "JOIN unnest(?, ?) AS k(content, box) ON t.content = k.content AND t.box = k.box"
        given = _arrays(pairs)
    execute(connection, "SET LOCAL enable_indexscan = off" if pairs is None else "SET LOCAL enable_indexscan = on")
    # The product with 1 keeps the planner from an index on the distance.
    query = f"SELECT t.content, t.box FROM {table} t {join} ORDER BY (t.vector <=> ?::halfvec) * 1, t.content, t.box LIMIT ?"
    return [(content, box) for content, box in execute(connection, query, *given, _text(query_D), count)]


def nearest_by_index(
    connection: Connection, feature_set: StoredFeatureSet, query_D: NDArray[np.floating[Any]], count: int
) -> list[tuple[int, int]]:
    """Return the keys of the nearest rows by the index, which may miss some."""
    for setting in (
        f"hnsw.ef_search = {min(max(100, count), 1000)}",
        "hnsw.iterative_scan = strict_order",
        f"hnsw.max_scan_tuples = {max(20_000, 10 * count)}",
        "enable_seqscan = off",
    ):
        execute(connection, f"SET LOCAL {setting}")
    query = f"SELECT content, box FROM {table_of(feature_set)} ORDER BY vector <=> ?::halfvec LIMIT ?"
    return [(content, box) for content, box in execute(connection, query, _text(query_D), count)]


def _arrays(pairs: list[tuple[int, int]]) -> tuple[Any, Any]:
    from bioclip_plugin.store.database.arrays import integers

    return integers([content for content, _ in pairs]), integers([box for _, box in pairs])


def _text(query_D: NDArray[np.floating[Any]]) -> str:
    unit_D = query_D.astype(np.float64) / np.linalg.norm(query_D.astype(np.float64))
    return "[" + ",".join(f"{value:.7g}" for value in unit_D.tolist()) + "]"
