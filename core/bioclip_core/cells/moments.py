"""Dates and times in cells, as programs and people write them, and no more of them than is certain."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal

from bioclip_core.cells.clocks import clock_in, time_of
from bioclip_core.cells.month_names import month_named

DateOrder = Literal["day", "month"]
"""The first number of a date such as 03/04/2024."""

_FIRST_YEAR, _LAST_YEAR = 1500, 2999  # others are placeholders, such as 0001-01-01 and 9999-12-31
_LONGEST = 80  # characters of a date with all its words
_FARTHEST = timedelta(hours=14)
"""The greatest offset of a time zone: 10:00-23:00 is a span of time."""
_DAY = len("2020-05-30")
_from_iso = datetime.fromisoformat


@dataclass(frozen=True, slots=True)
class Dated:
    """The time that a cell states, as far as it is certain."""

    moment: datetime | None = None
    """Date and time; aware if the cell states the offset."""
    first: date | None = None
    """First day of the time stated: of a day, a month, a year or an interval; None if the year is not certain."""
    last: date | None = None
    """Last day of it."""
    month: int | None = None
    """The month, if there is one month only."""
    order: DateOrder | None = None
    """The order of day and month that the cell itself shows: the day first for 31/12/2024."""
    is_open: bool = False
    """True if day and month may be exchanged, and no order was given."""
    has_dots: bool = False
    """True for 03.04.2024, which is written with the day first."""
    has_short_year: bool = False
    """True for a year of two digits, which is taken from 1970 to 2069 if there is a time, and else is not certain."""

    @property
    def day(self) -> date | None:
        """The day, if there is one day only."""
        return self.first if self.first == self.last else None

    @property
    def iso(self) -> str:
        """The time in ISO 8601, as exact as it is stated; empty if the year is not certain.

        >>> dated_of("12.V.1893").iso, dated_of("März 1922").iso, dated_of("31/12/2024 3:10 PM").iso
        ('1893-05-12', '1922-03', '2024-12-31T15:10:00')
        """
        first, last = self.first, self.last
        if self.moment is not None:
            return self.moment.isoformat()
        if first is None or last is None:
            return ""
        if first == last:
            return first.isoformat()
        if (first, last) == _span(first.year, first.month):
            return f"{first:%Y-%m}"
        return f"{first:%Y}" if (first, last) == _span(first.year) else f"{first}/{last}"


def moment_of(cell: object, order: DateOrder | None = None) -> datetime | None:
    """Return the date and time that a cell holds; aware if the cell states the offset. None for anything that is not certain.

    A day without a time is not a moment: midnight would place all images of that day in one sequence.

    Args:
        cell: a cell or value.
        order: order of day and month, for a date that does not show it.

    >>> moment_of("2020:05:30 4:57:37"), moment_of("31/12/2024 3:10 PM"), moment_of("2020-05-30"), moment_of("03/04/2024 10:00")
    (datetime.datetime(2020, 5, 30, 4, 57, 37), datetime.datetime(2024, 12, 31, 15, 10), None, None)
    """
    if isinstance(cell, str):
        text = cell.strip()
        if (moment := _programs_moment(text)) is not None:
            return moment
        return dated.moment if (dated := _dated(text, order)) else None
    return cell if isinstance(cell, datetime) else None


def dated_of(cell: object, order: DateOrder | None = None) -> Dated | None:
    """Return the time that a cell states as far as it is certain; None for a cell that does not state one for certain."""
    if isinstance(cell, str):
        text = cell.strip()
        moment = _programs_moment(text)
        return _of_moment(moment) if moment is not None else _dated(text, order)
    if isinstance(cell, datetime):
        return _of_moment(cell)
    if isinstance(cell, date):
        return Dated(first=cell, last=cell, month=cell.month)
    return _of_year(cell) if isinstance(cell, int) and not isinstance(cell, bool) else None


def day_of(cell: object, order: DateOrder | None = None) -> date | None:
    """Return the day that a cell holds, with or without a time; None for anything that is not certain."""
    dated = dated_of(cell, order)
    return dated.day if dated else None


def with_time(dated: Dated, cell: object) -> Dated:
    """Return the time of a day with the time in a cell beside it; unchanged if it is not one day, or the cell not a time."""
    clock = time_of(cell)
    if clock is None or dated.day is None:
        return dated
    return replace(dated, moment=datetime.combine(dated.day, clock))


def programs_moment(cell: object) -> datetime | None:
    """Return the moment of a cell that states it in ISO 8601 or as EXIF writes it; None for any other cell."""
    return _programs_moment(cell.strip()) if isinstance(cell, str) else None


def _programs_moment(text: str) -> datetime | None:
    """Return the moment of a text in ISO 8601 or as EXIF writes it: nearly all that there are, and the fast way."""
    if len(text) <= _DAY or text[10] not in "T ":
        return None
    if text[4] != "-":
        if not text[4] == text[7] == ":":
            return None
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    try:
        moment = _from_iso(text)
    except ValueError:
        return None
    zone = moment.tzinfo
    if (zone is None or zone is UTC) and _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return moment
    return moment if _is_plausible(moment) else None


def _is_plausible(moment: datetime) -> bool:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return False
    offset = None if moment.tzinfo is None else moment.utcoffset()
    return offset is None or abs(offset) <= _FARTHEST


def _of_moment(moment: datetime) -> Dated:
    day = moment.date()
    return Dated(moment, day, day, day.month)


def _span(year: int, month: int | None = None) -> tuple[date, date]:
    """Return the first and the last day of a year or month."""
    if month is None:
        return date(year, 1, 1), date(year, 12, 31)
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, 1), following - timedelta(days=1)


def _of_year(year: int) -> Dated | None:
    return Dated(None, *_span(year)) if _FIRST_YEAR <= year <= _LAST_YEAR else None


def _of_month(year: int, month: int) -> Dated | None:
    is_month = 1 <= month <= 12 and _FIRST_YEAR <= year <= _LAST_YEAR
    return Dated(None, *_span(year, month), month) if is_month else None


# -- dates -------------------------------------------------------------------------------------------------------------

_BETWEEN = r"(?:\.? ?[-/]? ?|, ?)(?:de |of )?"
_WORD = r"(?P<word>[^\W\d_]+)"
_NTH = r"(?:st|nd|rd|th|er|re|º|ª)?"
_YEAR = r"(?P<year>\d{4}|'?\d{2})"
_TAIL = r"(?P<tail>(?![\d.]?\d)(?:(?P<joint>T|,? | at |_)(?P<time>[^/]+))?)$"
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", re.IGNORECASE)
_CTIME = re.compile(r"^([^\W\d_]{3} \d{1,2}) (\d{1,2}:\d{2}(?::\d{2})?)( UTC| GMT)? (\d{4})$")
"""Jun 1 22:00:00 2024, as programs print a time."""
_YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}}) ?(?P<sign>[-/.:]) ?(?P<month>\d{{1,2}}) ?(?P=sign) ?(?P<day>\d{{1,2}})\.?{_TAIL}"
)
_COMPACT = re.compile(rf"(?P<year>\d{{4}})(?P<month>\d{{2}})(?P<day>\d{{2}}){_TAIL}")
_NUMBERS = re.compile(rf"(?P<one>\d{{1,2}}) ?(?P<sign>[-/.]) ?(?P<two>\d{{1,2}}) ?(?P=sign) ?{_YEAR}{_TAIL}")
_DAY_WORD = re.compile(rf"(?P<day>\d{{1,2}}){_NTH}{_BETWEEN}{_WORD}{_BETWEEN}{_YEAR}{_TAIL}")
_WORD_DAY = re.compile(rf"{_WORD}\.? (?P<day>\d{{1,2}}){_NTH},? (?P<year>\d{{4}}){_TAIL}")
_YEAR_WORD = re.compile(rf"(?P<year>\d{{4}}){_BETWEEN}{_WORD}{_BETWEEN}(?P<day>\d{{1,2}}){_TAIL}")
_WORD_YEAR = re.compile(rf"{_WORD}{_BETWEEN}{_YEAR}$")
_YEAR_MONTH = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})$")
_MONTH_YEAR = re.compile(r"(?P<month>\d{1,2}) ?[-/.] ?(?P<year>\d{4})$")
_ORDINAL = re.compile(r"(?P<year>\d{4})-(?P<ordinal>\d{3})$")
_WEEK = re.compile(r"\d{4}-W\d{2}-[1-7]$")
_INTERVAL = re.compile(r"(\d{4}[^/ ]*)/([^/ ]+)$")
_HYPHENS = str.maketrans("\u2010\u2011\u2212", "---")


@lru_cache(maxsize=8192)
def _dated(text: str, order: DateOrder | None) -> Dated | None:
    """Return the time that a text states in any of the ways that are known."""
    if not text or len(text) > _LONGEST:
        return None
    text = " ".join(text.translate(_HYPHENS).split())
    if weekday := _WEEKDAY.match(text):
        text = text[weekday.end() :]
    text = _CTIME.sub(r"\1 \4 \2\3", text)
    if not any(letter.isdecimal() for letter in text):
        return None
    for pattern, read in _WAYS:
        if match := pattern.match(text):
            found = read(match, order)
            if found is not None:
                return found
    return None


def _whole(year: str, month: int | None, day: int, match: re.Match[str]) -> Dated | None:
    """Return the time of a day, with its time of day if the match has one."""
    short = len(year.lstrip("'")) == 2
    clock = None
    if (written := match["time"]) is not None:
        # 1.5.1923 1924 is a span of years.
        clock = clock_in(written) if match["joint"] in ("T", "_") or not written.isdecimal() else None
        if clock is None:
            return None
    if month is None:
        return None
    number = int(year.lstrip("'"))
    if short:
        number += 2000 if number < 70 else 1900
    try:
        found = date(number, month, day)
    except ValueError:
        return None
    if not _FIRST_YEAR <= number <= _LAST_YEAR:
        return None
    if clock is None:
        return Dated(month=month, has_short_year=True) if short else Dated(None, found, found, month)
    moment = datetime.combine(found, clock)
    return replace(_of_moment(moment), has_short_year=short) if _is_plausible(moment) else None


def _numbered(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    return _whole(match["year"], int(match["month"]), int(match["day"]), match)


def _worded(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    return _whole(match["year"], month_named(match["word"]), int(match["day"]), match)


def _ordered(match: re.Match[str], order: DateOrder | None) -> Dated | None:
    """Return the time of day, month and year in numbers, in the order that they show or that is given."""
    one, two, year, dots = int(match["one"]), int(match["two"]), match["year"], match["sign"] == "."
    if len(year) != 4 and match["sign"] == "-":
        return None  # 24-06-01 begins with the year as often
    day_first, month_first = _whole(year, two, one, match), _whole(year, one, two, match)
    if day_first is None or month_first is None:
        shown: DateOrder = "day" if month_first is None else "month"
        found = month_first if day_first is None else day_first
        return None if found is None else replace(found, order=shown, has_dots=dots)
    if day_first == month_first or order == "day":
        return replace(day_first, has_dots=dots)
    if order == "month":
        return replace(month_first, has_dots=dots)
    within = _of_year(int(year)) if len(year) == 4 else Dated()
    return replace(within or Dated(), is_open=True, has_dots=dots, has_short_year=len(year) != 4)


def _month_alone(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    """Return the time of a month and a year; of a year of two digits only the month is certain."""
    groups = match.groupdict()
    month = month_named(groups["word"]) if "word" in groups else int(groups["month"])
    if month is None:
        return None
    if len(groups["year"]) != 4:
        return Dated(month=month, has_short_year=True)
    return _of_month(int(groups["year"]), month)


def _ordinal(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    year, number = int(match["year"]), int(match["ordinal"])
    found = date(year, 1, 1) + timedelta(days=number - 1) if _FIRST_YEAR <= year <= _LAST_YEAR else None
    return Dated(None, found, found, found.month) if found and number and found.year == year else None


def _week(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    try:
        found = date.fromisoformat(match[0])
    except ValueError:
        return None
    return Dated(None, found, found, found.month)


def _interval(match: re.Match[str], _order: DateOrder | None) -> Dated | None:
    """Return the time of an interval in ISO 8601, whose end may lack what its beginning states: 2024-06-01/03."""
    start, end = match.groups()
    if ":" in end and "-" not in end and (begins := dated_of(start)) and begins.moment is not None:
        return replace(begins, moment=None) if clock_in(end) is not None else None
    lacking = len(start.partition("T")[0]) - len(end)
    begins = dated_of(start)
    ends = dated_of(start[:lacking] + end) if lacking > 0 and len(end) in (2, 5) else dated_of(end)
    if not (begins and ends and begins.first and ends.last and begins.first <= ends.last):
        return None
    one_month = begins.first.replace(day=1) == ends.last.replace(day=1)
    return Dated(None, begins.first, ends.last, begins.month if one_month else None)


_WAYS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], DateOrder | None], Dated | None]], ...] = (
    (_YEAR_FIRST, _numbered),
    (_NUMBERS, _ordered),
    (re.compile(r"(?P<year>\d{4})$"), lambda match, _order: _of_year(int(match["year"]))),
    (_YEAR_MONTH, _month_alone),
    (_INTERVAL, _interval),
    (_DAY_WORD, _worded),
    (_WORD_DAY, _worded),
    (_YEAR_WORD, _worded),
    (_WORD_YEAR, _month_alone),
    (_MONTH_YEAR, _month_alone),
    (_COMPACT, _numbered),
    (_ORDINAL, _ordinal),
    (_WEEK, _week),
)
