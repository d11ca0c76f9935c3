"""Checks of the rows of one Camtrap DP table: the header, each cell, and cells that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from unicodedata import category

from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.camtrap_dp.package import CsvRow, is_utf_8
from bioclip_plugin.formats.camtrap_dp.schema import BOX, MISSING, TABLES, Column, fault_of, is_json_object

Cells = Mapping[str, str]
_ROUNDING = 1e-4  # some programs round boxes to four digits, and two roundings add up
_INVISIBLE = ("Cf", "Zl", "Zp")


class CheckedRow(NamedTuple):
    """One row whose cells were checked."""

    record: str
    """``line 7 (ID)``."""
    values: dict[str, str]
    """Cells by column of the table; empty for a missing or faulty value."""
    faulty: frozenset[str]
    """Columns whose cell is faulty."""

    def follows_from_reported(self, column: str) -> bool:
        """True if a fault at this column is a consequence of a cell that is already reported."""
        return column in self.faulty or (column in BOX and not self.faulty.isdisjoint(BOX))


def checked_rows(rows: Iterator[CsvRow], file: str, table: str) -> Iterator[CheckedRow | Problem]:
    """Yield the problems of a table's header, rows and cells, and each row that can be used after its problems."""
    header = next(rows, CsvRow(1, []))
    if header.fault:
        yield Problem(file, "line 1", f"the header {header.fault}")
        return
    yield from _header_problems(header.cells, file, list(TABLES[table]))
    columns = [TABLES[table].get(name) for name in header.cells]
    for row in rows:
        if row.fault or not row.cells:
            yield Problem(file, f"line {row.line}", row.fault or "the line is empty")
        elif len(row.cells) != len(columns):
            yield Problem(
                file, f"line {row.line}", f"the line has {len(row.cells)} cells where the header has {len(columns)}"
            )
        else:
            yield from _checked_row(row, columns, file, dict.fromkeys(TABLES[table], ""))


def _header_problems(header: list[str], file: str, expected: list[str]) -> Iterator[Problem]:
    """Yield the problems of a header, which must have each column of the table once, in order, and no others."""
    wrong = {
        "these columns are missing; all are needed, with empty cells for unknown values": [
            name for name in expected if name not in header
        ],
        "the table does not have these columns": [name for name in header if name not in expected],
        "these columns are duplicated": sorted({name for name in header if header.count(name) > 1}),
    }
    if header != expected and not any(wrong.values()):
        wrong = {"the columns are not in the order of the table's schema": header}
    for message, names in wrong.items():
        if names:
            yield Problem(file, "line 1", message, ", ".join(names))


def _checked_row(
    row: CsvRow, columns: Sequence[Column | None], file: str, values: dict[str, str]
) -> Iterator[CheckedRow | Problem]:
    record = f"line {row.line} ({row.cells[0]})"
    faulty: list[str] = []
    for column, cell in zip(columns, row.cells, strict=True):
        if column is None:
            continue
        fault = ""
        if cell or column.required:
            fault = fault_of(column, cell) if is_utf_8(cell) else "the cell is not in UTF-8"
        if fault:
            yield Problem(
                file, f"{record} {column.name}", fault, cell.encode("utf-8", "backslashreplace").decode()[:200]
            )
            faulty.append(column.name)
        values[column.name] = "" if fault or cell in MISSING else cell
    yield CheckedRow(record, values, frozenset(faulty))


class Fault(NamedTuple):
    """A fault of one row."""

    column: str
    message: str
    value: str = ""
    severity: Severity = "error"


class _Contradiction(NamedTuple):
    """Cells of one row that exclude each other, or need each other."""

    column: str
    message: str
    """With the names of columns in braces, which stand for their cells."""
    is_found: Callable[[Cells], object]
    severity: Severity = "error"


