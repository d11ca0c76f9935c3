"""Large tables of published collections as they are in the field: quotation marks, encodings, line ends, rows of another length."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import open_table
from bioclip_training.published.reading import text_columns
from bioclip_training.published.reading.tables import EMPTY_MARKS, as_text, open_columns


def rows_of(path: Path, *names: str, findings: Findings | None = None, **options: str) -> list[tuple[str, ...]]:
    table = open_columns(path, Findings() if findings is None else findings, TableOptions(**options))  # type: ignore[arg-type]
    return [
        tuple(row.values())
        for batch in table.columns({name: name for name in names or table.header})
        for row in batch.to_pylist()
    ]


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path: Path, end: str, mark: bytes) -> None:
    path = written(tmp_path, mark + f"id,name{end}1,Acer{end}2,Ficus{end}".encode())
    assert rows_of(path) == [("1", "Acer"), ("2", "Ficus")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings_with_a_mark_are_recognised(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "id,name\n1,Le Pentatome rayé\n".encode(encoding))
    assert rows_of(path) == [("1", "Le Pentatome rayé")]


def test_bytes_of_windows_are_read_as_such_and_reported_beside_utf_8(tmp_path: Path) -> None:
    findings = Findings()
    path = written(tmp_path, "id,name\n1,rayé\n".encode() + "2,rayé\n".encode("latin-1"))
    assert rows_of(path, findings=findings) == [("1", "rayé"), ("2", "rayé")]
    assert [line for line in findings.lines() if "are not UTF-8" in line and ": 1 (" in line]


def test_a_stated_encoding_is_used(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name\n1,Žofín\n".encode("cp1250"))
    assert rows_of(path, encoding="cp1250") == [("1", "Žofín")]


def test_quoted_cells_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,place\n1,"Bonaire, Saba"\n2,"two\nlines"\n3,"say ""b"""\n4,plain\n')
    assert rows_of(path) == [("1", "Bonaire, Saba"), ("2", "two\nlines"), ("3", 'say "b"'), ("4", "plain")]


def test_stray_marks_in_a_tab_separated_table_swallow_no_row(tmp_path: Path) -> None:
    places = ['"NSG Chemnitzaue bei Draisdorf" Mitte', '"open', 'TUBBY" CREEK" SPELLED', "plain", 'end"']
    path = written(tmp_path, "id\tplace\n" + "".join(f"{n}\t{place}\n" for n, place in enumerate(places)), "t.tsv")
    assert rows_of(path) == [(str(n), place) for n, place in enumerate(places)]


def test_marks_in_a_table_that_does_not_quote_are_text(tmp_path: Path) -> None:
    path = written(tmp_path, 'id\tplace\n1\t"Mitte"\n2\t"open\n3\tx\n', "occurrence.txt")
    table = open_columns(path, Findings(), quote="", separator="\t")
    assert [row["p"] for batch in table.columns({"p": "place"}) for row in batch.to_pylist()] == [
        '"Mitte"',
        '"open',
        "x",
    ]


