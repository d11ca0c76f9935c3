"""Reviews as the rows of a table state them, before their images and names are looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name, is_unknown, json_value, number_of, plain_cells
from bioclip_core.errors import DataError
from bioclip_core.files.documents import parse_document
from bioclip_core.findings import Findings
from bioclip_core.names import verdict_of_word
from bioclip_core.options import options_of
from bioclip_core.tables.options import IMAGE_COLUMNS, TableOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.exported import unguarded
from bioclip_plugin.formats.shared.review_times import ReviewTimes, UnreadableTimeError
from bioclip_plugin.formats.shared.table_rows import TABLE_FIELDS, Row
from bioclip_plugin.items.media import Unlisted, uri_of
from bioclip_plugin.items.time_zones import zone_of
from bioclip_plugin.items.verdicts import ReviewVerdict

Box = tuple[float, float, float, float]

REVIEW_FIELDS = tuple(
    dict.fromkeys(
        (*IMAGE_COLUMNS, "scientificName", "verdict", "reviewer", "reviewedAt", "comment", "event", "File", "RelativePath",
         "count", "sex", "lifeStage", "behavior", *TABLE_FIELDS)
    )
)  # fmt: skip
"""The fields that a column of a table of reviews may be read as."""
REVIEWER_COLUMNS = ("reviewer", "reviewedby", "identifiedby", "classifiedby", "analyst", "observer")
TIME_COLUMNS = ("reviewedat", "dateidentified", "classificationtimestamp")
COMMENT_COLUMNS = (
    "reviewcomment", "comment", "comments", "identificationremarks", "observationcomments", "note", "notes",
)  # fmt: skip
BOX_COLUMNS = (("bboxx", "bboxy", "bboxwidth", "bboxheight"), ("regionx", "regiony", "regionw", "regionh"))
_DETAILS = {"individualcount": "count", "count": "count", "sex": "sex", "lifestage": "lifeStage", "behavior": "behavior",
            "behaviour": "behavior", "observationid": "observationID", "eventid": "eventID"}  # fmt: skip
_WORDS: dict[str, ReviewVerdict] = {
    **dict.fromkeys(("taxon", "animal", "plant", "organism"), "taxon"),
    "homosapiens": "person", "notinlabelset": "not_in_label_set",
}  # fmt: skip
"""Words beside those of :mod:`bioclip_core.naming.verdict_words`, which name no organism."""
DETAIL_COLUMNS = frozenset(_DETAILS)
"""Comparable names of columns that are facts about a review."""
_AMBIGUOUS = frozenset(("none", "n/a", "na", "null", "unclassified", "-"))


@dataclass(frozen=True, slots=True)
class ImportOptions(TableOptions):
    """Options of reading a file of reviews."""

    reviewer: str = ""
    """Reviewer of the rows that do not name one."""
    base_folder: Path | None = field(default=None, metadata={"automatic": "the folder of the file itself"})
    """Folder where the relative names of images begin."""
    time_zone: str | None = field(default=None, metadata={"check": zone_of, "automatic": "UTC"})
    """Time zone of times without an offset: Europe/Brussels, or +02:00."""
    findings: Findings = field(default_factory=Findings, repr=False, compare=False)
    """Findings about rows; the command prints them at its end."""
    name_column: str | None = field(default=None, metadata={"automatic": "species, scientificName and others"})
    """Column of the names; the same as --column scientific_name=COLUMN."""

    def __post_init__(self) -> None:
        TableOptions.__post_init__(self)
        if self.name_column is not None and not any(map(_is_name, self.headings)):
            object.__setattr__(self, "column", (*self.column, f"scientific_name={self.name_column}"))

    @property
    def has_chosen_names(self) -> bool:
        """True if the user named the column of the names."""
        return any(map(_is_name, self.headings))

    def listing(self) -> ListingOptions:
        """Return the options for the source of a file that also holds reviews."""
        names = {option.name for option in options_of(TableOptions)}
        given = {name: getattr(self, name) for name in names}
        return ListingOptions(base_folder=self.base_folder, time_zone=self.time_zone, findings=self.findings, **given)


def _is_name(field: str) -> bool:
    return column_name(field) == "scientificname"


@dataclass(frozen=True, slots=True)
class Written:
    """The review of one row."""

    record: str
    """Name of the row for messages: "row 7"."""
    image: str = ""
    """The image as written; empty for a review of an event."""
    frame: int = 0
    box: Box | None = None
    elsewhere: tuple[str, ...] = ()
    """Other names that the image may have."""
    event: str = ""
    verdict: str = ""
    """The row's own word for the verdict."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """Cells that name the taxon."""
    scientific: bool = False
    """True if the table states that the name is a scientific one."""
    reviewer: str = ""
    reviewed_at: datetime | None = None
    comment: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    exported: frozenset[str] = frozenset()
    """The comparable names of the columns of a table that `export` wrote, whose rows may repeat stored reviews; else empty."""

    @property
    def named(self) -> str:
        """The name as written, empty if the row has none."""
        return str(self.names.get("scientificName", self.names.get("scientificname", ""))).strip()

    @property
    def name(self) -> str:
        """The row's name or verdict, for messages."""
        return " ".join(str(value) for value in self.names.values()) or self.verdict


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A row that is refused, with the reason."""

    record: str
    image: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotReviewed:
    """A row without a review: its cells are not filled in."""

    record: str


Statement = Written | NotTaken | NotReviewed


class BadCellError(ValueError):
    """A cell that cannot be used as it is; the text is the reason."""


def verdict_of(word: str) -> ReviewVerdict | None:
    """Return the verdict that a word stands for; None for other words, such as a taxon's name."""
    if own := _WORDS.get(_squeezed(word).rstrip(".")):
        return own
    common = None if is_ambiguous(word) else verdict_of_word(word)
    return None if common == "work" else common


