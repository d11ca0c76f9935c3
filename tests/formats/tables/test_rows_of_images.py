"""Each row of a table is part of an item, or is skipped with its number and a reason."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.errors import DataError, ImageError, UsageError
from bioclip_core.tables.rows import NOT_UTF_8
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.tables.grouping import SEVERAL
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.running.reading import bytes_of

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(text: str | bytes, *images: str, name: str = "t.csv") -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    for image in images:
        Path(image).parent.mkdir(parents=True, exist_ok=True)
        Path(image).write_bytes(b"x")
    return name


def listed(address: str, options: ListingOptions | None = None) -> tuple[list[MediaItem], list[str], list[str]]:
    """Return the items, the reasons of skipped rows, and the findings."""
    options = options or ListingOptions()
    entries = list(TableSource().items(address, options))
    skipped = [entry for entry in entries if isinstance(entry, Unlisted)]
    assert all(f"#row={entry.reason.split()[1].rstrip(':')}" in entry.uri for entry in skipped)
    return (
        [entry for entry in entries if isinstance(entry, MediaItem)],
        [entry.reason for entry in skipped],
        list(options.findings.lines()),
    )


@pytest.mark.parametrize("name", ["E:\\x\\käfer 5.jpg", "E:/x/a.jpg", "\\\\nas\\x\\a.jpg"])
@pytest.mark.parametrize("folder", [".", "..", "deep"])
def test_a_path_of_windows_that_does_not_exist_here_stays_as_it_is_and_names_its_remedy(name: str, folder: str) -> None:
    Path("deep", "here").mkdir(parents=True)
    Path(folder, "moved.csv").write_text(f"image,note\n{name},x\n", "utf-8")
    (item,), skipped, _ = listed(f"{folder}/moved.csv")
    assert (item.uri, item.metadata, skipped) == (name, {"note": "x"}, [])
    beginning = name[: -len(re.split(r"[/\\]", name)[-1]) - 1]
    written = shlex.quote(f"{beginning}=FOLDER")
    with pytest.raises(ImageError, match=re.escape(f"such as --replace-prefix {written}, with the folder")):
        bytes_of(item)
    Path("deep", name.replace("\\", "/").rpartition("/")[2]).write_bytes(b"x")
    (item,), _, _ = listed(
        f"{folder}/moved.csv", ListingOptions(replace_prefix=(f"{beginning}={Path('deep').absolute()}",))
    )
    assert bytes_of(item) == b"x"


def test_a_later_row_of_an_image_with_other_values_is_skipped_with_both_rows_and_the_values() -> None:
    address = table(
        "image,deployment,note\nc/a.jpg,A,x\nc/a.jpg,B,x\nb.jpg,A,\n./c/a.jpg,C,\nd/../c/a.jpg,A,x\n", "c/a.jpg"
    )
    items, skipped, findings = listed(address)
    assert [(item.uri, item.deployment) for item in items] == [("c/a.jpg", "A"), ("b.jpg", "A")]
    assert skipped == [
        "row 2: the same image as row 1, with other values: deployment 'B' instead of 'A'; the first row is used",
        "row 4: the same image as row 1, with other values: deployment 'C' instead of 'A', note nothing instead of 'x'; "
        "the first row is used",
        "row 5: the same image as row 1, with the same values; the first row is used",
    ]
    assert findings == []


def test_a_box_adds_to_the_image_above_it_and_other_values_are_reported() -> None:
    address = table(
        "image,bboxX,bboxY,bboxWidth,bboxHeight,note\n1.jpg,0,0,1,1,a\n1.jpg,0,0,.5,.5,b\n2.jpg,,,,,\n1.jpg,0,0,.2,.2,a\n"
    )
    (one, _), skipped, findings = listed(address)
    assert (one.regions, dict(one.metadata)) == ((Region(0, 0, 1, 1), Region(0, 0, 0.5, 0.5)), {"note": "a"})
    assert skipped == [
        "row 4: the same image as row 1, which is not above it: its box is not classified; sort the table by its column 'image'"
    ]
    assert "row 2: the same image as row 1: note 'b' instead of 'a'" in findings[0]


@pytest.mark.parametrize(
    "cell", ["1.jpg|b/2.jpg", "1.jpg ; b/2.jpg", '"1.jpg, b/2.jpg"', '"[""1.jpg"", ""b/2.jpg""]"', '"1.jpg\nb/2.jpg"']
)
def test_several_images_in_a_cell_are_one_item_each(cell: str) -> None:
    items, skipped, findings = listed(table(f"image,name\n{cell},Acer\n", "1.jpg", "b/2.jpg"))
    assert [(item.uri, dict(item.metadata)) for item in items] == [
        ("1.jpg", {"name": "Acer"}),
        ("b/2.jpg", {"name": "Acer"}),
    ]
    assert (skipped, findings[0].startswith(f"{SEVERAL}: 1 ")) == ([], True)


@pytest.mark.parametrize(
    "cell",
    [
        "b/6.jpg\nb/a;b.jpg",
        "b/6.jpg\r\nb/a;b.jpg\r\n",
        "b/6.jpg|b/a;b.jpg",
        "b/6.jpg, b/a;b.jpg",
        "gone/6.jpg\nb/a;b.jpg",
        "gone/6.jpg\ngone/a;b.jpg",
        "gone/6.jpg|gone/a;b.jpg",
    ],
)
def test_a_name_with_a_separator_in_it_is_one_of_several_images(cell: str) -> None:
    items, skipped, _ = listed(table(f'image,name\n"{cell}",Acer\n', "b/6.jpg", "b/a;b.jpg"))
    assert [item.uri for item in items] == [re.split(r"[,|\s]+", cell)[0], re.split(r"[,|\s]+", cell.strip())[1]]
    assert skipped == []


def test_lines_of_a_cell_that_name_several_images_each_are_all_listed() -> None:
    items, _, _ = listed(table('image,name\n"1.jpg;2.jpg\n3.jpg, 4.jpg",Acer\n', "3.jpg"))
    assert [item.uri for item in items] == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]


@pytest.mark.parametrize("name", ["a, 1.jpg", "a;b.jpg", "x|y", "1.jpg, 2.jpg", "[1].jpg"])
def test_a_name_with_a_separator_in_it_is_one_image(name: str) -> None:
    items, _, findings = listed(table(f"image\tname\n{name}\tAcer\n", name, name="t.tsv"))
    assert ([item.uri for item in items], findings) == ([name], [])


def test_an_image_without_its_box_is_not_guessed_from_several() -> None:
    address = table("image,bboxX,bboxY,bboxWidth,bboxHeight\n1.jpg|2.jpg,0,0,1,1\n")
    assert listed(address)[1] == ["row 1: it names 2 images and a box: give each image a row of its own"]


def test_a_skipped_row_keeps_its_values() -> None:
    address = table(
        "image,bboxX,bboxY,bboxWidth,bboxHeight,catalogNumber\n,,,,,B 1\n1.jpg,,,,,B 2\n2.jpg|3.jpg,0,0,1,1,B 3\n"
        "4.jpg,0,0,x,1,B 4\n1.jpg,,,,,B 5\n"
    )
    entries = [entry for entry in TableSource().items(address) if isinstance(entry, Unlisted)]
    assert [(entry.uri, dict(entry.item.metadata)) for entry in entries] == [
        (f"t.csv#row={number}", {"catalogNumber": f"B {number}"}) for number in (1, 3, 4, 5)
    ]
    assert all(entry.item.path is None for entry in entries)


def test_a_column_is_read_as_the_field_that_the_user_names() -> None:
    address = table("﻿Bilddatei;Nr;Wissenschaftlicher Name;Breite;Länge\r\na.jpg;B 1;Acer opalus;50.5;4.25\r\n")
    options = ListingOptions(
        column=("image=bilddatei", "scientific_name=Wissenschaftlicher Name", "latitude=Breite", "longitude=Länge")
    )
    (item,), _, _ = listed(address, options)
    assert (item.uri, item.place.latitude, item.place.longitude) == ("a.jpg", 50.5, 4.25)
    assert dict(item.metadata) == {"Nr": "B 1", "scientificName": "Acer opalus"}


def test_an_unknown_field_and_a_missing_heading_are_refused_with_the_known_ones() -> None:
    address = table("Bilddatei,Nr\na.jpg,1\n")
    with pytest.raises(UsageError, match=r"--column imgae=Nr: imgae is not a field of t\.csv; known are image, path, "):
        listed(address, ListingOptions(column=("imgae=Nr",)))
    with pytest.raises(DataError, match=r"--column image=Bild: t\.csv has no column 'Bild'; it has Bilddatei, Nr"):
        listed(address, ListingOptions(column=("image=Bild",)))


def test_a_name_in_another_encoding_is_the_item_that_it_is_from_utf_8() -> None:
    text = "image;note\r\nKühn.jpg;Käfer\r\n"
    (item,), _, findings = listed(table(text.encode("cp1252"), "Kühn.jpg"))
    (other,), _, _ = listed(table(text.encode()))
    assert (item.uri, item.path, dict(item.metadata)) == (other.uri, other.path, dict(other.metadata))
    assert findings[0].startswith(f"{NOT_UTF_8}: 2 ")
    options = ListingOptions(encoding="mac-roman")
    assert listed(table(text.encode("mac-roman")), options) == ([other], [], [])


def test_the_shape_of_rows_is_reported_and_nothing_is_dropped() -> None:
    address = table("image,note,note,\na.jpg,x,y,z,w\nb.jpg\n,,,\n")
    items, skipped, findings = listed(address)
    assert [dict(item.metadata) for item in items] == [
        {"note": "x", "note (2)": "y", "column 4": "z", "column 5": "w"},
        {},
    ]
    assert (skipped, len(findings)) == ([], 5)


def test_a_workbook_is_a_table() -> None:
    book = openpyxl.Workbook()
    for row in (["image", "catalogNumber"], ["a.jpg", 12], ["a.jpg", 13]):
        book.active.append(row)
    book.save("t.xlsx")
    assert TableSource().takes("t.xlsx")
    assert TableSource().takes("t.xlsx#Sheet")
    (item,), skipped, _ = listed("t.xlsx")
    assert (item.uri, dict(item.metadata)) == ("a.jpg", {"catalogNumber": 12})
    assert skipped[0].startswith("row 2: the same image as row 1, with other values: catalogNumber 13 instead of 12")


IMAGES = st.sampled_from(["a.jpg", "./a.jpg", "b.jpg", "c/../b.jpg", "a.jpg|b.jpg", ""])


@FEW
@given(
    st.lists(
        st.tuples(IMAGES, st.sampled_from("xyz")),
        max_size=12,
    )
)
def test_every_row_is_an_item_or_a_reason(rows: list[tuple[str, str]]) -> None:
    options = ListingOptions()
    items, skipped, _ = listed(table("image,note\n" + "".join(f"{image},{note}\n" for image, note in rows)), options)
    names = sum(2 if "|" in image else 1 for image, _ in rows)
    assert len(items) + len(skipped) == names
    assert len(items) == len({part.rpartition("/")[2] for image, _ in rows for part in image.split("|") if part})


def test_columns_that_are_empty_or_read_as_a_field_are_known_to_be_absent() -> None:
    address = table("image,catalogNumber,eventDate,countryCode,camera_make\na.jpg,K1,2021-02-02T10:00:00,,\n")
    ((item,), _, _) = listed(address)
    assert dict(item.metadata) == {"catalogNumber": "K1"}
    assert {"eventDate", "countryCode"} <= item.absent
    assert not {"catalogNumber", "camera_make"} & item.absent
