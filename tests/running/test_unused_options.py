"""Options of listings that have nothing to act on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.plugin_api import ListingOptions
from bioclip_plugin.running.listing import Listing

PHOTO, TABLE = "a.png", "b.csv"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save(PHOTO)
    Path(TABLE).write_text("Bilddatei;Funddatum\na.png;03/04/2024\n")


def found(address: str, options: ListingOptions) -> list[str]:
    with Listing([address], create_plugin_manager(installed=False).sources(), options) as listing:
        assert list(listing)
    return list(options.findings.lines())


def table(**options: bool | tuple[str, ...]) -> ListingOptions:
    return ListingOptions(**{"column": ("image=Bilddatei",), **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "option"), [("day_first", "--day-first"), ("month_first", "--month-first")])
def test_an_order_of_dates_without_a_column_of_dates_names_the_columns_and_the_option(field: str, option: str) -> None:
    assert found(TABLE, table(**{field: True})) == [
        f"{option} has no effect, since no column is read as a date; name one with --column eventDate=HEADING: 1 (the first: "
        "b.csv has Bilddatei, Funddatum)"
    ]
    assert found(PHOTO, ListingOptions(**{field: True})) == [  # type: ignore[arg-type]
        f"{option} has no effect, since no input is a table or file with dates: 1"
    ]


def test_an_order_of_dates_that_is_used_is_not_reported() -> None:
    assert found(TABLE, table(column=("image=Bilddatei", "eventDate=Funddatum"), day_first=True)) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (ListingOptions(base_folder=Path("x")), "--base-folder has no effect, since every input is an image or a folder: 1"),
        (ListingOptions(allow_outside=True), "--allow-outside has no effect, since every input is an image or a folder: 1"),
        (ListingOptions(frames_per_second=2.0), "--frames-per-second has no effect, since no input is a video: 1"),
        (ListingOptions(video_clock="local"), "--video-clock has no effect, since no input is a video: 1"),
        (ListingOptions(turned_boxes="upright"), "--turned-boxes has no effect, since no input has boxes: 1"),
    ],
)  # fmt: skip
def test_an_option_that_has_nothing_to_act_on_is_reported(options: ListingOptions, text: str) -> None:
    assert found(PHOTO, options) == [text]


def test_options_that_act_are_not_reported() -> None:
    Path("boxes.csv").write_text("image,bboxX,bboxY,bboxWidth,bboxHeight\na.png,0,0,1,1\n")
    assert found("boxes.csv", ListingOptions(base_folder=Path(), allow_outside=True, turned_boxes="upright")) == []
    options = ListingOptions(frames_per_second=2.0, video_clock="local")
    sources = create_plugin_manager(installed=False).sources()
    with Listing([PHOTO], sources, options, lambda item, _options: [replace(item, frame=0)]) as listing:
        assert len(list(listing)) == 1
    assert not options.findings
