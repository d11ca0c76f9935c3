"""What the stage asks of the records, in DuckDB: distinct combinations of names, common names, and the combination of each record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bioclip_training.curation.database import parts_in, streamed
from bioclip_training.curation.naming.combinations import WRITTEN_COLUMNS, Combinations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NAMED = ", ".join(f'"{column}"' for column in WRITTEN_COLUMNS)
_COMBINATIONS = pa.schema(
    [
        *((column, pa.string()) for column in WRITTEN_COLUMNS),
        ("sources", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int64())),
    ]
)
_ROWS = 65_536


class RecordNames:
    """The names in the records of a curation."""

    def __init__(self, connection: DuckDBPyConnection, folder: Path) -> None:
        """Keep where the records are.

        Args:
            connection: to an empty database.
            folder: of the stage ``records``.
        """
        self._database = connection
        # A record that only has a common name is labelled by it.
        written = f"CASE WHEN concat({_NAMED}) = '' THEN common_name ELSE verbatim_name END"
        self._records = f"(SELECT * REPLACE ({written} AS verbatim_name) FROM {parts_in(folder)})"

    def combinations(self) -> Combinations:
        """Return the distinct combinations, sorted by their cells, with the number of records of each source."""
        self._database.execute(
            f"CREATE TABLE counted AS SELECT {_NAMED}, source, count(*) AS n FROM {self._records} GROUP BY ALL"
        )
        self._database.execute(
            f"CREATE TABLE combinations AS SELECT (row_number() OVER (ORDER BY {_NAMED}) - 1)::INTEGER AS number, * FROM ("
            f"SELECT {_NAMED}, list(source ORDER BY source) AS sources, list(n ORDER BY source) AS counts FROM counted GROUP BY {_NAMED})"
        )
        self._database.execute("DROP TABLE counted")
        found = streamed(self._database, "SELECT * EXCLUDE number FROM combinations ORDER BY number", _ROWS)
        return Combinations(pa.Table.from_batches(list(found), _COMBINATIONS))

    def common_names(self) -> Iterator[tuple[int, str, str, str, int]]:
        """Yield combination, common name, language, source and number of records."""
        yield from self._rows(
            f"SELECT number, common_name, common_name_language, source, count(*) FROM {self._records} JOIN combinations "
            f"USING ({_NAMED}) WHERE common_name != '' GROUP BY ALL ORDER BY ALL"
        )

    def pages(self) -> Iterator[tuple[int, str]]:
        """Yield combination and EOL page, each pair once."""
        yield from self._rows(
            f"SELECT DISTINCT number, eol_page_id FROM {self._records} JOIN combinations USING ({_NAMED}) "
            "WHERE eol_page_id != '' ORDER BY ALL"
        )

    def numbered(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        """Yield key and combination of the records, sorted by key.

        Args:
            rows: number of records of each part; each table has as many.
        """
        query = f"SELECT key, number FROM {self._records} JOIN combinations USING ({_NAMED}) ORDER BY key"
        batches = streamed(self._database, query, _ROWS)
        waiting = pa.table({"key": pa.array([], pa.string()), "number": pa.array([], pa.int32())})
        for count in rows:
            tables = [waiting]
            while sum(table.num_rows for table in tables) < count:
                tables.append(pa.Table.from_batches([next(batches)]))
            waiting = pa.concat_tables(tables)
            yield waiting.slice(0, count)
            waiting = waiting.slice(count)

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        found = self._database.execute(query)
        while rows := found.fetchmany(_ROWS):
            yield from rows