def test_stray_marks_in_a_table_whose_first_rows_have_another_length_are_text(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,a,b\n1,x,y,z\n2,x\n3,"x,y\n4,u,v\n')
    assert sorted(rows_of(path)) == [("1", "x", "y"), ("2", "x", ""), ("3", '"x', "y"), ("4", "u", "v")]


@pytest.mark.parametrize("seed", range(30))
def test_dirty_tables_are_read_as_the_row_reader_of_core_reads_them(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    separator, end, width = draw.choice(",\t;"), draw.choice(["\n", "\r\n"]), draw.randint(2, 5)
    dirt = ('"{}', '{}"', 'a"{}"b', '"{}" x', '"{}' + separator + 'q"', '"{}\n"', '"{}""x"')

    def cell() -> str:
        text = "".join(draw.choice("abé xyz1") for _ in range(draw.randint(0, 6)))
        return draw.choice(dirt).format(text) if draw.random() < 0.15 else text

    rows = [separator.join(cell() for _ in range(width)) for _ in range(draw.randint(2, 40))]
    header = separator.join(f"c{n}" for n in range(width))
    path = written(tmp_path, end.join([header, *rows]) + draw.choice(["", end]))
    of_core = [
        tuple(str(row.cells.get(f"c{n}", "")).strip() for n in range(width))
        for row in open_table(path)
        if not row.fault
    ]
    assert sorted(row for row in rows_of(path) if any(row)) == sorted(row for row in of_core if any(row))


def test_records_that_go_on_in_the_next_block_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        f'{n},"a\nb {n}",z' if n % 7 == 0 else f'{n},"x, {n}",z' if n % 3 == 0 else f"{n},y{n},z" for n in range(400)
    ]
    path = written(tmp_path, "id,text,last\n" + "\n".join(lines) + "\n")
    whole = rows_of(path)
    monkeypatch.setattr(text_columns, "BLOCK_BYTES", 64)
    assert sorted(rows_of(path)) == sorted(whole)
    assert sorted(int(row[0]) for row in whole) == list(range(400))
    assert ("7", "a\nb 7", "z") in whole


def test_a_header_with_one_separator_more_than_its_rows_is_read(tmp_path: Path) -> None:
    """As in occurrence.txt of some downloads of GBIF."""
    findings = Findings()
    path = written(tmp_path, "gbifID\tname\t\n1\tAcer\n2\tFicus\n", "occurrence.txt")
    assert rows_of(path, "gbifID", "name", findings=findings) == [("1", "Acer"), ("2", "Ficus")]
    assert not findings


def test_short_and_long_rows_are_read_and_reported_and_a_cut_end_is_named(tmp_path: Path) -> None:
    findings = Findings()
    path = written(tmp_path, "id,name,place\n1,Acer,here\n2,Ficus\n3,Salix,there,more\n4,Quer")
    assert sorted(rows_of(path, findings=findings)) == [
        ("1", "Acer", "here"), ("2", "Ficus", ""), ("3", "Salix", "there"), ("4", "Quer", ""),
    ]  # fmt: skip
    text = " ".join(findings.lines())
    assert "rows have fewer cells than the header; the missing ones are empty: 2" in text
    assert "tables end in the middle of a row; is the file complete?: 1" in text
    assert "cells are behind the last heading" in text


def test_marks_of_an_unknown_value_are_empty_and_counted_but_namibia_stays(tmp_path: Path) -> None:
    findings = Findings()
    path = written(tmp_path, "genus,country\nNA,NA\nnull,DE\nNone,NA\nAcer,NA\n")
    table = open_columns(path, findings)
    rows = [
        tuple(row.values())
        for batch in table.columns({"g": "genus", "c": "country"}, exact=["c"])
        for row in batch.to_pylist()
    ]
    assert rows == [("", "NA"), ("", "DE"), ("", "NA"), ("Acer", "NA")]
    assert findings.count(EMPTY_MARKS) == 3


def test_zero_bytes_are_left_out(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, b"id,name\n" + b"x,y\n" * 20 + b"1,Ac\0er\n"))[-1] == ("1", "Acer")


def test_columns_are_found_in_any_spelling_and_renamed_on_demand(tmp_path: Path) -> None:
    path = written(tmp_path, "Class ID,data-set,x\n1,test,Acer\n")
    table = open_columns(path, Findings(), TableOptions(column=("genus=x",)))
    batch = next(table.columns({"number": "class_id", "split": "Data Set", "genus": "genus", "nothing": "nothing"}))
    assert batch.to_pylist() == [{"number": "1", "split": "test", "genus": "Acer", "nothing": ""}]


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"lacks the column eolID; it has id, name"):
        open_columns(written(tmp_path, "id,name\n1,x\n"), Findings(), needed=["eolID"])


def test_empty_and_binary_files_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        open_columns(written(tmp_path, "\n"), Findings())
    with pytest.raises(SourceError, match="is not a text file"):
        open_columns(written(tmp_path, b"\0\1\2\3" * 100), Findings())


def test_members_of_zip_archives_are_tables_and_a_cut_archive_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "download.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("occurrence.txt", "gbifID\tname\n" + "".join(f"{n}\tAcer {n}\n" for n in range(2000)))
    assert len(rows_of(archive / "occurrence.txt")) == 2000
    data = bytearray(archive.read_bytes())
    data[2000:2100] = bytes(100)
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"occurrence\.txt is cut short or damaged"):
        rows_of(archive / "occurrence.txt")


def test_parquet_of_hive_is_read_as_text(tmp_path: Path) -> None:
    nested = pa.list_(pa.struct([("array_element", pa.string())]))
    table = pa.table({
        "gbifid": pa.array([7], pa.int64()),
        "mediatype": pa.array([[{"array_element": "StillImage"}, {"array_element": "Sound"}]], nested),
        "latitude": pa.array([1.5]),
        "kind": pa.array(["A"]).dictionary_encode(),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "000001")  # GBIF's own files have no suffix
    assert rows_of(tmp_path) == [("7", "StillImage|Sound", "1.5", "A")]


def test_a_parquet_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "occurrence.parquet"
    parquet.write_table(pa.table({"gbifid": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"occurrence\.parquet cannot be read as Parquet: .*is it complete\?"):
        rows_of(path)


def test_times_of_parquet_are_iso_8601() -> None:
    moments = pa.array([0, 1_500_000, None], pa.timestamp("ms"))
    assert as_text(moments).to_pylist() == ["1970-01-01", "1970-01-01T00:25:00", ""]
