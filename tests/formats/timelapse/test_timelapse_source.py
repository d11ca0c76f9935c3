"""Timelapse tables as input: the image of each row, its time, and rows that are no items."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.timelapse.layout import is_timelapse
from bioclip_plugin.formats.timelapse.read import TimelapseSource
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing, source_of

SOURCES = create_plugin_manager(installed=False).sources()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def table(*lines: str, name: str = "survey/TimelapseData.csv") -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def listed(address: str, **options: Any) -> list[MediaItem | Unlisted]:
    with Listing([address], SOURCES, ListingOptions(**options)) as listing:
        return list(listing)


def items(address: str, **options: Any) -> list[MediaItem]:
    return [one for one in listed(address, **options) if isinstance(one, MediaItem)]


def test_the_image_of_a_row_is_its_relative_path_and_file_and_never_the_file_beside_the_table() -> None:
    touch("survey/IMG_0001.JPG", "survey/cam1/IMG_0001.JPG", "survey/cam 2/100MEDIA/IMG_0001.JPG")
    address = table(
        "File,RelativePath,DateTime,DeleteFlag,Species",
        "IMG_0001.JPG,cam1,2024-06-01 22:00:00,false,Vulpes vulpes",
        r"IMG_0001.JPG,cam 2\100MEDIA,2024-06-01 23:00:00,false,Canis lupus",
        "IMG_0001.JPG,,2024-06-02 23:00:00,false,",
    )
    found = items(address)
    assert [one.uri for one in found] == [
        "survey/cam1/IMG_0001.JPG", "survey/cam 2/100MEDIA/IMG_0001.JPG", "survey/IMG_0001.JPG",
    ]  # fmt: skip
    assert [one.path and one.path.exists() for one in found] == [True] * 3
    assert found[0].captured_at == datetime(2024, 6, 1, 22)
    assert found[0].metadata == {
        "File": "IMG_0001.JPG", "RelativePath": "cam1", "DeleteFlag": "false", "Species": "Vulpes vulpes",
    }  # fmt: skip


def test_a_table_in_another_folder_is_read_with_the_project_beside_it_or_with_a_base_folder() -> None:
    touch("survey/cam1/a.JPG")
    address = table("RootFolder,File,RelativePath,DateTime", "survey,a.JPG,cam1,2024-06-01 22:00:00", name="out.csv")
    assert [one.uri for one in items(address)] == ["survey/cam1/a.JPG"]
    other = table("File,RelativePath,DateTime", "a.JPG,cam1,2024-06-01 22:00:00", name="other.csv")
    assert [one.uri for one in items(other, base_folder=Path("survey"))] == ["survey/cam1/a.JPG"]


def test_an_old_table_has_the_folder_in_folder_and_the_time_in_two_columns() -> None:
    touch("survey/a.JPG", "survey/cam1/a.JPG")
    address = table(
        "File,Folder,Date,Time,Animal", "a.JPG,cam1,01-Jun-2024,22:00:05,fox", "a.JPG,,02-Jun-2024,3:10:05 PM,"
    )
    first, second = items(address)
    assert (first.uri, first.captured_at) == ("survey/cam1/a.JPG", datetime(2024, 6, 1, 22, 0, 5))
    assert (second.uri, second.captured_at) == ("survey/a.JPG", datetime(2024, 6, 2, 15, 10, 5))
    # Cells that are not in ISO 8601 are kept as they were written.
    written = {"Date": "01-Jun-2024", "Time": "22:00:05"}
    assert first.metadata == {"File": "a.JPG", "Folder": "cam1", "Animal": "fox", **written}


def test_rows_that_repeat_an_image_and_rows_without_an_image_have_a_reason() -> None:
    touch("survey/cam1/a.JPG", "survey/cam1/b.JPG")
    address = table(
        "File,RelativePath,DateTime,Species",
        "a.JPG,cam1,2024-06-01 22:00:00,fox",
        "a.JPG,cam1,2024-06-01 22:00:00,badger",
        "b.JPG,cam1,2024-06-01 22:00:00,",
        "a.JPG,cam1,2024-06-01 22:00:00,hare",
        ",cam1,2024-06-01 22:00:00,",
        "../../x.JPG,cam1,2024-06-01 22:00:00,",
    )
    findings = Findings()
    found = listed(address, findings=findings)
    assert [one.uri for one in found] == [
        "survey/cam1/a.JPG",
        f"{address}#row=2",
        "survey/cam1/b.JPG",
        f"{address}#row=4",
        f"{address}#row=5",
        f"{address}#row=6",
    ]
    second, fourth, empty, outside = (one.reason for one in found if isinstance(one, Unlisted))
    assert empty == "row 5: column 'File' is empty; it must name the image"
    assert "is a path outside the folder survey" in outside
    assert second == "row 2: its image is that of row 1; only review import reads its values"
    assert fourth == "row 4: its image is that of row 1; only review import reads its values"
    assert not findings


def test_a_time_that_cannot_be_read_is_reported_and_not_replaced_by_the_cameras() -> None:
    touch("survey/a.JPG", "survey/b.JPG")
    address = table("File,RelativePath,DateTime", "a.JPG,,2024-13-45 10:00", "b.JPG,,2024-06-01 22:00:00")
    findings = Findings()
    first, second = items(address, findings=findings)
    assert (first.captured_at, first.unread, first.metadata["DateTime"]) == (
        None,
        frozenset({"captured_at"}),
        "2024-13-45 10:00",
    )
    assert (second.captured_at, second.unread) == (datetime(2024, 6, 1, 22), frozenset())
    assert list(findings.lines()) == [
        "values of DateTime cannot be read as a date; they are kept in the metadata, and no other value takes their place: 1 "
        f"(the first: {address}, row 1: '2024-13-45 10:00')"
    ]


def test_the_order_of_day_and_month_is_that_of_the_whole_column_or_asked_for() -> None:
    touch("survey/a.JPG", "survey/b.JPG")
    shown = table("File,RelativePath,DateTime", "a.JPG,,03/04/2024 10:00", "b.JPG,,31/12/2024 10:00")
    assert [one.captured_at for one in items(shown)] == [datetime(2024, 4, 3, 10), datetime(2024, 12, 31, 10)]
    open_ = table("File,RelativePath,DateTime", "a.JPG,,03/04/2024 10:00", name="survey/open.csv")
    with pytest.raises(SourceError, match="give --day-first or --month-first"):
        items(open_)
    assert items(open_, month_first=True)[0].captured_at == datetime(2024, 3, 4, 10)


def test_another_column_may_be_named_as_the_image() -> None:
    touch("survey/full/a.JPG")
    address = table("File,RelativePath,DateTime,Whole", "a.JPG,cam1,2024-06-01 22:00:00,full/a.JPG")
    assert [one.uri for one in items(address, column=("image=Whole",))] == ["survey/full/a.JPG"]
    touch("survey/cam1/a.JPG")
    timed = table("File,RelativePath,DateTime,Set", "a.JPG,cam1,2024-06-01 22:00:00,2023-01-01 10:00:00")
    assert items(timed, column=("captured_at=Set",))[0].captured_at == datetime(2023, 1, 1, 10)
    with pytest.raises(UsageError, match="fiel is not a field of survey"):
        items(timed, column=("fiel=Set",))


def test_a_workbook_is_read_as_a_table_of_text_is() -> None:
    import openpyxl

    touch("survey/cam1/a.JPG")
    book = openpyxl.Workbook()
    book.active.append(["File", "RelativePath", "DateTime"])
    book.active.append(["a.JPG", "cam1", datetime(2024, 6, 1, 22)])
    book.save("survey/t.xlsx")
    assert [(one.uri, one.captured_at) for one in items("survey/t.xlsx")] == [
        ("survey/cam1/a.JPG", datetime(2024, 6, 1, 22))
    ]


@pytest.mark.parametrize(
    ("header", "is_one"),
    [
        ("File,RelativePath", True),
        ("File,Relative_Path,Date_Time", True),
        ("File,DateTime,DeleteFlag", True),
        ("File,Folder,Date,Time", True),
        ("file,species", False),
        ("path,RelativePath", False),
        ("uri,status,review_verdict,review_scientific_name,RelativePath,File", False),  # our own export
    ],
)
def test_a_timelapse_table_is_known_by_its_columns(header: str, is_one: bool) -> None:
    assert is_timelapse(header.split(",")) is is_one
    address = table(header, ",".join("x" for _ in header.split(",")))
    assert (source_of(address, SOURCES).name == TimelapseSource.name) is is_one


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["", "cam1", "cam2\\100MEDIA", "été"]), st.sampled_from(["a.JPG", "b.JPG", "", "c d.JPG"])
        ),
        max_size=12,
    )
)
def test_each_row_is_an_item_or_a_reason(rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("survey")
    lines = ["File,RelativePath,Species", *(f"{file},{path},x{number}" for number, (path, file) in enumerate(rows))]
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    findings = Findings()
    found = listed(str(folder / "t.csv"), findings=findings)
    assert len(found) == len(rows)
    assert len({one.uri for one in found}) == len(found)