_DEPTH_AND_HEIGHT = _Contradiction(
    "cameraDepth",
    "height and depth exclude each other",
    lambda row: row["cameraHeight"] and row["cameraDepth"],
    "warning",
)
_IN_LEVELS = (
    _Contradiction("mediaID", "an observation of one image needs its mediaID",
                   lambda row: row["observationLevel"] == "media" and not row["mediaID"]),
    _Contradiction("mediaID", "an observation of an event must not have a mediaID",
                   lambda row: row["observationLevel"] == "event" and row["mediaID"], "warning"),
    _Contradiction("eventID", "an observation of an event needs its eventID",
                   lambda row: row["observationLevel"] == "event" and not row["eventID"], "warning"),
)  # fmt: skip
_NAMELESS = "a classification by a {classificationMethod} needs the name of its author"
_IN_CLASSIFICATIONS = (
    _Contradiction("classifiedBy", _NAMELESS,
                   lambda row: row["classificationMethod"] == "machine" and not row["classifiedBy"].strip()),
    _Contradiction("classifiedBy", _NAMELESS,
                   lambda row: row["classificationMethod"] == "human" and not row["classifiedBy"].strip(), "warning"),
    _Contradiction("classificationMethod", "a classification needs its method, human or machine",
                   lambda row: not row["classificationMethod"] and (row["classifiedBy"] or row["classificationProbability"]),
                   "warning"),
    _Contradiction("scientificName", "an observation of type {observationType} must not have a name",
                   lambda row: row["scientificName"] and row["observationType"] in ("blank", "vehicle"), "warning"),
    _Contradiction("scientificName",
                   "Camtrap DP lacks a type for organisms that are not animals; the observation is unclassified in spite of its name",
                   lambda row: row["scientificName"] and row["observationType"] == "unclassified", "warning"),
    _Contradiction("count", "a blank observation must not have a count",
                   lambda row: row["count"] and row["observationType"] == "blank", "warning"),
)  # fmt: skip


def _contradictions(row: Cells, *kinds: _Contradiction) -> Iterator[Fault]:
    for kind in kinds:
        if kind.is_found(row):
            yield Fault(kind.column, kind.message.format_map(row), row[kind.column].strip(), kind.severity)


def _deployment_faults(row: Cells) -> Iterator[Fault]:
    yield from _order_faults(row, "deploymentStart", "deploymentEnd")
    yield from _contradictions(row, _DEPTH_AND_HEIGHT)


def _media_faults(row: Cells) -> Iterator[Fault]:
    path = row["filePath"]
    if not path.isprintable() and any(category(letter) in _INVISIBLE for letter in path):
        # Such as a character that turns the direction of writing.
        shown = "".join(f"<U+{ord(letter):04X}>" if category(letter) in _INVISIBLE else letter for letter in path)
        yield Fault("filePath", "the path contains invisible characters", shown, "warning")
    if row["exifData"] and not is_json_object(row["exifData"]):
        yield Fault("exifData", "must be a JSON object", row["exifData"][:80], "warning")


def _observation_faults(row: Cells) -> Iterator[Fault]:
    yield from _contradictions(row, *_IN_LEVELS)
    yield from _order_faults(row, "eventStart", "eventEnd")
    yield from _box_faults(row)
    yield from _contradictions(row, *_IN_CLASSIFICATIONS)


def _box_faults(row: Cells) -> Iterator[Fault]:
    cells = [row[name] for name in BOX]
    if not all(cells):
        if any(cells):
            yield Fault(
                "bboxX", f"a box needs all of {', '.join(BOX)}, or none", " ".join(cell or "-" for cell in cells)
            )
        return
    for start, size, side in ((0, 2, "at the right"), (1, 3, "below")):
        if float(cells[start]) + float(cells[size]) > 1 + _ROUNDING:
            yield Fault(
                BOX[size],
                f"the box leaves the image {side}: {BOX[start]} + {BOX[size]} is above 1",
                f"{cells[start]} + {cells[size]}",
            )
    if row["observationLevel"] == "event":
        yield Fault("bboxX", "an observation of an event must not have a box", " ".join(cells))


def _order_faults(row: Cells, start: str, end: str) -> Iterator[Fault]:
    if row[start] and row[end] and is_after(row[start], row[end]):
        yield Fault(end, "the end is before the start", f"{row[start]} {row[end]}")


FAULTS: Mapping[str, Callable[[Cells], Iterator[Fault]]] = {
    "deployments": _deployment_faults,
    "media": _media_faults,
    "observations": _observation_faults,
}
"""By table: the faults of cells that contradict each other."""


def is_after(first: str, second: str) -> bool:
    """True if one valid moment is later than another."""
    return datetime.fromisoformat(first) > datetime.fromisoformat(second)
