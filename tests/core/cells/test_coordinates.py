"""Coordinates as people and programs write them, and the decimal comma."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.cells import latitude_of, longitude_of, number_of, position_in, share_of


@pytest.mark.parametrize(
    "cell",
    ["50,85", "50.85 N", "N 50.85", "50.85°N", "50,85 N", "50° 51' N", "50 51 00 N", "50°51'00\"N", "50° 51.000' N", "50d51m00sN",
     "50:51:00 N", "50º 51´ 00´´ N", "50°51’00”N", "50d 51m s N", "50° 51′ 0″ N", "+50° 51'", "Nord 50,85",
     "latitude: 50.85", "50.85n", "50.85°", 50.85],
)  # fmt: skip
def test_a_latitude_is_read_however_it_is_written(cell: object) -> None:
    assert latitude_of(cell) == 50.85


@pytest.mark.parametrize("cell", ["\u221233,45", "33.45 S", "33° 27' S", "S33°27'00''", "-33°27'"])
def test_the_south_is_negative(cell: str) -> None:
    assert latitude_of(cell) == -33.45


@pytest.mark.parametrize(
    "cell",
    ["50° 51'", "-33.45 S", "N 50.85 N", "4.35 E", "91", "91 N", "50° 61' N", "50.5° 10' N", "1.234,5", "50,8,5", "about 50", "14d 49m 3s",
     "14d 49m s", "50 51", "-33 27", "nan", "inf N", "5_0", "", None, True, "50.85, 4.35"],
)  # fmt: skip
def test_a_latitude_that_is_not_certain_is_not_read(cell: object) -> None:
    assert latitude_of(cell) is None


def test_o_is_east_in_german_and_west_in_french_and_so_not_read() -> None:
    assert longitude_of("4.35 O") is None
    assert longitude_of("4.35 E") == longitude_of("4° 21' Ost") == -(longitude_of("4° 21' Ouest") or 0) == 4.35


@pytest.mark.parametrize(
    "cell",
    ["50.85, 4.35", "50.85,4.35", "50,85; 4,35", "50,85, 4,35", "N50.85 E4.35", "50° 51' N, 4° 21' E", "4.35 E 50.85 N", "50.850 4.350",
     "(50.85 N/4.35 E)", "50d 51m s N/4d 21m s E", "N 50.85 E 4.35"],
)  # fmt: skip
def test_both_coordinates_may_be_in_one_cell(cell: str) -> None:
    assert position_in(cell) == (50.85, 4.35)


@pytest.mark.parametrize(
    "cell", ["12.33 56.56", "50 51", "50,8503", "31U 594934 5633542", "N50 E", "50.85", "1, 2", "", None]
)
def test_one_cell_that_is_not_certainly_a_position_is_not_read(cell: object) -> None:
    assert position_in(cell) == (None, None)


@pytest.mark.parametrize(
    ("cell", "share"),
    [(0.93, 0.93), ("0,93", 0.93), ("93%", 0.93), ("93 %", 0.93), ("1", 1), (1.0005, 1), ("1,000", 1), (">0.9", None), (93, None),
     (1.7, None), (-0.1, None), (float("nan"), None), (None, None), ("high", None), (True, None), ("%", None)],
)  # fmt: skip
def test_a_share_is_read_where_it_is_certain(cell: object, share: float | None) -> None:
    assert share_of(cell) == share


def _written(degrees: float, letters: str, form: int) -> str:
    """Return degrees with two decimals of a second in one of the usual forms."""
    letter, positive = letters[degrees < 0], abs(degrees)
    whole, rest = divmod(round(positive * 360_000), 360_000)
    minutes, hundredths = divmod(rest, 6000)
    sign = "-" if degrees < 0 else "+"
    return [
        f"{degrees:.7f}",
        f"{degrees:.7f}".replace(".", ","),
        f"{degrees:.7f}".replace("-", "\u2212"),
        f"{positive:.7f} {letter}",
        f"{letter}{positive:.7f}°".replace(".", ","),
        f"{whole}° {minutes}' {hundredths / 100:.2f}\" {letter}",
        f"{whole}°{minutes:02}′{hundredths / 100:05.2f}″{letter}",
        f"{letter} {whole} {minutes} {hundredths / 100:.2f}",
        f"{whole}° {minutes + hundredths / 6000:.5f}' {letter}",
        f"{sign}{whole}°{minutes}'{hundredths / 100:.2f}\"",
        f"{whole}:{minutes}:{hundredths / 100:.2f}{letter}",
    ][form]


@settings(max_examples=200, deadline=None)
@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9), st.integers(0, 10), st.integers(0, 10))
def test_any_position_is_read_from_any_form(north: float, east: float, form: int, other: int) -> None:
    latitude, longitude = latitude_of(_written(north, "NS", form)), longitude_of(_written(east, "EW", other))
    assert latitude == pytest.approx(north, abs=5e-6)  # half of a hundredth of a second is 1.4e-6 degrees
    assert longitude == pytest.approx(east, abs=5e-6)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"[0-9NSEWO°'\", .d-]{1,16}", fullmatch=True))
def test_any_text_is_within_the_limits_or_not_read(text: str) -> None:
    for degrees, limit in ((latitude_of(text), 90), (longitude_of(text), 180)):
        assert degrees is None or -limit <= degrees <= limit
    number_of(text), share_of(text), position_in(text)
