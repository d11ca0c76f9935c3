"""Statements as a table has them: one a row, before its image and its name were looked up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, tzinfo
from typing import Any

from bioclip_core.cells import column_name, day_of, json_value, number_of, plain_cells
from bioclip_core.cells import moment_of as moment_of_cell

Box = tuple[float, float, float, float]

_GUARDED = ("'=", "'+", "'-", "'@", "'\t", "'\r")

REVIEWER_COLUMNS = ("reviewer", "reviewedby", "identifiedby", "classifiedby", "analyst", "observer")
TIME_COLUMNS = ("reviewedat", "dateidentified", "classificationtimestamp")
COMMENT_COLUMNS = (
    "reviewcomment", "comment", "comments", "identificationremarks", "observationcomments", "note", "notes",
)  # fmt: skip
BOX_COLUMNS = (("bboxx", "bboxy", "bboxwidth", "bboxheight"), ("regionx", "regiony", "regionw", "regionh"))
_DETAILS = {"individualcount": "count", "count": "count", "sex": "sex", "lifestage": "lifeStage", "behavior": "behavior",
            "behaviour": "behavior", "observationid": "observationID", "eventid": "eventID"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """One row's statement."""

    record: str
    """Where it stands: "row 7"."""
    image: str = ""
    """As written; empty where the row speaks of an event."""
    frame: int = 0
    box: Box | None = None
    elsewhere: tuple[str, ...] = ()
    """What else the image may be called."""
    event: str = ""
    verdict: str = ""
    """The word that the row has for it."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """Cells that name the taxon."""
    scientific: bool = False
    """Whether the table says that the name is a scientific one."""
    reviewer: str = ""
    reviewed_at: datetime | None = None
    comment: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    exported: frozenset[str] = frozenset()
    """The table's columns, squeezed, where `export` wrote it: its rows may repeat what the store has. Else none."""

    @property
    def named(self) -> str:
        """The name as the row has it, where it has one."""
        return str(self.names.get("scientificName", self.names.get("scientificname", ""))).strip()

    @property
    def name(self) -> str:
        """What the row calls it, for people."""
        return " ".join(str(value) for value in self.names.values()) or self.verdict


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A row that could not be taken, and why."""

    record: str
    image: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotReviewed:
    """A row that holds no review: nobody filled it in."""

    record: str


Statement = Written | NotTaken | NotReviewed
Reader = Callable[[], Iterator[Statement]]


class BadCellError(ValueError):
    """A cell that cannot be used as it is; the text says why."""


def cells_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row's cells by their columns' squeezed names, without the apostrophe that guards a spreadsheet from formulas."""
    return {name: unguarded(value) for name, value in plain_cells(values).items()}


def unguarded(value: Any) -> Any:
    """A cell without the apostrophe that our exports put before what a spreadsheet would compute."""
    return value[1:] if isinstance(value, str) and value.startswith(_GUARDED) else value


def text_of(cells: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """The first of some columns that has a text."""
    return next((text for name in columns if (text := str(cells.get(name, "")).strip())), "")


def frame_of(cells: Mapping[str, Any]) -> int:
    """The frame, from 0.

    Raises:
        BadCellError: for what is no such number.
    """
    cell = next((cells[name] for name in ("frame", "framenumber") if str(cells.get(name, "")).strip()), 0)
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0 or number != int(number):
        raise BadCellError(f"frame {cell!r}: needed is a whole number from 0")
    return int(number)


def box_of(cells: Mapping[str, Any]) -> Box | None:
    """The box of a row: four columns, or one called bbox that holds four numbers; None where it has none.

    Raises:
        BadCellError: for anything that is no box within the image.
    """
    for columns in BOX_COLUMNS:
        found = [cells.get(name) for name in columns]
        if any(cell is not None and str(cell).strip() for cell in found):
            return _box(found, ", ".join(columns))
    cell = cells.get("bbox")
    if cell is None or not str(cell).strip():
        return None
    try:
        numbers = json.loads(cell) if isinstance(cell, str) and cell.strip().startswith("[") else cell
    except ValueError:
        numbers = None
    if isinstance(numbers, str):
        numbers = re.split(r"[\s,;]+", numbers.strip())
    return _box(numbers if isinstance(numbers, (list, tuple)) else [numbers], "bbox")


def _box(cells: Any, what: str) -> Box:
    numbers = [number for cell in cells if (number := number_of(cell)) is not None and 0 <= number <= 1]
    x, y, w, h = numbers if len(numbers) == len(cells) == 4 else (0.0, 0.0, 0.0, 0.0)
    if w <= 0 or h <= 0 or x + w > 1.0001 or y + h > 1.0001:
        shown = ", ".join(str(cell) for cell in cells)
        raise BadCellError(f"box {what} {shown}: needed are x, y, width, height within 0 to 1 of the upright image")
    return x, y, min(w, 1 - x), min(h, 1 - y)


def moment_of(cells: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    """When the review was made, in the zone given where it has no offset; None where the row does not say.

    Raises:
        BadCellError: for what is no date or time.
    """
    cell = next((cells[name] for name in TIME_COLUMNS if str(cells.get(name, "")).strip()), None)
    if cell is None:
        return None
    moment = moment_of_cell(cell)
    if moment is None and (day := day_of(cell)):
        moment = datetime.combine(day, time())
    if moment is None:
        raise BadCellError(f"time {str(cell)!r}: needed is ISO 8601, such as 2024-05-06T12:00:00+02:00")
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def details_of(cells: Mapping[str, Any], values: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """What else the row says, by the columns' own names; the well-known ones by those that Camtrap DP has."""
    found = {}
    for name, value in values.items():
        key = column_name(name)
        if key not in used and str(value).strip():
            found[_DETAILS.get(key, name)] = json_value(cells[key])
    return found