def is_ambiguous(word: str) -> bool:
    """Return True for a word that may mean "no animal in it" as well as "not looked at"."""
    return _squeezed(word) in _AMBIGUOUS


def _squeezed(word: str) -> str:
    plain_word = "".join(word.lower().split()).replace("_", "")
    return plain_word.replace("-", "") if len(plain_word) > 1 else plain_word


def statements_of(
    rows: Iterator[Row | Unlisted], read: Callable[[Row, str], Iterator[Statement]]
) -> Iterator[Statement]:
    """Yield the reviews of a table's rows.

    Args:
        read: reads a row and the row's name for messages.
    """
    for row in rows:
        if isinstance(row, Unlisted):
            yield NotTaken(row.uri.rpartition("#")[2].replace("row=", "row "), "", "", row.reason)
        else:
            yield from read(row, f"row {row.number}")


def completed(
    draft: Written,
    cells: Mapping[str, Any],
    values: Mapping[str, Any],
    times: ReviewTimes,
    used: frozenset[str],
    *,
    has_boxes: bool = False,
) -> Written | NotTaken:
    """Return a row's review with reviewer, time, comment and details, or the row as refused.

    Args:
        cells: the row's cells by their columns' comparable names.
        values: the same by the columns' own names.
        times: reads the time of the review.
        used: columns that are not details, since they are read otherwise.
        has_boxes: True to read frame and box too.
    """
    read = used | {*REVIEWER_COLUMNS, *TIME_COLUMNS, *COMMENT_COLUMNS}
    try:
        return replace(
            draft,
            frame=frame_of(cells) if has_boxes else 0,
            box=box_of(cells) if has_boxes else None,
            reviewer=text_of(cells, REVIEWER_COLUMNS),
            reviewed_at=_reviewed_at(cells, times, draft.record),
            comment=text_of(cells, COMMENT_COLUMNS),
            details={
                _DETAILS.get(key, name): json_value(cells[key])
                for name, value in values.items()
                if (key := column_name(name)) not in read and str(value).strip()
            },
        )
    except (BadCellError, UnreadableTimeError) as error:
        return NotTaken(draft.record, draft.image, draft.name, str(error))


