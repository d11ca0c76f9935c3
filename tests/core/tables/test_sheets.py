"""Tables in Excel workbooks: the right sheet and header, and values as they are shown."""

from __future__ import annotations

import re
import warnings
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import ABOVE
from bioclip_core.tables.sheets import FORMULA, LINK, MERGED


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def cells(path: Path, findings: Findings | None = None, **settings: Any) -> list[dict[str, Any]]:
    return [dict(row.cells) for row in open_table(path, None, findings, **settings)]


def test_values_keep_their_types_and_look_as_in_excel(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "t.xlsx",
        a=[["image", "number", "code", "day", "moment", "share"],
           ["1.jpg", 12.0, 123, datetime(1893, 5, 12), datetime(2024, 5, 12, 10, 30), 0.5]],
    )  # fmt: skip
    book = openpyxl.load_workbook(path)
    book["a"]["C2"].number_format = "000000"
    book["a"]["D2"].number_format = "dd.mm.yyyy"
    book.save(path)
    assert cells(path) == [
        {"image": "1.jpg", "number": 12, "code": "000123", "day": date(1893, 5, 12), "share": 0.5,
         "moment": datetime(2024, 5, 12, 10, 30)},
    ]  # fmt: skip


def test_rows_above_the_header_and_empty_rows_are_not_rows(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "t.xlsx", a=[["Loan 12"], [], ["image", "note"], ["1.jpg", "x"], [None, " "], ["2.jpg"], [], []]
    )
    findings = Findings()
    rows = list(open_table(path, None, findings, needed=("image",)))
    assert [(row.number, row.line, row.cells["image"]) for row in rows] == [(1, 4, "1.jpg"), (3, 6, "2.jpg")]
    assert list(findings.lines()) == [f"{ABOVE}: 1 (the first: {path}: 1 before row 3)"]


def test_the_sheet_with_a_needed_heading_is_read_and_others_are_reported(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", About=[["made by"], ["me"]], Images=[["image"], ["1.jpg"]])
    findings = Findings()
    assert cells(path, findings, needed=("image",)) == [{"image": "1.jpg"}]
    assert "About" in next(iter(findings.lines()))
    assert cells(path.with_name("t.xlsx#About")) == [{"made by": "me"}]


def test_several_sheets_that_fit_are_refused_with_their_names(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", A=[["image"], ["1.jpg"]], B=[["image"], ["2.jpg"]])
    with pytest.raises(SourceError, match=r"2 sheets that could be read: A, B; name one, such as .*t\.xlsx#A"):
        cells(path, needed=("image",))
    assert cells(path.with_name("t.xlsx#B"), needed=("image",)) == [{"image": "2.jpg"}]
    with pytest.raises(SourceError, match="has no sheet 'C' with rows; its sheets with rows: A, B"):
        cells(path.with_name("t.xlsx#C"))


def test_a_merged_range_counts_for_each_of_its_rows(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", a=[["image", "name"], ["1.jpg", "Acer"], ["2.jpg"], ["3.jpg", "Ilex"]])
    book = openpyxl.load_workbook(path)
    book["a"].merge_cells("B2:B3")
    book.save(path)
    findings = Findings()
    assert [row["name"] for row in cells(path, findings)] == ["Acer", "Acer", "Ilex"]
    assert findings.count(MERGED) == 1


def test_links_behind_other_texts_are_counted(tmp_path: Path) -> None:
    shown = ["photo 1", "https://example.org/2.jpg", "photo 3", "photo 4"]
    path = workbook(tmp_path / "t.xlsx", a=[["image", "name"], *([text, "Acer"] for text in shown)])
    book = openpyxl.load_workbook(path)
    for number in (2, 3, 5):
        book["a"][f"A{number}"].hyperlink = f"https://example.org/{number}.jpg"
        book["a"][f"A{number}"].value = shown[number - 2]
    book.save(path)
    findings = Findings()
    assert [row.get("image") for row in cells(path, findings)] == shown
    (line,) = findings.lines()
    assert line.startswith(f"{LINK}: 2 ")
    assert "row 1 (line 2): photo 1" in line


def test_formulas_without_a_value_and_errors_are_reported(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", a=[["image", "sum", "bad"], ["1.jpg", "=1+1", None], ["2.jpg", 3, "#N/A"]])
    findings = Findings()
    assert cells(path, findings) == [{"image": "1.jpg"}, {"image": "2.jpg", "sum": 3}]
    formula, error = findings.lines()
    assert formula.startswith(f"{FORMULA}: 1 ")
    assert "row 1 (line 2): =1+1" in formula
    assert "row 2 (line 3): #N/A" in error


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel workbook"),
     ("t.ods", None, "an OpenDocument spreadsheet")],
)  # fmt: skip
def test_other_spreadsheets_are_refused_in_one_line(tmp_path: Path, name: str, start: bytes | None, kind: str) -> None:
    path = tmp_path / name
    if start is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
            archive.writestr("content.xml", "<x/>")
    else:
        path.write_bytes(start)
    with pytest.raises(SourceError, match=rf"{kind}.*save it as \.xlsx or CSV"):
        cells(path)


def test_a_damaged_workbook_is_one_line(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "t.xlsx", a=[["image"], *[[f"{n}.jpg"] for n in range(500)]]).read_bytes()
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read"):
        cells(broken)


@pytest.mark.parametrize("action", ["error", "always", "ignore"])
def test_a_workbook_that_openpyxl_warns_of_is_read_whatever_the_filters_of_the_host(
    tmp_path: Path, action: Any
) -> None:
    whole = workbook(tmp_path / "whole.xlsx", data=[["name"], ["Turdus merula"]])
    path = tmp_path / "plain.xlsx"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for part in source.namelist():
            text = source.read(part)
            target.writestr(part, re.sub(rb"<cellStyles.*</cellStyles>", b"", text) if "styles" in part else text)
    with warnings.catch_warnings(), pytest.warns(UserWarning, match="no default style"):
        openpyxl.load_workbook(path)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter(action)
        assert [row["name"] for row in cells(path)] == ["Turdus merula"]
    assert not issued


@pytest.mark.parametrize(
    "inside", [b"<a>" * 700_000, b'<row>' + b'<c r="A1"/>' * 200_000 + b"</row>", b"<row/>" * 400_000, b"\0" * 2_000_000],
    ids=["deep", "cells", "rows", "zeros"],
)  # fmt: skip
def test_a_part_that_expands_like_a_bomb_is_refused_before_it_is_read(tmp_path: Path, inside: bytes) -> None:
    path = tmp_path / "bomb.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["image", "genus"])
    book.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, inside if name.endswith("sheet1.xml") else content)
    with pytest.raises(SourceError, match=r"part 'xl/worksheets/sheet1\.xml' expands [\d,]+-fold"):
        open_table(path)
