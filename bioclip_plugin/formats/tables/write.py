"""CSV, Parquet and JSON lines: the rows of a run, each with its newest review."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.tables.columns import COLUMNS, NUMBERS, Cells, newest_of, table_rows
from bioclip_plugin.items.answers import Answer, RegionAnswer
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion, asked_level

_ROWS_A_GROUP = 20_000
_FORMULA_STARTS = frozenset("=+-@\t\r")
_TEXTS = tuple(n for n, name in enumerate(COLUMNS) if name not in NUMBERS)
_PROBABILITIES = tuple(n for n, name in enumerate(COLUMNS) if name.endswith(("probability", "confidence")))
_OTHER_NUMBERS = tuple(
    n for n, name in enumerate(COLUMNS) if NUMBERS.get(name) == "float64" and n not in _PROBABILITIES
)


class CsvExporter:
    """CSV by RFC 4180, UTF-8; probabilities with six significant digits, coordinates with seven decimals."""

    name = "csv"
    description = "a table for spreadsheets, one row per region or failure"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        count = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            write_row = csv.writer(file).writerow
            write_row(COLUMNS)
            for cells in table_rows(export):
                write_row(_csv_cells(cells))
                count += 1
        return count

    def recognises(self, path: Path) -> bool:
        return beginning(path, 4096).split(b"\n")[0].strip() == ",".join(COLUMNS).encode()

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        with path.open(encoding="utf-8", newline="") as file:
            for number, cells in _widths(file):
                if cells != len(COLUMNS):
                    yield Problem(
                        path.name, f"line {number}", f"it has {cells} cells; there are {len(COLUMNS)} columns"
                    )


class ParquetExporter:
    """The same table with typed columns; unknown values are null."""

    name = "parquet"
    description = "the same table for programs, with types, compressed"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        import pyarrow.parquet

        schema = pyarrow.schema([(name, pyarrow.type_for_alias(NUMBERS.get(name, "string"))) for name in COLUMNS])
        rows = table_rows(export)
        count = 0
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            while group := list(islice(rows, _ROWS_A_GROUP)):
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
        if missing := [name for name in COLUMNS if name not in names]:
            yield Problem(path.name, "", f"columns are missing: {', '.join(missing)}")


def beginning(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; empty for a folder."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(size)


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


def _csv_cells(row: Cells) -> list[Any]:
    cells = list(row)
    for place in _TEXTS:  # as spreadsheet_safe, without one call per cell
        cell = cells[place]
        if cell and cell[0] in _FORMULA_STARTS:
            cells[place] = f"'{cell}"
    for place in _PROBABILITIES:  # a probability is a float32 with as many digits
        if cells[place] is not None:
            cells[place] = f"{cells[place]:.6g}"
    for place in _OTHER_NUMBERS:  # seven decimals of a degree are a centimetre
        if cells[place] is not None:
            cells[place] = round(float(cells[place]), 7)
    return cells


def spreadsheet_safe(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: with an apostrophe before the sign that begins one.

    >>> spreadsheet_safe("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text[:1] in _FORMULA_STARTS else text


class JsonLinesExporter:
    """One object per region, one for an item that failed, and ``{"uri", "status"}`` for an item with neither.

    A region that a rule changed, or that belongs to an event, has ``decision`` (verdict, event, trail); its newest review is
    in ``review`` (verdict, taxon, reviewer, reviewed_at, comment, details).
    """

    name = "jsonl"
    description = "one JSON object per region or failure, as classify --json prints them"
    folder = False

    def write(self, path: Path, export: Export) -> int:
        level = asked_level(export.run)
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for stored, reviews in export.reviewed_items((level,)):
                for row in objects_of(stored, reviews, level, export.options.top):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
        return count

    def recognises(self, path: Path) -> bool:
        start = beginning(path, 65_536).split(b"\n")[0]
        return start.startswith(b"{") and b'"uri"' in start

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    if not isinstance(json.loads(line), dict):
                        yield Problem(path.name, f"line {number}", "a line must be one JSON object", line[:80])
                except ValueError as error:
                    yield Problem(path.name, f"line {number}", f"it is not JSON: {error}")


def objects_of(stored: StoredItem, reviews: Sequence[Review], level: str, top: int) -> list[dict[str, Any]]:
    """Return the objects of one item, with its ``top`` candidates at the level that the run was asked for."""
    regions = tuple(
        RegionAnswer(region.region, tuple(region.by_rank.get(level, ()))[:top], region.consensus, region.flags)
        for region in stored.regions
    )
    objects = Answer(stored.item, regions, stored.failure).as_dicts()
    if not objects or stored.failure is not None:
        objects = objects or [{"uri": stored.item.uri, "status": stored.status}]
        return [{**one, **_review(newest_of(reviews, None))} for one in objects]
    return [
        {**one, **_decision(region), **_review(newest_of(reviews, region.region))}
        for one, region in zip(objects, stored.regions, strict=True)
    ]


def _decision(region: StoredRegion) -> dict[str, Any]:
    decision = region.decision
    if decision is None or not (decision.trail or decision.event or decision.verdict not in ("taxon", "unknown")):
        return {}
    return {
        "decision": {"verdict": decision.verdict, "event": decision.event, "trail": list(map(dict, decision.trail))}
    }


def _review(review: Review | None) -> dict[str, Any]:
    if review is None:
        return {}
    taxon = review.taxon
    named = {"scientific_name": taxon.scientific_name or taxon.common_name, **taxon.as_dict()} if taxon else None
    return {
        "review": {
            "verdict": review.verdict, "taxon": named, "reviewer": review.reviewer,
            "reviewed_at": review.reviewed_at.isoformat(), "comment": review.comment, "details": dict(review.details),
        }
    }  # fmt: skip