def cells_of(values: Mapping[str, Any], *, has_guards: bool = True) -> dict[str, Any]:
    """Return a row's cells by their columns' comparable names.

    Args:
        has_guards: True to take away the apostrophe that guards against formulas, which only text tables have.
    """
    cells = plain_cells(values)
    return {name: unguarded(value) for name, value in cells.items()} if has_guards else cells


def text_of(cells: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return the text of the first of some columns that has one."""
    return str(_first(cells, columns, "")).strip()


def _first(cells: Mapping[str, Any], columns: Sequence[str], default: Any) -> Any:
    return next((cells[name] for name in columns if str(cells.get(name, "")).strip()), default)


def frame_of(cells: Mapping[str, Any]) -> int:
    """Return the frame, counted from 0.

    Raises:
        BadCellError: for a cell that is not such a number.
    """
    cell = _first(cells, ("frame", "framenumber"), 0)
    number = number_of(cell)
    if number is None or number < 0 or number != int(number):
        raise BadCellError(f"frame {cell!r}: a whole number from 0 is needed")
    return int(number)


def box_of(cells: Mapping[str, Any]) -> Box | None:
    """Return the box of a row, from four columns or one called bbox that holds four numbers; None without a box.

    Raises:
        BadCellError: for anything else than a box within the image.
    """
    for columns in BOX_COLUMNS:
        found = [cells.get(name) for name in columns]
        if any(cell is not None and str(cell).strip() for cell in found):
            return _box(found, ", ".join(columns))
    cell = cells.get("bbox")
    if cell is None or not str(cell).strip():
        return None
    try:
        is_list = isinstance(cell, str) and cell.strip().startswith("[")
        numbers = parse_document(cell, list[Any], name="bbox") if is_list else cell
    except DataError:
        numbers = None
    if isinstance(numbers, str):
        numbers = re.split(r"[\s,;]+", numbers.strip())
    return _box(numbers if isinstance(numbers, (list, tuple)) else [numbers], "bbox")


def _box(cells: Sequence[Any], columns: str) -> Box:
    numbers = [number for cell in cells if (number := number_of(cell)) is not None and 0 <= number <= 1]
    x, y, w, h = numbers if len(numbers) == len(cells) == 4 else (0.0, 0.0, 0.0, 0.0)
    if w <= 0 or h <= 0 or x + w > 1.0001 or y + h > 1.0001:
        raise BadCellError(
            f"box {columns} {', '.join(map(str, cells))}: x, y, width and height within 0 to 1 of the upright image are needed"
        )
    return x, y, min(w, 1 - x), min(h, 1 - y)


def _reviewed_at(cells: Mapping[str, Any], times: ReviewTimes, record: str) -> datetime | None:
    """Return the time of the review; None if the row does not state it.

    Raises:
        UnreadableTimeError: for a cell that is neither a date nor a time.
    """
    column = next((name for name in TIME_COLUMNS if not is_unknown(cells.get(name))), None)
    return None if column is None else times.read(column, cells[column], record)


def review_times(
    address: str, zone: tzinfo, options: ImportOptions, rows: Callable[[], Iterator[Row | Unlisted]]
) -> ReviewTimes:
    """Return the reader of the times of a table's reviews.

    Args:
        address: the table.
        zone: of times without an offset.
        options: options of reading it; its findings count what was decided about dates.
        rows: reads the rows again, for the order of a column.
    """

    def cells(column: str) -> Iterator[tuple[str, object]]:
        return ((f"row {row.number}", cells_of(row.values).get(column)) for row in rows() if isinstance(row, Row))

    return ReviewTimes(uri_of(address), cells, zone, options.findings, options.date_order)
