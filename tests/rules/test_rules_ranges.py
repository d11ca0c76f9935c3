"""The table of ranges: the meaning of each cell, and messages about invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.range_table import read_ranges

FLOOR = 0.1


def weight(tmp_path: Path, header: str, *rows: str, place: Place) -> float:
    """Return the weight of the first taxon at a place."""
    path = tmp_path / "ranges.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return round(float(read_ranges(path).weights(place, FLOOR)[0]), 6)


BOX = "taxon,weight,min_latitude,max_latitude,min_longitude,max_longitude"


@pytest.mark.parametrize(
    ("row", "place", "expected"),
    [
        ("a,2,-10,10,30,40", Place(latitude=0, longitude=35), 2),
        ("a,2,-10,10,30,40", Place(latitude=10, longitude=40), 2),  # the border is inside
        ("a,2,-10,10,30,40", Place(latitude=11, longitude=35), FLOOR),
        ("a,2,-10,10,30,40", Place(latitude=0, longitude=41), FLOOR),
        ("a,2,-10,10,170,-170", Place(latitude=0, longitude=-175), 2),  # across the 180th meridian
        ("a,2,-10,10,170,-170", Place(latitude=0, longitude=175), 2),
        ("a,2,-10,10,170,-170", Place(latitude=0, longitude=0), FLOOR),
        ("a,2,-10,10,30,40", Place(country="KEN"), 1),  # the coordinates are unknown
        ("a,2,-10,10,,", Place(latitude=0), 2),
    ],
)
def test_a_box_of_coordinates(tmp_path: Path, row: str, place: Place, expected: float) -> None:
    assert weight(tmp_path, BOX, row, place=place) == expected


@pytest.mark.parametrize(
    ("months", "month", "expected"),
    [
        ("5", 5, 2),
        ("5", 6, FLOOR),
        ("11-2", 1, 2),
        ("11-2", 12, 2),
        ("11-2", 3, FLOOR),
        ("1 6-7", 6, 2),
        ("5", None, 1),
    ],
)
def test_months_alone_in_seasons_and_across_the_year(
    tmp_path: Path, months: str, month: int | None, expected: float
) -> None:
    assert weight(tmp_path, "taxon,weight,month", f"a,2,{months}", place=Place(month=month)) == expected


def test_country_and_region_in_either_code_and_any_case(tmp_path: Path) -> None:
    header, row = "taxon,weight,country,region", "a,2,us,california"
    assert weight(tmp_path, header, row, place=Place("USA", "California")) == 2
    assert weight(tmp_path, header, row, place=Place("US", "Nevada")) == pytest.approx(FLOOR)
    assert weight(tmp_path, header, row, place=Place("US")) == 1
    assert weight(tmp_path, header, row, place=Place("CAN")) == pytest.approx(FLOOR)


def test_of_several_rows_that_fit_the_largest_counts_and_one_that_fits_is_enough(tmp_path: Path) -> None:
    rows = ("a,0.5,KEN", "a,3,KEN", "a,9,USA")
    assert weight(tmp_path, "taxon,weight,country", *rows, place=Place("KEN")) == 3


def test_a_row_without_conditions_holds_everywhere(tmp_path: Path) -> None:
    assert weight(tmp_path, "taxon;weight", "a;0.25", place=Place()) == 0.25


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("taxon,weight", "a,-1", "line 2: weight '-1': a number from 0 is needed"),
        ("taxon,weight", "a,much", "line 2: weight 'much'"),
        ("taxon,weight", "a,nan", "line 2: weight 'nan'"),
        ("taxon,weight", "a,inf", "line 2: weight 'inf'"),
        ("taxon,weight", "a,", "line 2: weight ''"),
        ("taxon,weight", ",1", "line 2: no taxon"),
        ("taxon,weight,country", "a,1,Kenya", "country 'Kenya' is not an ISO 3166-1 code"),
        ("taxon,weight,region", "a,1,CA", "region 'CA' without a country"),
        ("taxon,weight,month", "a,1,13", "month '13'"),
        ("taxon,weight,month", "a,1,May", "month 'May'"),
        (BOX, "a,1,0,,0,1", "min_latitude and max_latitude belong together"),
        (BOX, "a,1,20,10,0,1", "min_latitude 20 is above max_latitude 10"),
        (BOX, "a,1,0,91,0,1", "maxlatitude '91'"),
    ],
)
def test_an_invalid_cell_is_named_with_its_line(tmp_path: Path, header: str, row: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        weight(tmp_path, header, row, place=Place())


def test_a_table_without_rows_and_one_that_is_not_text_are_named(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.csv", tmp_path / "binary.csv"
    empty.write_text("taxon,weight\n")
    binary.write_bytes(b"taxon\xff\xfe")
    with pytest.raises(UsageError, match="is empty below its header"):
        read_ranges(empty)
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_ranges(binary)
    with pytest.raises(UsageError, match="cannot be read"):
        read_ranges(tmp_path / "missing.csv")
