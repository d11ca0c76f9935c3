"""Checks of the rows of one Camtrap DP table: the header, each cell, and cells that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from unicodedata import category

from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.camtrap_dp.package import CsvRow, is_utf_8
from bioclip_plugin.formats.camtrap_dp.schema import BOX, MISSING, TABLES, Column, fault_of, is_json_object

_ROUNDING = 1e-4  # some programs round boxes to four digits, and two roundings add up
_INVISIBLE = ("Cf", "Zl", "Zp")


class CheckedRow(NamedTuple):
    """One row whose cells were checked."""

    record: str
    """``line 7 (ID)``."""
    values: dict[str, str]
    """Cells by column; empty for a missing or faulty value."""
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
            message = f"the line has {len(row.cells)} cells where the header has {len(columns)}"
            yield Problem(file, f"line {row.line}", message)
        else:
            yield from _checked_row(row, columns, file)


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


def _checked_row(row: CsvRow, columns: Sequence[Column | None], file: str) -> Iterator[CheckedRow | Problem]:
    record = f"line {row.line} ({row.cells[0]})"
    values: dict[str, str] = {}
    faulty: list[str] = []
    for column, cell in zip(columns, row.cells, strict=True):
        if column is None:
            continue
        fault = ""
        if cell or column.required:
            fault = fault_of(column, cell) if is_utf_8(cell) else "the cell is not in UTF-8"
        if fault:
            shown = cell.encode("utf-8", "backslashreplace").decode()[:200]
            yield Problem(file, f"{record} {column.name}", fault, shown)
            faulty.append(column.name)
        values[column.name] = "" if fault or cell in MISSING else cell
    yield CheckedRow(record, values, frozenset(faulty))


class Fault(NamedTuple):
    """A fault of one row."""

    column: str
    message: str
    value: str = ""
    severity: Severity = "error"


def _deployment_faults(values: Mapping[str, str]) -> Iterator[Fault]:
    yield from _order_faults(values, "deploymentStart", "deploymentEnd")
    if values.get("cameraHeight") and values.get("cameraDepth"):
        yield Fault("cameraDepth", "height and depth exclude each other", values["cameraDepth"], "warning")


def _media_faults(values: Mapping[str, str]) -> Iterator[Fault]:
    path = values.get("filePath", "")
    if not path.isprintable() and any(category(letter) in _INVISIBLE for letter in path):
        # Such as a character that turns the direction of writing.
        shown = "".join(f"<U+{ord(letter):04X}>" if category(letter) in _INVISIBLE else letter for letter in path)
        yield Fault("filePath", "the path contains invisible characters", shown, "warning")
    if values.get("exifData") and not is_json_object(values["exifData"]):
        yield Fault("exifData", "must be a JSON object", values["exifData"][:80], "warning")


def _observation_faults(values: Mapping[str, str]) -> Iterator[Fault]:
    level, kind = values.get("observationLevel", ""), values.get("observationType", "")
    if level == "media" and not values.get("mediaID"):
        yield Fault("mediaID", "an observation of one image needs its mediaID")
    if level == "event" and values.get("mediaID"):
        yield Fault("mediaID", "an observation of an event must not have a mediaID", values["mediaID"], "warning")
    if level == "event" and not values.get("eventID"):
        yield Fault("eventID", "an observation of an event needs its eventID", "", "warning")
    yield from _order_faults(values, "eventStart", "eventEnd")
    yield from _box_faults(values, level)
    method, name = values.get("classificationMethod", ""), values.get("scientificName", "")
    if method and not values.get("classifiedBy", "").strip():
        severity: Severity = "error" if method == "machine" else "warning"
        yield Fault("classifiedBy", f"a classification by a {method} needs the name of its author", "", severity)
    if not method and (values.get("classifiedBy") or values.get("classificationProbability")):
        yield Fault("classificationMethod", "a classification needs its method, human or machine", "", "warning")
    if name and kind in ("blank", "vehicle"):
        yield Fault("scientificName", f"an observation of type {kind} must not have a name", name, "warning")
    if name and kind == "unclassified":
        message = "Camtrap DP lacks a type for organisms that are not animals; the observation is unclassified in spite of its name"
        yield Fault("scientificName", message, name, "warning")
    if values.get("count") and kind == "blank":
        yield Fault("count", "a blank observation must not have a count", values["count"], "warning")


def _box_faults(values: Mapping[str, str], level: str) -> Iterator[Fault]:
    cells = [values.get(name, "") for name in BOX]
    if not any(cells):
        return
    if not all(cells):
        shown = " ".join(cell or "-" for cell in cells)
        yield Fault("bboxX", f"a box needs all of {', '.join(BOX)}, or none", shown)
        return
    for start, size, side in ((0, 2, "at the right"), (1, 3, "below")):
        if float(cells[start]) + float(cells[size]) > 1 + _ROUNDING:
            message = f"the box leaves the image {side}: {BOX[start]} + {BOX[size]} is above 1"
            yield Fault(BOX[size], message, f"{cells[start]} + {cells[size]}")
    if level == "event":
        yield Fault("bboxX", "an observation of an event must not have a box", " ".join(cells))


def _order_faults(values: Mapping[str, str], start: str, end: str) -> Iterator[Fault]:
    starts, ends = values.get(start, ""), values.get(end, "")
    if starts and ends and is_after(starts, ends):
        yield Fault(end, "the end is before the start", f"{starts} {ends}")


FAULTS: Mapping[str, Callable[[Mapping[str, str]], Iterator[Fault]]] = {
    "deployments": _deployment_faults,
    "media": _media_faults,
    "observations": _observation_faults,
}
"""By table: the faults of cells that contradict each other."""


def is_after(first: str, second: str) -> bool:
    """True if one valid moment is later than another."""
    return datetime.fromisoformat(first) > datetime.fromisoformat(second)
