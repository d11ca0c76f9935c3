"""The rows of one Camtrap DP table: its header, its cells, and what its cells say together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.formats.camtrap_dp.cells import fault_of, is_json_object, unseen
from bioclip_plugin.formats.camtrap_dp.schema import BOX, MISSING, Column

_ROUNDED = 1e-4  # boxes are rounded to four digits by some, and two roundings add up


class TableRow(NamedTuple):
    """One row as it stands there, and where."""

    record: str
    """``line 7 (ID)``."""
    values: dict[str, str]
    """Of every column; the empty text for a cell that says nothing."""
    bad: frozenset[str]
    """Columns whose cell was found wrong, and counts as empty."""

    def is_spoilt(self, column: str) -> bool:
        """Whether a fault at this column only follows from a cell that was told of already."""
        return bool(self.bad) and (column in self.bad or (column in BOX and not self.bad.isdisjoint(BOX)))


def header_problems(header: Sequence[str], columns: Sequence[Column], file: str) -> Iterator[Problem]:
    """What is wrong with a header: every column of the table is there, once, in the table's order, and no other."""
    expected = [column.name for column in columns]
    if list(header) == expected:
        return
    lacking = [name for name in expected if name not in header]
    more = [name for name in header if name not in expected]
    twice = sorted({name for name in header if list(header).count(name) > 1})
    for names, message in (
        (lacking, "these columns are missing; all are needed, empty where nothing is known"),
        (more, "the table has no such columns"),
        (twice, "these columns stand there twice"),
    ):
        if names:
            yield Problem(file, "line 1", message, ", ".join(names))
    if not (lacking or more or twice):
        yield Problem(file, "line 1", "the columns are not in the order of the table's schema", ", ".join(header))


def read_rows(
    file: BinaryIO, name: str, columns: Sequence[Column], delimiter: str, problems: list[Problem]
) -> Iterator[TableRow]:
    """The rows of a table one by one; what is wrong with the header, a row's form or its cells is put into ``problems``."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if header and header[0].startswith("\ufeff"):
            header[0] = header[0][1:]
        problems += header_problems(header, columns, name)
        by_name = {column.name: column for column in columns}
        known = [by_name.get(column) for column in header]
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # the reader goes on with the next line
                problems.append(Problem(name, f"line {line}", f"it cannot be read: {error}"))
                continue
            yield from _row(cells, line, header, known, name, problems)
    except csv.Error as error:
        problems.append(Problem(name, "line 1", f"the header cannot be read: {error}"))
    finally:
        text.detach()


def _row(
    cells: list[str],
    line: int,
    header: list[str],
    known: Sequence[Column | None],
    file: str,
    problems: list[Problem],
) -> Iterator[TableRow]:
    if len(cells) != len(header):
        what = "the line is empty" if not cells else f"it has {len(cells)} cells where the header has {len(header)}"
        problems.append(Problem(file, f"line {line}", what))
        return
    record = f"line {line} ({cells[0]})"
    values: dict[str, str] = {}
    bad: list[str] = []
    for column, cell in zip(known, cells, strict=True):
        if column is None:
            continue
        if not cell and not column.required:
            values[column.name] = cell
            continue
        fault = fault_of(column, cell) if _is_utf_8(cell) else "it is not in UTF-8"
        if fault:
            shown = cell.encode("utf-8", "backslashreplace").decode()[:200]
            problems.append(Problem(file, f"{record} {column.name}", fault, shown))
            bad.append(column.name)
        values[column.name] = "" if fault or cell in MISSING else cell
    yield TableRow(record, values, frozenset(bad))


def _is_utf_8(cell: str) -> bool:
    return cell.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in cell)


Fault = tuple[str, str, str, Severity]
"""Column, what is wrong, the value, how bad."""


def deployment_faults(values: dict[str, str]) -> Iterator[Fault]:
    """What the cells of a deployment say against each other."""
    starts, ends = values.get("deploymentStart", ""), values.get("deploymentEnd", "")
    if starts and ends and is_after(starts, ends):
        yield "deploymentEnd", "the end is before the start", f"{starts} {ends}", "error"
    if values.get("cameraHeight") and values.get("cameraDepth"):
        yield "cameraDepth", "height and depth exclude each other", values["cameraDepth"], "warning"


def media_faults(values: dict[str, str]) -> Iterator[Fault]:
    """What is doubtful in a media row."""
    if invisible := unseen(values.get("filePath", "")):
        yield "filePath", "it holds invisible characters", invisible, "warning"
    if values.get("exifData") and not is_json_object(values["exifData"]):
        yield "exifData", "a JSON object is needed", values["exifData"][:80], "warning"


def observation_faults(values: dict[str, str]) -> Iterator[Fault]:
    """What the cells of an observation say against each other."""
    level, kind = values.get("observationLevel", ""), values.get("observationType", "")
    if level == "media" and not values.get("mediaID"):
        yield "mediaID", "an observation of one image needs its mediaID", "", "error"
    if level == "event" and values.get("mediaID"):
        yield "mediaID", "an observation of an event has no mediaID", values["mediaID"], "warning"
    if level == "event" and not values.get("eventID"):
        yield "eventID", "an observation of an event has no eventID", "", "warning"
    starts, ends = values.get("eventStart", ""), values.get("eventEnd", "")
    if starts and ends and is_after(starts, ends):
        yield "eventEnd", "the end is before the start", f"{starts} {ends}", "error"
    yield from _box_faults(values, level)
    yield from _naming_faults(values, kind)


def _box_faults(values: dict[str, str], level: str) -> Iterator[Fault]:
    cells = [values.get(name, "") for name in BOX]
    if not any(cells):
        return
    if not all(cells):
        yield "bboxX", f"a box is all of {', '.join(BOX)}, or none", " ".join(cell or "-" for cell in cells), "error"
        return
    x, y, w, h = (float(cell) for cell in cells)
    if x + w > 1 + _ROUNDED:
        yield (
            "bboxWidth",
            "the box leaves the image at the right: bboxX + bboxWidth is above 1",
            f"{cells[0]} + {cells[2]}",
            "error",
        )
    if y + h > 1 + _ROUNDED:
        yield (
            "bboxHeight",
            "the box leaves the image below: bboxY + bboxHeight is above 1",
            f"{cells[1]} + {cells[3]}",
            "error",
        )
    if level == "event":
        yield "bboxX", "an observation of an event has no box", " ".join(cells), "error"


def _naming_faults(values: dict[str, str], kind: str) -> Iterator[Fault]:
    method, name = values.get("classificationMethod", ""), values.get("scientificName", "")
    if method and not values.get("classifiedBy", "").strip():
        severity: Severity = "error" if method == "machine" else "warning"
        yield "classifiedBy", f"what a {method} classified needs the name of who did", "", severity
    if not method and (values.get("classifiedBy") or values.get("classificationProbability")):
        yield "classificationMethod", "human or machine is to be stated where it was classified", "", "warning"
    if name and kind in ("blank", "vehicle"):
        yield "scientificName", f"a name does not go with the type {kind}", name, "warning"
    if name and kind == "unclassified":
        message = "Camtrap DP has no type for what is no animal, so this name stands at an unclassified observation"
        yield "scientificName", message, name, "warning"
    if values.get("count") and kind == "blank":
        yield "count", "nothing is counted where nothing is", values["count"], "warning"


def is_after(first: str, second: str) -> bool:
    """Whether one good moment is later than another."""
    from datetime import datetime

    return datetime.fromisoformat(first) > datetime.fromisoformat(second)
