"""CSV and Parquet: the rows of a run, each with its newest review."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bioclip_core.files.present import is_file
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.exported import guarded
from bioclip_plugin.formats.tables.columns import COLUMNS, NUMBERS, Cells
from bioclip_plugin.formats.tables.layout import begins_like_ours, layout_of, missing_columns
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS

__all__ = ["COLUMNS", "CsvExporter", "ParquetExporter", "beginning"]

TABLE_OPTIONS = frozenset(
    {"time_zone", "coordinate_precision", "top", "per", "keep_columns", "base_folder", *DEPLOYMENT_SETTINGS}
)
"""Options of an export that tables use."""
_ROWS_A_GROUP = 20_000
_LOOK_AT = 1 << 20  # bytes in which the header must end
_FIRST_OF_COMPUTED = frozenset("=+-@\t\r'")


class CsvExporter:
    """CSV by RFC 4180, UTF-8; probabilities with six significant digits, coordinates with seven decimals."""

    name = "csv"
    description = "a table for spreadsheets, one row per region or failure"
    folder = False
    options = TABLE_OPTIONS
    names_deployments = True

    def write(self, path: Path, export: Export) -> int:
        count, layout = 0, layout_of(export)
        as_text = _csv_cells(layout.columns)
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write_row = csv.writer(file).writerow
            write_row(map(guarded, layout.columns))
            for cells in layout.rows:
                write_row(as_text(cells))
                count += 1
        return count

    def recognises(self, path: Path) -> bool:
        return begins_like_ours(_header(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        header = _header(path)
        if missing := missing_columns(header):
            yield Problem(path.name, "line 1", f"columns are missing: {', '.join(missing)}")
            return
        with path.open(encoding="utf-8", newline="") as file:
            for number, cells in _widths(file):
                if cells != len(header):
                    yield Problem(path.name, f"line {number}", f"it has {cells} cells; there are {len(header)} columns")


class ParquetExporter:
    """The same table with typed columns; unknown values are null."""

    name = "parquet"
    description = "the same table for programs, with types, compressed"
    folder = False
    options = TABLE_OPTIONS
    names_deployments = True

    def write(self, path: Path, export: Export) -> int:
        import pyarrow.parquet

        layout, count = layout_of(export), 0
        schema = pyarrow.schema(
            [(name, pyarrow.type_for_alias(NUMBERS.get(name, "string"))) for name in layout.columns]
        )
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            while group := list(islice(layout.rows, _ROWS_A_GROUP)):
                columns = [
                    pyarrow.array(cells, field.type)
                    for cells, field in zip(zip(*group, strict=True), schema, strict=True)
                ]
                writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
                count += len(group)
        return count

    def recognises(self, path: Path) -> bool:
        return beginning(path, 4) == b"PAR1"

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        import pyarrow.parquet

        try:
            names = pyarrow.parquet.read_schema(path).names
        except (OSError, pyarrow.ArrowException) as error:
            yield Problem(path.name, "", f"it cannot be read as Parquet: {error}")
            return
        if missing := missing_columns(names):
            yield Problem(path.name, "", f"columns are missing: {', '.join(missing)}")


def beginning(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; empty for a folder."""
    if not is_file(path):
        return b""
    with path.open("rb") as file:
        return file.read(size)


def _header(path: Path) -> tuple[str, ...]:
    """Return the first row of a CSV file; empty if it is not text."""
    try:
        lines = beginning(path, _LOOK_AT).decode("utf-8", "ignore").splitlines(keepends=True)
        return tuple(next(csv.reader(lines), ()))
    except csv.Error:
        return ()


def _widths(lines: Iterator[str]) -> Iterator[tuple[int, int]]:
    """Yield the number of each row's first line, from 1, and of its cells; only rows with quotes are parsed."""
    number = 1
    for line in lines:
        if '"' not in line:
            yield number, line.count(",") + 1
            number += 1
        else:
            row = csv.reader(chain([line], lines))
            yield number, len(next(row))
            number += row.line_num


def _csv_cells(columns: Sequence[str]) -> Callable[[Cells], list[Any]]:
    """Return a function that writes the cells of a row as texts for a CSV file."""
    texts = tuple(n for n, name in enumerate(columns) if name not in NUMBERS)
    probabilities = tuple(
        n for n, name in enumerate(columns) if name in NUMBERS and name.endswith(("probability", "confidence"))
    )
    others = tuple(n for n, name in enumerate(columns) if NUMBERS.get(name) == "float64" and n not in probabilities)

    def as_text(row: Cells) -> list[Any]:
        cells = list(row)
        for place in texts:
            cell = cells[place]
            if cell and cell[0] in _FIRST_OF_COMPUTED:  # one call less per cell
                cells[place] = guarded(cell)
        for place in probabilities:  # a probability is a float32 with as many digits
            if cells[place] is not None:
                cells[place] = f"{cells[place]:.6g}"
        for place in others:  # seven decimals of a degree are a centimetre
            if cells[place] is not None:
                cells[place] = round(float(cells[place]), 7)
        return cells

    return as_text
