"""Quotation marks: no row is swallowed by one, and every cell that a writer quoted comes back as it was."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(folder: Path, text: str, name: str = "t.csv", findings: Findings | None = None) -> list[list[Any]]:
    path = folder / name
    path.write_bytes(text.encode())
    table = open_table(path, None, findings)
    rows = list(table)
    assert not any(row.fault for row in rows), rows
    return [[row.cells.get(heading, "") for heading in table.header] for row in rows]


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ('a,"b, c",d', ["a", "b, c", "d"]),
        ('a,"say ""b""",d', ["a", 'say "b"', "d"]),
        ('"a","","c"', ["a", "", "c"]),
        ('a,5" tall,c', ["a", '5" tall', "c"]),
        ('a,12",c', ["a", '12"', "c"]),
        ('a,"Hof" bei Berg,c', ["a", '"Hof" bei Berg', "c"]),
        ('a,"Hof" bei,"b, c"', ["a", '"Hof" bei', "b, c"]),
        ('a, "b, c",d', ["a", "b, c", "d"]),
        ('a,"say \\"b\\", c",d', ["a", 'say "b", c', "d"]),
        ('a,"say \\"b\\"",d', ["a", 'say "b"', "d"]),
        ('a,"say "b" c",d', ["a", '"say "b" c"', "d"]),
        ('a,"say "b", c",d', ["a", 'say "b", c', "d"]),
        ('a,"not closed,c', ["a", '"not closed', "c"]),
        ('a,b,"not closed', ["a", "b", '"not closed']),
        ('a,b,"', ["a", "b", '"']),
    ],
)
def test_each_kind_of_mark_in_a_line_is_read_as_the_table_says(tmp_path: Path, line: str, cells: list[str]) -> None:
    rows = rows_of(tmp_path, f"x,y,z\n1,2,3\n{line}\n4,5,6\n")
    assert [len(rows), rows[0], rows[2]] == [3, ["1", "2", "3"], ["4", "5", "6"]]
    assert rows[1] == cells


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_a_stray_mark_never_swallows_the_rows_behind_it(tmp_path: Path, separator: str) -> None:
    lines = [separator.join((f"img/{n:04}.jpg", f"B{n}", "x")) for n in range(12)]
    for opens, closes in (('"Hof bei', '"Hof bei'), ('"Hof bei', 'Stamm 12"'), ('"Hof bei', '"Hof" bei'), ('"', "x")):
        here = list(lines)
        here[2] = separator.join(("img/0002.jpg", "B2", opens))
        here[9] = separator.join(("img/0009.jpg", "B9", closes))
        findings = Findings()
        rows = rows_of(tmp_path, "\n".join((separator.join(("image", "number", "place")), *here)), findings=findings)
        assert [row[0] for row in rows] == [f"img/{n:04}.jpg" for n in range(12)]
        assert (rows[2][2], rows[9][2]) == (opens, closes)
        assert findings


def test_a_quoted_cell_of_several_lines_stays_one_cell(tmp_path: Path) -> None:
    text = 'image;place;note\n1.jpg;"two\nlines";x\n2.jpg;y;"three\n\nlines; one ""quoted"""\n3.jpg;"a;\nb;c";z\n'
    assert rows_of(tmp_path, text) == [
        ["1.jpg", "two\nlines", "x"], ["2.jpg", "y", 'three\n\nlines; one "quoted"'], ["3.jpg", "a;\nb;c", "z"],
    ]  # fmt: skip


def test_a_quoted_cell_whose_lines_have_the_headers_number_of_cells_stays_one_cell(tmp_path: Path) -> None:
    text = 'image,note\n1.jpg,"first line\nsecond, line\nthird, line"\n2.jpg,x\n3.jpg,y\n'
    assert rows_of(tmp_path, text)[0] == ["1.jpg", "first line\nsecond, line\nthird, line"]


def test_marks_that_are_not_doubled_do_not_end_a_cell_of_several_lines(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 'image,note,end\n1.jpg,"two\nlines "A" here",x\n2.jpg,y,z\n')
    assert rows == [["1.jpg", 'two\nlines "A" here', "x"], ["2.jpg", "y", "z"]]


def test_a_line_that_no_reading_fits_is_reported_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('image,a,b,c\n1.jpg,"x\n2.jpg,x,y,z\n3.jpg,x,y,z\n')
    rows = list(open_table(path))
    assert [(row.number, row.line, bool(row.fault)) for row in rows] == [(1, 2, True), (2, 3, False), (3, 4, False)]
    assert rows[0].fault == "a quotation mark is not closed in line 2"


def test_many_stray_marks_cost_no_more_than_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("image\tnote\n" + "".join(f'{n}.jpg\t"x""\n' for n in range(20_000)))
    assert sum(1 for _ in open_table(path)) == 20_000


CELLS = st.text(st.sampled_from("ab, ;|\"'\n\r\t\\é=.0"), max_size=8)


@FEW
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=8)),
    st.sampled_from([",", ";", "|", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_comes_back_equal(
    tmp_path: Path, table: list[list[str]], separator: str, quoting: Any, end: str
) -> None:
    written = io.StringIO(newline="")
    if end == "\n":  # Python's writer does not quote a carriage return then
        table = [[cell.replace("\r", "\n") for cell in row] for row in table]
    header = ["image", *(f"column_{n}" for n in range(len(table[0])))]
    rows = [[f"img/{n:03}.jpg", *cells] for n, cells in enumerate(table)]
    writer = csv.writer(written, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([header, ["img/000.jpg", *["x"] * len(table[0])], ["img/000.jpg", *["x"] * len(table[0])], *rows])
    blank = [[cell if cell.strip() else "" for cell in row] for row in rows]
    assert rows_of(tmp_path, written.getvalue())[2:] == blank


STRAY = st.text(st.sampled_from("ab \"'x"), max_size=6)


@FEW
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(STRAY, min_size=n, max_size=n), min_size=1, max_size=12)),
    st.sampled_from([",", ";", "|", "\t"]),
)
def test_a_table_without_quoting_keeps_each_of_its_rows(tmp_path: Path, table: list[list[str]], separator: str) -> None:
    lines = [f"img/{n:03}.jpg{separator}{separator.join(cells)}" for n, cells in enumerate(table)]
    plain = separator.join(("img/p.jpg", *["x"] * len(table[0])))
    header = separator.join(("image", *(f"column_{n}" for n in range(len(table[0])))))
    rows = rows_of(tmp_path, "\n".join((header, plain, plain, *lines)))
    assert [row[0] for row in rows[2:]] == [f"img/{n:03}.jpg" for n in range(len(table))]
