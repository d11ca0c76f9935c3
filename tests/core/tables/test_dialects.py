"""Text tables in any dialect: separator, encoding, line ends, and rows of the wrong shape."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.errors import DataError, SourceError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import lines_of, open_table, sure_rows
from bioclip_core.tables.rows import ABOVE, NOT_UTF_8, Headings
from bioclip_core.tables.text import NO_HEADING, NUL, SHORT, SURPLUS

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows(folder: Path, text: str | bytes, findings: Findings | None = None, **options: Any) -> list[dict[str, Any]]:
    path = folder / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [dict(row.cells) for row in open_table(path, TableOptions(**options), findings)]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        # As in rainbow_csv's issue 129, CSV.jl's 1185 and csv's 51 (stevehansen).
        (
            'image,software,text\na.jpg,x;y;z;v;w,"one, two"\n',
            {"image": "a.jpg", "software": "x;y;z;v;w", "text": "one, two"},
        ),
        ("image;t;n\na.jpg;1,5;2,5\nb.jpg;3,5;4,5\n", {"image": "a.jpg", "t": "1,5", "n": "2,5"}),
        ('image\tnote\tn\na.jpg\t"2" is 2\t3\n', {"image": "a.jpg", "note": '"2" is 2', "n": "3"}),
        ("image;lat;lon\na.jpg;50,8503;4,3517\n", {"image": "a.jpg", "lat": "50,8503", "lon": "4,3517"}),
        ("image,place;x;y;z\na.jpg,Berg\n", {"image": "a.jpg", "place;x;y;z": "Berg"}),
        ('"image";"lat, deg, min";"n"\n"a.jpg";"5";"6"\n', {"image": "a.jpg", "lat, deg, min": "5", "n": "6"}),
        ("image|note\na.jpg|b,c\n", {"image": "a.jpg", "note": "b,c"}),
        ("sep=;\nimage;note\na.jpg;b\n", {"image": "a.jpg", "note": "b"}),
        ('"sep=\t"\nimage\tnote\na.jpg\tb\n', {"image": "a.jpg", "note": "b"}),
        ("image\na, b.jpg\nc;d.jpg\n", {"image": "a, b.jpg"}),
        ("\n\nimage,note\na.jpg,b\n", {"image": "a.jpg", "note": "b"}),
    ],
)
def test_the_separator_is_the_one_that_the_rows_agree_on(tmp_path: Path, text: str, row: dict[str, str]) -> None:
    assert rows(tmp_path, text)[0] == row


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_recognised(tmp_path: Path, encoding: str, end: str) -> None:
    text = f"image;Ort{end}Kühn.jpg;Köln „Süd“{end}b.jpg;x{end}"
    assert rows(tmp_path, text.encode(encoding))[0] == {"image": "Kühn.jpg", "Ort": "Köln „Süd“"}


def test_a_title_above_the_header_is_reported_and_not_read(tmp_path: Path) -> None:
    path, findings = tmp_path / "t.csv", Findings()
    path.write_text("Herbarium of Fictia; export of 12.05.2024\n\nBild-Datei;Ort;Nr\na.jpg;x;7\n")
    table = open_table(path, TableOptions(column=("image=Bild-Datei",)), findings, needed=("image",))
    assert [(row.number, row.line, dict(row.cells)) for row in table] == [
        (1, 4, {"image": "a.jpg", "Ort": "x", "Nr": "7"})
    ]
    assert findings.count(ABOVE) == 2
    path.write_text("# made by a program\nimage,note\na.jpg,x\n")
    assert open_table(path, needed=("image",)).header == ("image", "note")
    path.write_text("taxon,rank\nQuercus,genus\n")
    assert open_table(path, needed=("genus",)).header == ("taxon", "rank")


def test_a_stated_encoding_is_used_and_an_unknown_one_refused(tmp_path: Path) -> None:
    text = "image;Ort\nKühn.jpg;Łódź\n"
    assert rows(tmp_path, text.encode("cp1250"), encoding="cp1250") == [{"image": "Kühn.jpg", "Ort": "Łódź"}]
    with pytest.raises(UsageError, match="encoding 'klingon' is not known"):
        TableOptions(encoding="klingon")


def test_line_ends_of_several_kinds_in_one_file_end_lines(tmp_path: Path) -> None:
    assert [row["image"] for row in rows(tmp_path, "image,n\r\na.jpg,1\nb.jpg,2\rc.jpg,3")] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]


def test_bytes_of_another_encoding_are_counted_and_those_beside_them_kept(tmp_path: Path) -> None:
    findings = Findings()
    found = rows(tmp_path, "image,n\na.jpg,café ".encode() + b"K\xf6ln\nb.jpg,caf\xe9\n", findings)
    assert [row["n"] for row in found] == ["café Köln", "café"]
    assert findings.count(NOT_UTF_8) == 2


def test_rows_of_the_wrong_shape_lose_nothing_and_are_counted(tmp_path: Path) -> None:
    findings = Findings()
    found = rows(tmp_path, ",image,n\n0,a.jpg,1,2,3\n1,b.jpg\n2,c\0.jpg,4\n", findings)
    assert found == [
        {"column 1": "0", "image": "a.jpg", "n": "1", "column 4": "2", "column 5": "3"},
        {"column 1": "1", "image": "b.jpg"},
        {"column 1": "2", "image": "c.jpg", "n": "4"},
    ]
    assert [findings.count(text) for text in (SURPLUS, SHORT, NO_HEADING, NUL)] == [2, 1, 3, 1]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0\x00\x10JFIF", b"%PDF-1.7\x00\x00\n\x00", b"\x00" * 100])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match="is not a text file"):
        rows(tmp_path, content)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        rows(tmp_path, "\n \n")


def test_lists_have_the_encodings_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        path.write_bytes("Käfer\r\n\r\n Acer rubrum \r\n".encode(encoding))
        assert list(lines_of(path)) == ["Käfer", "Acer rubrum"]


def test_a_list_that_decides_something_is_refused_if_a_row_is_in_doubt(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for content, said in (
        (b"taxon,weight\nAcer,1,2\n", "cells are behind the last heading"),
        (b"taxon\nK\xe4fer\n", "is not UTF-8"),
        (b'taxon,a,b\nAcer,"x\n', "a quotation mark is not closed in line 2"),
    ):
        path.write_bytes(content)
        _, found = sure_rows(path)
        with pytest.raises(DataError, match=said):
            list(found)


CELL = st.text(st.characters(codec="cp1252", exclude_characters='";,\t|\r\n\0', exclude_categories=["Cc"]), max_size=6)


@FEW
@given(
    st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_plain_table_comes_back_in_any_dialect(
    tmp_path: Path, table: list[list[str]], separator: str, encoding: str, end: str
) -> None:
    lines = [separator.join((f"{number}.jpg", *cells)) for number, cells in enumerate(table)]
    text = end.join((separator.join(("image", "one", "two")), *lines, ""))
    stated = {"encoding": encoding} if encoding == "cp1252" else {}
    found = rows(tmp_path, text.encode(encoding), **stated)
    wanted = [
        {
            name: cell
            for name, cell in zip(("image", "one", "two"), (f"{number}.jpg", *cells), strict=True)
            if cell.strip()
        }
        for number, cells in enumerate(table)
    ]
    assert found == wanted


def test_thousands_of_columns_with_one_name_are_numbered_in_time_that_grows_with_their_number() -> None:
    """JSON in one line has as many, and each source of tables looks at its beginning."""
    began = time.thread_time()
    names = Headings(["a", "a (3)", *["a"] * 20_000], {}, (), "t.csv").names
    assert time.thread_time() - began < 5  # some hundredths of a second; with all numbers tried again, half a minute
    assert names[:5] == ["a", "a (3)", "a (2)", "a (4)", "a (5)"]
    assert names[-1] == "a (20002)"
