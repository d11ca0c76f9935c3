"""Cells of tables from other programs: column names, coordinates, moments, and refused values."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest

from bioclip_core.cells import (
    column_name,
    country_of,
    day_of,
    degrees_of,
    moment_of,
    number_of,
    plain_cells,
    position_of,
)


@pytest.mark.parametrize(
    "written",
    ["scientificName", "Scientific_Name", " scientific name ", "dwc:scientificName", "SCIENTIFIC-NAME", '"scientificName"',
     "http://rs.tdwg.org/dwc/terms/scientificName", "https://example.org/terms#scientificName/"],
)  # fmt: skip
def test_a_column_is_found_however_its_name_is_written(written: str) -> None:
    assert column_name(written) == "scientificname"


@pytest.mark.parametrize(("written", "name"), [("km/h", "km/h"), ("#", "#"), ("", ""), ("?", "?")])
def test_a_name_without_an_address_keeps_its_signs(written: str, name: str) -> None:
    assert column_name(written) == name


def test_the_cells_of_a_row_are_given_by_the_comparable_names() -> None:
    assert plain_cells({"dwc:Genus": "Lynx", "Common name": None}) == {"genus": "Lynx", "commonname": None}


# A decimal comma is read, since half of Europe's collections write one; only thousands and decimals may be confused.
@pytest.mark.parametrize("cell", [1.5, "1.5", " +1.50 ", Decimal("1.5"), Fraction(3, 2), "15e-1", "1,5", "1,50"])
def test_a_number_may_be_text(cell: object) -> None:
    assert number_of(cell) == 1.5


@pytest.mark.parametrize(
    "cell",
    [None, True, False, "", "nan", "-inf", math.nan, math.inf, "1_5", "1,500", "1.234,5", "50°30'", [1], {}, 10**400],
)
def test_a_cell_without_a_finite_number_gives_none(cell: object) -> None:
    assert number_of(cell) is None


def test_degrees_have_a_limit() -> None:
    assert [degrees_of(cell, 90) for cell in ("90", "-90", "90.1", "-91", 0)] == [90, -90, None, None, 0]


@pytest.mark.parametrize("pair", [("0", "30"), (0.0, -30.0), ("51.5", "0")])
def test_the_equator_and_the_meridian_of_greenwich_are_places(pair: tuple[object, object]) -> None:
    assert position_of(*pair) == (float(str(pair[0])), float(str(pair[1])))


@pytest.mark.parametrize("pair", [(0, 0), ("0.0", "-0"), ("91", "4"), ("50", "181"), ("50", ""), (None, 4), (True, 4)])
def test_a_pair_that_is_not_a_place_gives_neither_number(pair: tuple[object, object]) -> None:
    assert position_of(*pair) == (None, None)


def test_a_country_is_a_code_of_iso_3166() -> None:
    cells = ("be", " KEN ", "UK", "EL", "Kenya", "XX", "DDR", "B1", "", None, 32)
    assert [country_of(cell) for cell in cells] == ["BE", "KEN", "GB", "GR", *[None] * 7]


@pytest.mark.parametrize(
    "cell",
    ["2020-05-30T04:57:37", "2020-05-30 04:57:37", "2020:05:30 04:57:37", " 2020:5:30 4:57:37 ", "20200530T045737",
     datetime(2020, 5, 30, 4, 57, 37)],
)  # fmt: skip
def test_a_moment_may_be_written_as_iso_8601_or_as_exif(cell: object) -> None:
    assert moment_of(cell) == datetime(2020, 5, 30, 4, 57, 37)


def test_a_moment_with_an_offset_is_aware_and_one_without_is_not() -> None:
    assert moment_of("2020-05-30T04:57Z") == datetime(2020, 5, 30, 4, 57, tzinfo=UTC)
    assert moment_of("2020:05:30 04:57:37+0200") == datetime(
        2020, 5, 30, 4, 57, 37, tzinfo=timezone(timedelta(hours=2))
    )
    assert moment_of("2020-05-30T04:57:37.25") == datetime(2020, 5, 30, 4, 57, 37, 250_000)


@pytest.mark.parametrize(
    "cell",
    [None, 20200530, "", "2020-05-30", "2020:05:30", date(2020, 5, 30), "yesterday", "2020-13-01T10:00:00Z",
     "0000:00:00 00:00:00", "2020-05-30T04:57:37/2020-05-31T04:57:37", "20200530045737", "0001-01-01 00:00:00",
     # Spans of time that datetime.fromisoformat reads as a time or an offset.
     "1893-05-12/1923", "2020-05-30/2020-06", "2020-05-30 10:00-23:00", "1.5.1923 1924", "22:00 PM", "2020:05:30 14:57:37 PM"],
)  # fmt: skip
def test_a_cell_without_an_unmistakable_moment_gives_none(cell: object) -> None:
    assert moment_of(cell) is None


@pytest.mark.parametrize(
    "cell", ["2020-05-30", "2020:05:30", " 20200530 ", date(2020, 5, 30), datetime(2020, 5, 30, 4), "2020-05-30T23:59-05:00"]
)  # fmt: skip
def test_a_day_is_read_with_or_without_a_time(cell: object) -> None:
    assert day_of(cell) == date(2020, 5, 30)


@pytest.mark.parametrize("cell", [None, "", "2020", "2020-05", "05-30", "spring 1911", 5])
def test_a_cell_without_a_whole_date_is_not_a_day(cell: object) -> None:
    assert day_of(cell) is None
