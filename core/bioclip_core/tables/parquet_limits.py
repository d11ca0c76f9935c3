"""Limits of Parquet files: a few bytes of a dictionary or of compressed pages may stand for gigabytes of cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_CELL_CHARACTERS = 1 << 20
"""Limit of a text cell, which becomes metadata."""
MAX_CHUNK_BYTES = 128 << 20
"""Limit of a column in one row group that expands more than ``MAX_RATIO``-fold; others are as large as their file."""
MAX_RATIO = 100
_MAX_GROUP_BYTES = 2 * MAX_CHUNK_BYTES  # of all columns or of one of lists, if they expand more than that
_BATCH_BYTES = 64 << 20  # of the cells in memory at a time
_LONG = 16 << 10  # characters: shorter values cannot fill the memory with the rows of one batch
_MAX_WHOLE_BYTES = 1 << 30


class ExpandsError(ValueError):
    """A fault of a Parquet file that expands too much, without the file's name."""


@dataclass(slots=True)
class Expansion:
    """Way to read a file whose cells may be long."""

    batch_rows: int
    """Rows in memory at a time."""
    dictionaries: list[str]
    """Columns of text to read as dictionaries: a long value exists once."""
    whole_bytes: int
    """Bytes of the long values of all rows at once."""


def expansion_of(source: Any, batch_rows: int) -> Expansion:
    """Check the footer of a Parquet file and the lengths of its dictionaries' values.

    Args:
        source: path, or buffer of pyarrow.
        batch_rows: rows in memory at a time where cells are short.

    Raises:
        ExpandsError: if it expands too much.
        OSError, ValueError, pyarrow.ArrowException: if it cannot be read.
    """
    import pyarrow.parquet

    found = Expansion(batch_rows, [], 0)
    with pyarrow.parquet.ParquetFile(source) as file:
        texts = {field.name for field in file.schema_arrow if _is_text(field.type)}
        leaves = [file.schema.column(place) for place in range(file.metadata.num_columns)]
        for group in range(file.metadata.num_row_groups):
            chunks = [file.metadata.row_group(group).column(place) for place in range(len(leaves))]
            _check_group(chunks, leaves)
            longest = _longest(source, group, chunks, leaves)
            _add(found, chunks, leaves, texts, longest)
    return found


def check_whole(source: Any) -> None:
    """Check a Parquet file that is read as a whole; errors as of :func:`expansion_of`."""
    found = expansion_of(source, 1)
    if found.whole_bytes > _MAX_WHOLE_BYTES:
        raise ExpandsError(f"its cells expand to {found.whole_bytes:,} bytes; up to {_MAX_WHOLE_BYTES:,} are read")


def shared_values(column: Any) -> list[Any]:
    """Return the values of an array; rows with the same long value of a dictionary share one object."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    if _longest_value(column.dictionary) <= _LONG:
        return list(column.dictionary_decode().to_pylist())
    values = column.dictionary.to_pylist()
    return [None if place is None else values[place] for place in column.indices.to_pylist()]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_group(chunks: list[Any], leaves: list[Any]) -> None:
    packed_sum = plain_sum = 0
    for chunk, leaf in zip(chunks, leaves, strict=True):
        packed, plain = chunk.total_compressed_size, chunk.total_uncompressed_size
        if plain > MAX_CHUNK_BYTES and plain > MAX_RATIO * packed:
            raise _expands(chunk, plain)
        if leaf.max_repetition_level:
            _check_lists(chunk, 8)
        packed_sum, plain_sum = packed_sum + packed, plain_sum + plain
        if plain_sum > _MAX_GROUP_BYTES and plain_sum > MAX_RATIO * packed_sum:
            raise ExpandsError(
                f"the columns of one row group expand from {packed_sum:,} to {plain_sum:,} bytes or more"
            )


def _check_lists(chunk: Any, length: int) -> None:
    size = chunk.num_values * length
    if size > _MAX_GROUP_BYTES and size > MAX_RATIO * chunk.total_compressed_size:
        raise _expands(chunk, size)


def _expands(chunk: Any, size: int) -> ExpandsError:
    return ExpandsError(
        f"its column {chunk.path_in_schema} expands from {chunk.total_compressed_size:,} to {size:,} bytes in one row "
        f"group; more than {MAX_RATIO}-fold only {MAX_CHUNK_BYTES:,} are read: shorten its cells, or write smaller row groups"
    )


def _longest(source: Any, group: int, chunks: list[Any], leaves: list[Any]) -> dict[str, int]:
    """Return the length of the longest value in the dictionary of each column that has a large one."""
    import pyarrow.parquet

    asked = [
        chunk.path_in_schema
        for chunk, leaf in zip(chunks, leaves, strict=True)
        if leaf.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page and chunk.total_uncompressed_size > _LONG
    ]
    found = {}
    for name in asked:
        with pyarrow.parquet.ParquetFile(source, read_dictionary=[name]) as file:
            # A list's first row may be long: its values are read as places in the dictionary.
            for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=[name], use_threads=False):
                found[name] = max((_longest_value(part) for part in _dictionaries(batch.column(0))), default=0)
                break
    return found


def _dictionaries(array: Any) -> Iterator[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for place in range(array.type.num_fields):
            yield from _dictionaries(array.field(place))
    elif pa.types.is_map(array.type):
        yield from (*_dictionaries(array.keys), *_dictionaries(array.items))
    elif pa.types.is_nested(array.type) and hasattr(array, "values"):
        yield from _dictionaries(array.values)


def _longest_value(values: Any) -> int:
    import pyarrow as pa
    import pyarrow.compute

    kind = values.type
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return 0
    return int(pa.compute.max(pa.compute.binary_length(values)).as_py() or 0)


def _add(found: Expansion, chunks: list[Any], leaves: list[Any], texts: set[str], longest: dict[str, int]) -> None:
    """Add a row group's columns to the way to read the file."""
    row_bytes = 1
    for chunk, leaf in zip(chunks, leaves, strict=True):
        name, plain, values = chunk.path_in_schema, chunk.total_uncompressed_size, chunk.num_values
        length = longest.get(name, 0) if leaf.physical_type == "BYTE_ARRAY" else max(0, leaf.length)
        if leaf.max_repetition_level:
            _check_lists(chunk, length)
        if length > _LONG:
            found.whole_bytes += length * values
            if name in texts and leaf.physical_type == "BYTE_ARRAY":
                found.dictionaries += [name] if name not in found.dictionaries else []
            else:
                row_bytes += length
        if "DELTA_BYTE_ARRAY" in chunk.encodings:  # each value may repeat the whole one before it
            row_bytes += plain // 4
        if plain > MAX_CHUNK_BYTES:
            row_bytes += _BATCH_BYTES * plain // (found.batch_rows * (MAX_CHUNK_BYTES // 4))
    found.batch_rows = max(1, min(found.batch_rows, _BATCH_BYTES // row_bytes))
