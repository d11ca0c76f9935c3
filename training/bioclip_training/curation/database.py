"""DuckDB as stages use it: a database in memory that spills to the stage's scratch folder and keeps to its share of memory and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import InstallationError, SourceError, first_line
from bioclip_training.curation.manifests import part_file

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from bioclip_training.curation.stages import StageWork

_SHARE = 0.6
"""Share of the stage's memory that DuckDB may fill; the rest is for Arrow, Python, and what DuckDB does not count."""


class QueryError(SourceError):
    """DuckDB cannot go on: the disk is full, or a file that it reads is damaged."""


def check_installed() -> None:
    """Refuse to work without DuckDB.

    Raises:
        InstallationError: if it is missing.
    """
    _library()


def _library() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise InstallationError(
            f"curation needs DuckDB ({first_line(error)}): pip install 'bioclip-plugin[curate]'"
        ) from error
    return duckdb


@contextmanager
def opened(work: StageWork) -> Iterator[DuckDBPyConnection]:
    """Give a connection to an empty database of a stage.

    Rows of a query have no order but that of its ``ORDER BY``.

    Raises:
        InstallationError: if DuckDB is missing.
        SourceError: if memory or disk is exhausted.
        QueryError: if a query fails otherwise, such as on a damaged part.
    """
    duckdb = _library()
    spilled = work.temporary / "spilled"
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{int(work.memory * _SHARE / 1e6)}MB",
        "threads": work.threads,
        "temp_directory": str(spilled),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise SourceError(
            f"the memory for curation ({work.memory / 1e9:.1f} GB) is not enough, or the disk of {work.temporary} is full "
            f"({first_line(error)}): give more with memory in the configuration, or make room; finished stages stay"
        ) from error
    except duckdb.Error as error:
        raise QueryError(
            f"DuckDB cannot go on in {work.folder}: {first_line(error)}; the same command continues, and finished stages stay"
        ) from error
    finally:
        connection.close()


def quoted(text: object) -> str:
    """Return a text as a literal of SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def parts_in(folder: Path) -> str:
    """Return the table function of SQL that reads all parts of a stage, in no order.

    Args:
        folder: of the stage.
    """
    return f"read_parquet({quoted(folder / part_file('*'))})"


def streamed(database: DuckDBPyConnection, query: str, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query in record batches.

    Args:
        database: the connection.
        query: in SQL.
        rows: number of rows of a batch.
    """
    relation: Any = database.sql(query)
    reader = relation.to_arrow_reader(rows) if hasattr(relation, "to_arrow_reader") else relation.record_batch(rows)
    yield from reader
