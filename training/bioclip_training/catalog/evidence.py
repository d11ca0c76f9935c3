"""Evidence for a label: a review, an identification with its date, a catalogue's name or a folder's, and which of two counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Any

from bioclip_core.cells import Dated, DateOrder, dated_of, is_unknown
from bioclip_core.names import clean_name

DATE_COLUMNS = ("dateidentified", "reviewedat")
"""Columns with the date on which a person identified the image, the first with a value."""
BASIS_COLUMN = "evidence"
"""Column of our own catalogs with the kind of evidence of each label, so that a catalog can be a source again."""
_OWN_COLUMN = "sha256"
"""Column that tells our own catalogs from other tables with a column ``evidence``."""
_IDENTIFIER_COLUMNS = ("identifiedby", "reviewer", "reviewedby")
_DAY_NUMBER = re.compile(r"[2-6]\d{4}(\.\d+)?")
"""Days since 1900, as spreadsheets keep them: from 1954 to 2091."""
_AFTER_TODAY = "it is after today"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMELESS = frozenset(("anonymous", "anonym", "import", "imported", "nobody", "reviewer", "user"))


class Standing(IntEnum):
    """Kinds of evidence, the weakest first."""

    FOLDER = 0
    NAME = 1
    """Of a table, without a date of identification."""
    IDENTIFICATION = 2
    EVENT_REVIEW = 3
    """A review of a whole event, for one of its images."""
    NAMELESS_REVIEW = 4
    """A review without the name of a person, such as an import."""
    REVIEW = 5

    @property
    def is_dated(self) -> bool:
        return self >= Standing.IDENTIFICATION

    @property
    def is_deliberate(self) -> bool:
        """True if a label above the species is a decision: a weaker source does not make it more specific."""
        return self >= Standing.IDENTIFICATION


WORDS = {
    Standing.FOLDER: "folder", Standing.NAME: "catalogue", Standing.IDENTIFICATION: "identification",
    Standing.EVENT_REVIEW: "event review", Standing.NAMELESS_REVIEW: "nameless review", Standing.REVIEW: "review",
}  # fmt: skip
"""Words for the kinds of evidence, as a catalog stores them."""
_STANDINGS = {word: standing for standing, word in WORDS.items()}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Kind, time and author of the statement that a label comes from."""

    standing: Standing
    first: int = 0
    """First moment of the time stated, in microseconds since 1970; 0 without a time."""
    last: int = 0
    """Last moment of it: of a day, a month or a year that is all that is stated."""
    by: str = ""
    """The person, as the source names them."""
    verdict: str = ""
    """Verdict of a review that is not a taxon, in words; empty for a label."""
    date_fault: str = ""
    """The time that a review states, with the reason for which it does not count; empty if it counts."""

    @property
    def when(self) -> str:
        """The time as far as it is stated, in ISO 8601; empty without one."""
        if not self.standing.is_dated or not self.last:
            return ""
        first, last = (_EPOCH + timedelta(microseconds=moment) for moment in (self.first, self.last))
        if first == last:
            return _written(first)
        if first.date() == last.date():
            return f"{first:%Y-%m-%d}"
        whole_years = (first.month, first.day, last.month, last.day) == (1, 1, 12, 31)
        if whole_years and first.year == last.year:
            return f"{first:%Y}"
        is_month = (first.year, first.month) == (last.year, last.month) and first.day == 1
        return f"{first:%Y-%m}" if is_month else f"{first:%Y-%m-%d}/{last:%Y-%m-%d}"

    def __str__(self) -> str:
        kind = {
            Standing.NAME: "catalogue name",
            Standing.FOLDER: "folder name",
            Standing.EVENT_REVIEW: "review of its event",
        }
        words = [kind.get(self.standing, WORDS[self.standing])]
        words += [f"by {self.by}"] if self.by else []
        return " ".join([*words, *([f"of {self.when}"] if self.when else [])])


OF_CATALOGUE = Evidence(Standing.NAME)


def reviewed(moment: datetime | None, by: str, *, of_event: bool = False, verdict: str = "") -> Evidence:
    """Return the evidence of a person's review.

    Args:
        moment: naive ones are UTC; None if it is not known. One after today is a mistake: such a review counts as the oldest.
        by: the reviewer.
        of_event: True if the event was reviewed, and not the image.
        verdict: in words, if it is not a taxon.
    """
    fault = f"{_written(moment)}: {_AFTER_TODAY}" if moment is not None and _is_ahead(moment) else ""
    at = 0 if moment is None or fault else _microseconds(moment)
    named = bool(clean_name(by)) and by.strip().lower() not in _NAMELESS
    standing = Standing.EVENT_REVIEW if of_event else Standing.REVIEW if named else Standing.NAMELESS_REVIEW
    return Evidence(standing, at, at, " ".join(by.split()), verdict, fault)


def evidence_of(cells: Mapping[str, Any], *, is_folder: bool = False, order: DateOrder | None = None) -> Evidence:
    """Return the evidence of a row of a table or folder tree.

    Args:
        cells: from :func:`~bioclip_core.cells.plain_cells`.
        is_folder: True if the name is that of a folder.
        order: of day and month, for a date that does not show it.
    """
    if is_folder:
        return Evidence(Standing.FOLDER)
    by = next((name for column in _IDENTIFIER_COLUMNS if (name := clean_name(cells.get(column)))), "")
    span = identified(cells, order)
    own = _STANDINGS.get(str(cells.get(BASIS_COLUMN) or ""))
    if span is None and own is not None and own >= Standing.EVENT_REVIEW and _OWN_COLUMN in cells:
        return Evidence(own, by=by)  # a review without a date that counts
    if span is None:
        return Evidence(Standing.FOLDER if own is Standing.FOLDER else Standing.NAME, by=by)
    return Evidence(own if own is not None and own.is_dated else Standing.IDENTIFICATION, *span, by)


def identified(cells: Mapping[str, Any], order: DateOrder | None = None) -> tuple[int, int] | None:
    """Return the first and the last moment of a row's date of identification; None without one that is certain to the year.

    A date after today is a mistake, and does not count.
    """
    written = date_cell(cells)
    if is_unknown(written) or (dated := dated_of(written, order)) is None or date_fault(written, dated):
        return None
    if dated.moment is not None:
        at = _microseconds(dated.moment)
        return at, at
    if dated.first is None or dated.last is None:
        return None
    return _microseconds(_begin(dated.first)), _microseconds(_begin(dated.last)) + 86_400_000_000 - 1


def date_cell(cells: Mapping[str, Any]) -> Any:
    """Return the cell with the date of identification; None without one."""
    return next((cells[name] for name in DATE_COLUMNS if not is_unknown(cells.get(name))), None)


def date_fault(written: object, dated: Dated | None) -> str:
    """Return the reason for which a date of identification does not count, empty for one that does.

    Args:
        written: the cell.
        dated: its meaning.
    """
    if dated is None or dated.first is None:
        is_number = bool(_DAY_NUMBER.fullmatch(str(written).strip()))
        return "it looks like a day number of a spreadsheet" if is_number else "it cannot be read"
    return _AFTER_TODAY if _is_ahead(dated.moment or _begin(dated.first)) else ""


def _is_ahead(moment: datetime) -> bool:
    """True for a moment after today, in any time zone."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware > datetime.now(UTC) + timedelta(days=1)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _written(moment: datetime) -> str:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    passed = aware - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
