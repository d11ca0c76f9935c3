"""AddaxAI's tables as input: files, boxes in pixels, dates with the day first, and rows that are no items."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.addaxai.read import AddaxAISource
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing, source_of
from bioclip_plugin.store import open_store

SOURCES = create_plugin_manager(installed=False).sources()
DETECTIONS = (
    "absolute_path,relative_path,data_type,label,confidence,human_verified,bbox_left,bbox_top,bbox_right,bbox_bottom,"
    "file_height,file_width,DateTimeOriginal,Latitude,Longitude"
)
FILES = "absolute_path,relative_path,data_type,n_detections,file_height,file_width,max_confidence,human_verified,DateTimeOriginal"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("survey/cam1").mkdir(parents=True)
    Path("elsewhere").mkdir()
    for name in "abc":
        Image.new("RGB", (200, 100)).save(f"survey/cam1/{name}.jpg")


def table(*lines: str, name: str = "survey/results.csv") -> str:
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def listed(address: str, **options: Any) -> list[MediaItem | Unlisted]:
    with Listing([address], SOURCES, ListingOptions(**options)) as listing:
        return list(listing)


def items(address: str, **options: Any) -> list[MediaItem]:
    return [one for one in listed(address, **options) if isinstance(one, MediaItem)]


def test_boxes_in_pixels_are_regions_and_labels_of_a_classifier_are_metadata() -> None:
    address = table(
        DETECTIONS,
        "/data/survey,cam1/a.jpg,img,ocelot,0.93,False,20,10,120,60,100,200,01/06/24 22:00:00,50.5,4.25",
        "/data/survey,cam1/a.jpg,img,person,0.88,False,0,0,50,50,100,200,01/06/24 22:00:00,50.5,4.25",
        "/data/survey,cam1/b.jpg,img,animal,0.1,False,0,0,50,50,100,200,NA,NA,NA",
        "/data/survey,cam1/c.jpg,img,animal,NA,True,0,0,100,100,100,200,NA,NA,NA",
    )
    first, faint, verified = items(address)
    assert first.uri == "survey/cam1/a.jpg"
    assert [(one.category, one.classified, one.confidence) for one in first.regions] == [
        ("animal", True, 0.93), ("person", False, 0.88),
    ]  # fmt: skip
    assert first.regions[0].xywh == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert (first.captured_at, first.place.latitude) == (datetime(2024, 6, 1, 22), 50.5)
    assert first.metadata["label"] == "ocelot"
    assert [region.classified for region in faint.regions] == [False]
    assert faint.captured_at is None
    assert [(region.classified, region.confidence) for region in verified.regions] == [(True, None)]


def test_boxes_without_the_size_of_the_file_need_its_header() -> None:
    address = table(
        "relative_path,label,confidence,bbox_left,bbox_top,bbox_right,bbox_bottom",
        "cam1/a.jpg,animal,0.9,20,10,120,60",
        "cam1/gone.jpg,animal,0.9,20,10,120,60",
    )
    first, second = listed(address)
    assert isinstance(first, MediaItem)
    assert first.regions[0].xywh == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert isinstance(second, Unlisted)
    assert second.uri == f"{address}#row=2"
    assert "without the size of the image: the file does not exist" in second.reason


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("animal,0.9,20,10,320,60", "it leaves the image, which is 200 × 100 pixels"),
        ("animal,0.9,120,10,20,60", "right must be greater than left"),
        ("animal,0.9,x,10,20,60", "four numbers of pixels are needed"),
        ("animal,0.9,20,10,,60", "four numbers of pixels are needed"),
        ("animal,93,20,10,120,60", "confidence '93': must be a number from 0 to 1"),
    ],
)
def test_a_box_that_cannot_be_used_is_skipped_with_its_row(cells: str, why: str) -> None:
    address = table(
        "relative_path,label,confidence,bbox_left,bbox_top,bbox_right,bbox_bottom,file_width,file_height",
        f"cam1/a.jpg,{cells},200,100",
        "cam1/b.jpg,animal,0.9,0,0,200,100,200,100",
    )
    bad, good = listed(address)
    assert isinstance(bad, Unlisted)
    assert (bad.uri, why in bad.reason) == (f"{address}#row=1", True)
    assert isinstance(good, MediaItem)


def test_files_without_detections_are_blank_and_those_with_boxes_elsewhere_are_whole_and_reported() -> None:
    address = table(
        FILES,
        "/data/survey,cam1/a.jpg,img,2,100,200,0.9,False,31/12/24 10:00:00",
        "/data/survey,cam1/b.jpg,img,0,100,200,0.0,False,01/02/25 10:00:00",
        "/data/survey,cam1/b.jpg,img,0,100,200,0.0,False,01/02/25 10:00:00",
    )
    findings = Findings()
    whole, repeated, blank = listed(address, findings=findings)
    assert isinstance(whole, MediaItem)
    assert isinstance(blank, MediaItem)
    assert isinstance(repeated, Unlisted)
    assert repeated.reason == "row 3: its image is that of row 2, and it adds nothing to it"
    assert (whole.detected, whole.regions, whole.captured_at) == (False, (), datetime(2024, 12, 31, 10))
    assert (blank.detected, blank.regions, blank.captured_at) == (True, (), datetime(2025, 2, 1, 10))
    lines = list(findings.lines())
    assert any("boxes are in another table of AddaxAI" in line and "2 detections" in line for line in lines)


def test_of_a_workbook_the_sheet_of_the_detections_is_read() -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "files"
    book.active.append(["relative_path", "n_detections", "label"])
    sheet = book.create_sheet("detections")
    sheet.append(["relative_path", "label", "confidence", "bbox_left", "bbox_top", "bbox_right", "bbox_bottom"])
    sheet.append(["cam1/a.jpg", "ocelot", 0.9, 20, 10, 120, 60])
    book.save("survey/results.xlsx")
    (item,) = items("survey/results.xlsx")
    assert [region.category for region in item.regions] == ["animal"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["cam1/a.jpg", "cam1/b.jpg", "cam1\\c.jpg", "", "../x.jpg", "/etc/passwd"]),
            st.sampled_from(["", "10", "-5", "x", "250"]),
            st.sampled_from(["0.9", "NA", "1.7", ""]),
        ),
        max_size=10,
    )
)
def test_each_row_is_part_of_an_item_counted_or_skipped_with_its_number(rows: list[tuple[str, str, str]]) -> None:
    lines = [f"{name},x,{confidence},{left},0,20,20,200,100" for name, left, confidence in rows]
    address = table(
        "relative_path,label,confidence,bbox_left,bbox_top,bbox_right,bbox_bottom,file_width,file_height", *lines
    )
    findings = Findings()
    found = listed(address, findings=findings) if rows else []
    skipped = {one.uri for one in found if isinstance(one, Unlisted)}
    in_items = {Path(one.uri).name for one in found if isinstance(one, MediaItem)}
    for number, (name, left, _) in enumerate(rows, start=1):
        last = name.replace("\\", "/").rpartition("/")[2]
        assert f"{address}#row={number}" in skipped or last in in_items, (name, left)
    assert len(in_items) == sum(isinstance(one, MediaItem) for one in found)


def test_dates_have_the_day_first_even_where_no_row_shows_it() -> None:
    address = table("relative_path,label,DateTimeOriginal", "cam1/a.jpg,animal,01/06/24 22:00:00")
    assert items(address)[0].captured_at == datetime(2024, 6, 1, 22)


def test_files_are_found_where_they_were_analysed() -> None:
    here = Path.cwd()
    old = table(f"{FILES},label", f"{here}/survey,cam1/a.jpg,img,0,100,200,0.9,False,NA,x", name="old.csv")
    new = table(
        "file_id,file_type,relative_path,absolute_path,datetime,observation_type",
        f"1,image,cam1/a.jpg,{here}/survey/cam1/a.jpg,2024-06-01 22:00:00,animal",
        f"2,image,cam1/b.jpg,{here}/survey/cam1/b.jpg,2024-06-01 22:00:00,blank",
        name="new.csv",
    )
    assert [Path(one.uri).name for one in items(old)] == ["a.jpg"]
    assert all(one.path and one.path.exists() for one in (*items(old), *items(new)))
    assert [(one.detected, one.captured_at) for one in items(new)] == [
        (False, datetime(2024, 6, 1, 22)), (True, datetime(2024, 6, 1, 22)),
    ]  # fmt: skip
    outside = table("relative_path,absolute_path,label", f"cam1/a.jpg,{here}/survey,x", name="elsewhere/t.csv")
    (refused,) = listed(outside)
    assert isinstance(refused, Unlisted)
    assert "--base-folder" in refused.reason


def test_the_table_of_detections_of_addaxai_7_names_the_table_to_give_instead() -> None:
    address = table("detection_id,file_id,detection_category,bbox_x", "1,2,animal,0.5")
    with pytest.raises(SourceError, match=r"does not name the files: give its table of files, or addaxai-reco"):
        listed(address)


def test_boxes_of_videos_and_boxes_far_from_their_image_are_not_lost_in_silence() -> None:
    address = table(
        DETECTIONS,
        "/x,cam1/v.mp4,vid,ocelot,0.93,False,20,10,120,60,100,200,NA,NA,NA",
        "/x,cam1/a.jpg,img,ocelot,0.93,False,20,10,120,60,100,200,NA,NA,NA",
        "/x,cam1/b.jpg,img,ocelot,0.93,False,20,10,120,60,100,200,NA,NA,NA",
        "/x,cam1/a.jpg,img,ocelot,0.83,False,0,0,120,60,100,200,NA,NA,NA",
    )
    findings = Findings()
    found = listed(address, findings=findings)
    assert isinstance(found[-1], Unlisted)
    assert found[-1].reason.startswith("row 4: its image is that of row 2, which is not above it")
    assert any(line.startswith("boxes of videos do not state their frame") for line in findings.lines())


@pytest.mark.parametrize("header", [DETECTIONS, FILES, "relative_path,label,DateTimeOriginal"])
def test_an_addaxai_table_is_known_by_its_columns(header: str) -> None:
    assert source_of(table(header), SOURCES).name == AddaxAISource.name
    assert not AddaxAISource().takes(table("relative_path,notes"))
    assert not AddaxAISource().takes("survey/cam1/a.jpg")


def test_labels_that_a_person_has_verified_are_reviews(
    command: Callable[..., tuple[int, str, str]], colour_labels: str
) -> None:
    address = table(
        "relative_path,absolute_path,label,confidence,human_verified",
        "cam1/a.jpg,/x,Red fictus,NA,True",
        "cam1/b.jpg,/x,empty,NA,True",
        "cam1/c.jpg,/x,Blue pictus,0.8,False",
        "cam1/gone.jpg,/x,Red fictus,NA,True",
    )
    assert command("classify", "survey", "--model", "fake", "--labels", colour_labels, "--store", "r.db")[0] == 0
    code, out, said = command(
        "review", "import", address, "--store", "r.db", "--reviewer", "Ann", "--labels", colour_labels
    )
    assert "AddaxAI table" in out + said
    assert code == 3, said  # the image that is not in the store
    with open_store("r.db") as store:
        reviews = [(one.target.uri, one.verdict, one.taxon and one.taxon.scientific_name) for one in store.reviews()]
    assert reviews == [("survey/cam1/a.jpg", "taxon", "Red fictus"), ("survey/cam1/b.jpg", "blank", None)]
