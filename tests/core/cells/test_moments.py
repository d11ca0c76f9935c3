"""Dates as people and programs write them: all that is certain is read, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.cells import DateOrder, dated_of, day_of, is_unknown, moment_of, time_of, with_time
from bioclip_core.cells.month_names import month_named


@pytest.mark.parametrize(
    "cell",
    ["31/12/2024 15:10", "31.12.2024 15:10", "12/31/2024 3:10 PM", "31-12-2024 03:10 p.m.", "12/31/2024, 3:10:00\u202fPM",
     "2024/12/31 15:10",
     "31. Dezember 2024 15.10 Uhr", "Dec 31, 2024 3:10 pm", "31-Dec-2024 15:10:00", "31.XII.2024 15h10", "Tue, 31 Dec 2024 15:10:00",
     "Tue Dec 31 15:10:00 2024",
     "2024:12:31 15:10:00", "20241231_151000", "31 décembre 2024 15:10", "31 de diciembre de 2024 15:10", "31/12/24 15:10"],
)  # fmt: skip
def test_a_moment_is_read_however_it_is_written(cell: str) -> None:
    assert moment_of(cell) == datetime(2024, 12, 31, 15, 10)


@pytest.mark.parametrize(
    ("cell", "iso"),
    [("12.V.1893", "1893-05-12"), ("12-v-1893", "1893-05-12"), ("1893", "1893"), (1893, "1893"), ("1893-05", "1893-05"),
     ("05/1893", "1893-05"), ("V.1893", "1893-05"), ("März 1922", "1922-03"), ("mars 1922", "1922-03"), ("1er mai 1893", "1893-05-01"),
     ("2024-153", "2024-06-01"), ("2024-W22-6", "2024-06-01"), ("1893/1895", "1893-01-01/1895-12-31"),
     ("2007-11-13/15", "2007-11-13/2007-11-15"), ("2007-11-13T14:07/15:30", "2007-11-13"),
     ("05/05/2024", "2024-05-05"), ("01JUN2024", "2024-06-01"),
     ("2024. 06. 01.", "2024-06-01"), ("2024-06-01 22:00:00 UTC", "2024-06-01T22:00:00+00:00"),
     ("2024-06-01T22:00:00.123456789Z", "2024-06-01T22:00:00.123456+00:00")],
)  # fmt: skip
def test_as_much_of_a_time_as_is_stated_is_read(cell: object, iso: str) -> None:
    dated = dated_of(cell)
    assert dated is not None
    assert dated.iso == iso


@pytest.mark.parametrize(
    "cell",
    ["[1901]", "s.d.", "1893-13-45", "1893-00-00", "0000:00:00 00:00:00", "c. 1900", "1901?", "spring 1911", "31.04.2024", "29.02.2023",
     "24-06-01 10:00", "1893-95", "45444.9", "9999-12-31", "jui 1922", "12.5.1893-14.5.1893", "13/13/2024", "9" * 200],
)  # fmt: skip
def test_a_cell_that_is_not_certainly_a_date_is_not_read(cell: str) -> None:
    assert dated_of(cell) is None
    assert not is_unknown(cell)


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "null", "None", "NaN", "-", "\\N", None, float("nan")])
def test_marks_of_an_unknown_value_are_not_values(cell: object) -> None:
    assert is_unknown(cell)


def test_of_a_year_of_two_digits_without_a_time_only_the_month_is_certain() -> None:
    dated = dated_of("13.05.93")
    assert dated is not None
    assert (dated.month, dated.first, dated.iso) == (5, None, "")
    assert moment_of("13/05/93 10:00") == datetime(1993, 5, 13, 10)


def test_a_date_that_does_not_show_its_order_says_so_and_is_read_with_an_order() -> None:
    dated = dated_of("03/04/2024 10:00")
    assert dated is not None
    assert dated.is_open
    assert dated.moment is None
    assert dated.month is None
    assert dated.iso == "2024"
    assert moment_of("03/04/2024 10:00", "day") == datetime(2024, 4, 3, 10)
    assert moment_of("03/04/2024 10:00", "month") == datetime(2024, 3, 4, 10)
    assert day_of("03/04/2024", "day") == date(2024, 4, 3)


def test_a_time_beside_a_day_completes_it() -> None:
    day = dated_of("31/12/2024")
    assert day is not None
    assert with_time(day, "3:10:05 PM").moment == datetime(2024, 12, 31, 15, 10, 5)
    assert with_time(day, time(3, 10)).moment == datetime(2024, 12, 31, 3, 10)
    assert with_time(day, "afternoon") == day
    assert time_of("14:07-0600") is not None
    assert time_of("12:00 AM") == time(0)
    assert time_of("25:00") is None


@pytest.mark.parametrize("word", ["ma", "jui", "lunedì", "IIII", "XIII", "2", ""])
def test_a_word_that_is_not_one_month_is_none(word: str) -> None:
    assert month_named(word) is None


_moments = st.datetimes(datetime(1850, 1, 1), datetime(2099, 12, 31)).map(lambda one: one.replace(microsecond=0))
_times = st.sampled_from(["%H:%M:%S", "%I:%M:%S %p", "%I:%M:%S%p"])
_certain = st.sampled_from(
    ["%Y-%m-%d", "%Y/%m/%d", "%Y:%m:%d", "%Y.%m.%d", "%d %B %Y", "%d-%b-%Y", "%B %d, %Y", "%d. %b %Y", "%Y%m%d"]
)


@settings(max_examples=150, deadline=None)
@given(_moments, _certain, _times)
def test_any_moment_is_read_from_any_form_that_shows_its_order(moment: datetime, day: str, clock: str) -> None:
    text = moment.strftime(f"{day} {clock}")
    assert moment_of(text) == moment
    assert moment_of(f"{text} UTC") == moment.replace(tzinfo=UTC)
    assert day_of(moment.strftime(day)) == moment.date()


@settings(max_examples=150, deadline=None)
@given(_moments, st.sampled_from("/.-"), st.sampled_from(["day", "month"]), _times, st.booleans())
def test_a_date_in_numbers_is_read_right_or_its_order_is_asked(
    moment: datetime, sign: str, order: DateOrder, clock: str, padded: bool
) -> None:
    numbers = [moment.day, moment.month] if order == "day" else [moment.month, moment.day]
    text = sign.join([*(f"{number:02}" if padded else str(number) for number in numbers), str(moment.year)])
    written = f"{text} {moment.strftime(clock)}"
    assert moment_of(written, order) == moment
    alone = dated_of(written)
    assert alone is not None
    if alone.is_open:
        assert alone.moment is None
        assert moment.day <= 12
        assert moment.day != moment.month
    else:
        assert alone.moment == moment
        assert alone.order in (order, None)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"[0-9IVXa-f./: -]{1,20}", fullmatch=True))
def test_any_text_is_read_without_an_error_and_days_agree_with_moments(text: str) -> None:
    dated = dated_of(text)
    if dated is not None and dated.moment is not None:
        assert dated.day == dated.moment.date()
        assert moment_of(text) == dated.moment
    if dated is not None and dated.first is not None:
        assert dated.last is not None
        assert dated.first.year >= 1500
        assert dated.first <= dated.last
