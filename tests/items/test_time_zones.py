"""Time zones by their names, and moments as files write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bioclip_core.errors import UsageError
from bioclip_plugin.items.deployments import stamp
from bioclip_plugin.items.time_zones import in_zone, moment_in, zone_of

SUMMER, WINTER = datetime(2020, 7, 1, 12), datetime(2020, 1, 1, 12)


@pytest.mark.parametrize(
    ("given", "summer", "winter"),
    [("Europe/Brussels", 120, 60), ("+02:00", 120, 120), ("-0930", -570, -570), ("UTC", 0, 0), ("Z", 0, 0)],
)
def test_a_zone_is_a_name_or_an_offset(given: str, summer: int, winter: int) -> None:
    minutes = [in_zone(moment, given).utcoffset() for moment in (SUMMER, WINTER)]
    assert minutes == [timedelta(minutes=summer), timedelta(minutes=winter)]


@pytest.mark.parametrize("given", ["", "Mars/Olympus", "Europe", "../etc/passwd", "+25:00", "+02:75", "two", "a\0b"])
def test_an_unknown_zone_is_refused_with_examples(given: str) -> None:
    with pytest.raises(UsageError, match="such as Europe/Brussels"):
        zone_of(given)


def test_a_moment_that_has_an_offset_keeps_it() -> None:
    aware = SUMMER.replace(tzinfo=UTC)
    assert in_zone(aware, "+02:00") is aware
    assert in_zone(SUMMER, None) is SUMMER


@pytest.mark.parametrize("text", ["", "2020-07-01", "yesterday", "2020-13-01T10:00:00Z", "nan"])
def test_other_text_is_not_a_moment(text: str) -> None:
    assert moment_in(text, "UTC") is None


def test_a_stamp_has_an_offset_and_no_fractions() -> None:
    assert stamp(in_zone(SUMMER.replace(microsecond=999_999), "Europe/Brussels")) == "2020-07-01T12:00:00+02:00"
    assert stamp(SUMMER.replace(tzinfo=UTC)) == "2020-07-01T12:00:00Z"
