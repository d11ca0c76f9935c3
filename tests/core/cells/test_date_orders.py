"""The order of day and month, decided for a whole column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bioclip_core.cells import DateOrder, DateOrders
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings


def read(
    *column: str, given: DateOrder | None = None, own: DateOrder | None = None, findings: Findings | None = None
) -> list[datetime | date | None]:
    """Return the moments of a column, or the days of dates without a time, read row by row."""
    looked: list[int] = []

    def cells(name: str) -> Iterator[tuple[str, object]]:
        assert name == "Date"
        for number, cell in enumerate(column, start=1):
            looked.append(number)
            yield f"row {number}", cell

    orders = DateOrders("t.csv", cells, Findings() if findings is None else findings, given, own)
    found = [orders.read("Date", cell, f"row {number}") for number, cell in enumerate(column, start=1)]
    assert len(looked) <= len(column)  # at most once
    return [dated and (dated.moment or dated.day) for dated in found]


APRIL, MARCH = datetime(2024, 4, 3, 10), datetime(2024, 3, 4, 10)
OPEN, DAY, MONTH = "03/04/2024 10:00", "31/12/2024 10:00", "12/31/2024 10:00"
LAST = datetime(2024, 12, 31, 10)


def test_one_row_shows_the_order_of_all_rows_wherever_it_is() -> None:
    assert read(OPEN, OPEN, DAY) == [APRIL, APRIL, LAST]
    assert read(MONTH, OPEN) == [LAST, MARCH]
    assert read(OPEN, "x", "2024-01-01", MONTH) == [MARCH, None, date(2024, 1, 1), LAST]


def test_a_column_that_does_not_show_its_order_is_asked_about_with_its_row_and_both_options() -> None:
    with pytest.raises(SourceError) as refused:
        read("2024-01-01", OPEN, "05/05/2024")
    assert str(refused.value) == (
        "t.csv, row 2: Date is '03/04/2024 10:00', which has the day or the month first, and no row of the column shows which; "
        "give --day-first or --month-first"
    )


def test_an_option_decides_where_the_column_does_not_and_else_is_reported() -> None:
    findings = Findings()
    assert read(OPEN, given="day", findings=findings) == [APRIL]
    assert read(OPEN, given="month", findings=findings) == [MARCH]
    assert read(OPEN, own="day", findings=findings) == [APRIL]
    assert read(OPEN, given="month", own="day", findings=findings) == [MARCH]
    assert not findings
    assert read(OPEN, MONTH, given="day", findings=findings) == [MARCH, LAST]
    (line,) = findings.lines()
    assert line.startswith(
        "columns have the month first, other than the option says: Date: 1 (the first: t.csv, row 2: "
    )


def test_a_row_that_contradicts_its_column_is_not_read_and_both_rows_are_named() -> None:
    findings = Findings()
    assert read(DAY, OPEN, MONTH, findings=findings) == [LAST, APRIL, None]
    (line,) = findings.lines()
    assert "has the day first, as in row 1: '31/12/2024 10:00'; they are not read: 1" in line
    assert "t.csv, row 3: '12/31/2024 10:00'" in line


def test_dates_with_dots_have_the_day_first_unless_a_row_or_an_option_says_otherwise() -> None:
    findings = Findings()
    assert read("03.04.2024", "05.05.2024", findings=findings) == [date(2024, 4, 3), date(2024, 5, 5)]
    assert findings.count("dates with dots in Date are read with the day first, as no row shows the order") == 1
    assert read("03.04.2024", given="month") == [date(2024, 3, 4)]
    assert read("03.04.2024", "12.31.2024") == [date(2024, 3, 4), date(2024, 12, 31)]


def test_years_of_two_digits_are_reported() -> None:
    findings = Findings()
    assert read("13/06/24 22:00", "01/06/24 22:00", findings=findings)[1] == datetime(2024, 6, 1, 22)
    assert findings.count("years of two digits in Date are read as 1970 to 2069") == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dates(date(1900, 1, 1), date(2060, 12, 31)), min_size=1, max_size=8),
    st.sampled_from(["day", "month"]),
    st.sampled_from(["/", "-"]),
)
def test_a_column_in_one_order_is_read_right_or_asked_about(days: Sequence[date], order: DateOrder, sign: str) -> None:
    def written(day: date) -> str:
        numbers = [day.day, day.month] if order == "day" else [day.month, day.day]
        return sign.join(map(str, [*numbers, day.year]))

    column = list(map(written, days))
    findings = Findings()
    try:
        assert read(*column, findings=findings) == list(days)
    except SourceError:
        assert all(day.day <= 12 for day in days)
        assume(any(day.day != day.month for day in days))
    assert read(*column, given=order) == list(days)
    assert not findings
