"""Conversion between files and uris, and times that a source admits."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import MediaItem, Region, path_of, uri_of


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (b"ant 1.jpg", "ant 1.jpg"),
        ("Käfer.jpg".encode(), "Käfer.jpg"),
        (b"100% wool.jpg", "100% wool.jpg"),
        (b"x\xe9.jpg", "x%E9.jpg"),
        (b"x%E9.jpg", "x%25E9.jpg"),
        (b"a%25.jpg", "a%2525.jpg"),
    ],
)
def test_a_name_has_one_uri_that_leads_back_to_it(name: bytes, uri: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.touch()
    assert uri_of(path) == f"{tmp_path}/{uri}"
    assert path_of(uri_of(path)) == path


def test_names_that_differ_in_one_raw_byte_and_its_escape_are_two_files(tmp_path: Path) -> None:
    raw, written = tmp_path / os.fsdecode(b"x\xe9.jpg"), tmp_path / "x%E9.jpg"
    raw.touch()
    written.touch()
    assert uri_of(raw) != uri_of(written)
    assert (path_of(uri_of(raw)), path_of(uri_of(written))) == (raw, written)


def test_a_time_in_utc_may_be_of_the_neighbouring_day_of_the_stated_one() -> None:
    item = MediaItem("a.mp4", within=(date(2024, 6, 1), date(2024, 6, 1)))
    assert item.admits(datetime(2024, 6, 1, 23, 59))
    assert not item.admits(datetime(2024, 6, 2, 0, 1))
    assert item.admits(datetime(2024, 6, 2, 0, 1, tzinfo=UTC))
    assert not item.admits(datetime(2024, 6, 3, 0, 1, tzinfo=UTC))
    assert not item.admits(datetime(2024, 6, 2, 0, 1, tzinfo=timezone(timedelta(hours=2))))


@given(*[st.floats(-1e-6, 1 + 1e-6) for _ in range(4)])
def test_a_box_is_whole_units_inside_the_image(x: float, y: float, w: float, h: float) -> None:
    try:
        box = Region(x, y, w, h).box
    except UsageError:
        return
    left, top = (min(round(value * 10_000), 9_999) for value in (x, y))
    assert box == (
        left,
        top,
        max(1, min(round(w * 10_000), 10_000 - left)),
        max(1, min(round(h * 10_000), 10_000 - top)),
    )
