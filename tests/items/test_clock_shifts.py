"""Corrections of clocks that were set wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import UsageError
from bioclip_plugin.items.clock_shifts import clock_shift_of

NOON = datetime(2024, 2, 29, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+1h", NOON + timedelta(hours=1)),
        ("1 hour", NOON + timedelta(hours=1)),
        ("-1d", NOON - timedelta(days=1)),
        ("\N{MINUS SIGN}1 day", NOON - timedelta(days=1)),
        ("365 days", NOON + timedelta(days=365)),
        ("+1 year", datetime(2025, 2, 28, 12)),
        ("-4y", datetime(2020, 2, 29, 12)),
        ("+1 month", datetime(2024, 3, 29, 12)),
        ("+01:00:00", NOON + timedelta(hours=1)),
        ("-0:30", NOON - timedelta(minutes=30)),
        ("1 day, 01:00:00", NOON + timedelta(days=1, hours=1)),
        ("1y 2d and 3h", datetime(2025, 3, 2, 15)),
        ("P1DT2H", NOON + timedelta(days=1, hours=2)),
        ("-P1Y", datetime(2023, 2, 28, 12)),
        ("PT0.5S", NOON + timedelta(seconds=0.5)),
    ],
)
def test_a_shift_is_added_to_the_time_of_the_camera(text: str, expected: datetime) -> None:
    shift = clock_shift_of(text)
    assert shift is not None
    assert shift.corrected(NOON) == expected
    assert shift.corrected(NOON.replace(tzinfo=UTC)) == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["0", "+0h", "00:00", "P0D"])
def test_nothing_is_no_shift(text: str) -> None:
    assert clock_shift_of(text) is None


@pytest.mark.parametrize(
    "text", ["", "1", "h", "one hour", "1 fortnight", "--1h", "1d 2", "+1,5 h", "P", "PT", "1:75", "+9999 years"]
)
def test_any_other_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=r"\+1 year, \+01:00:00 or P1DT2H"):
        clock_shift_of(text)


@given(st.integers(-10_000, 10_000), st.sampled_from("hd"))
@settings(max_examples=50, deadline=None)
def test_a_shift_and_its_opposite_cancel_out(count: int, unit: str) -> None:
    there, back = clock_shift_of(f"{count:+}{unit}"), clock_shift_of(f"{-count:+}{unit}")
    if count:
        assert there is not None
        assert back is not None
        assert back.corrected(there.corrected(NOON)) == NOON
