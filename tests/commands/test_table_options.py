"""Tables of other programs in every command that takes one: other headings, other encodings, and workbooks."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from command_samples import Bioclip

from bioclip_core.labels.label_set import LabelSet
from bioclip_plugin.store import Store

GERMAN = "Bilddatei;Art;Reich\nphotos/red.png;Red fictus;Fictia\nphotos/grün.png;Green fictus;Fictia\n"


def workbook(name: str, *rows: tuple[object, ...]) -> str:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(name)
    return name


@pytest.fixture
def german(photos: Path) -> str:
    (photos / "green.png").rename(photos / "grün.png")
    Path("german.csv").write_bytes(GERMAN.encode("cp1252"))
    return "german.csv"


def test_classify_proposes_the_option_and_reads_the_table_with_it(bioclip: Bioclip, german: str) -> None:
    refused = bioclip("classify", german, "--model", "fake", "--labels", "l.txt", "--store", "s.db")
    Path("l.txt").write_text("red\ngreen\n")
    refused = bioclip("classify", german, "--model", "fake", "--labels", "l.txt", "--store", "s.db")
    assert refused.code == 1
    assert "it has Bilddatei, Art, Reich; one must be called" in refused.err
    assert "--column image=Bilddatei" in refused.err
    done = bioclip(
        "classify", german, "--model", "fake", "--labels", "l.txt", "--store", "s.db", "--column", "image=Bilddatei"
    )
    assert done.code == 0
    assert "cells are not UTF-8 and are read as Windows-1252" in done.out
    with Store.open("s.db", create=False) as store:
        assert [stored.item.uri for stored in store.items_of(store.run())] == ["photos/red.png", "photos/grün.png"]


def test_options_of_tables_without_a_table_are_reported(bioclip: Bioclip, photos: Path) -> None:
    Path("l.txt").write_text("red\ngreen\n")
    said = bioclip("classify", photos / "red.png", "--model", "fake", "--labels", "l.txt", "--encoding", "cp1252")
    assert "options of tables (--column, --encoding) have no effect" in said.out


def test_rows_that_are_skipped_are_counted_by_verify(bioclip: Bioclip, photos: Path) -> None:
    Path("l.txt").write_text("red\ngreen\n")
    Path("t.csv").write_text("image,deployment\nphotos/red.png,A\n./photos/red.png,B\n,C\n")
    done = bioclip("classify", "t.csv", "--model", "fake", "--labels", "l.txt", "--store", "s.db")
    assert (done.code, "3 images, 1 done, 2 failed" in done.out) == (3, True)
    assert "row 2: the same image as row 1, with other values: deployment 'B' instead of 'A'" in done.out
    assert "3 listed = 1 answered + 2 failed + 0 to do" in bioclip("runs", "verify", "--store", "s.db").out


def test_labels_are_built_from_a_workbook_and_from_other_headings(bioclip: Bioclip, german: str) -> None:
    sheet = workbook(
        "taxa.xlsx", ("Loan 7",), ("Taxon", "Kingdom"), ("Red fictus", "Fictia"), ("Blue pictus", "Fictia")
    )
    refused = bioclip("labels", "build", german, "--model", "fake", "--output", "labels")
    assert (refused.code, "--column scientificName=HEADING" in refused.err) == (1, True)
    options = ("--column", "scientific name=Art", "--column", "kingdom=Reich", "--encoding", "cp1252")
    assert bioclip("labels", "build", german, "--model", "fake", "--output", "labels", *options).code == 0
    assert LabelSet.open("labels").taxon(0).scientific_name == "Green fictus"
    said = bioclip("labels", "build", sheet, "--model", "fake", "--output", "l2", "--column", "scientificName=Taxon")
    assert (said.code, "2 labels" in said.out) == (0, True)
    doctor = bioclip("labels", "doctor", "l2", "--checklist", sheet, "--column", "scientificName=Taxon")
    assert "2 named (100.0%)" in doctor.out


def test_a_catalog_is_built_from_a_workbook_and_from_other_headings(bioclip: Bioclip, german: str) -> None:
    options = ("--group-by", "image", "--column", "image=Bilddatei", "--column", "scientificName=Art")
    done = bioclip("catalog", "build", german, "--output", "c.parquet", *options)
    assert (done.code, "2 rows read: 2 in the catalog" in done.out) == (0, True)
    assert "--encoding states another encoding: 1 " in done.out
    sheet = workbook("s.xlsx", ("image", "scientificName"), ("photos/red.png|photos/blue.png", "Red fictus"))
    done = bioclip("catalog", "build", f"{sheet}#Sheet", "--output", "d.parquet", "--group-by", "image")
    assert (done.code, "2 rows read: 2 in the catalog" in done.out) == (0, True)
    assert "cells name several images; each of them is an item with the values of its row: 1 " in done.out


def test_names_are_resolved_from_a_workbook(bioclip: Bioclip) -> None:
    checklist = workbook("list.xlsx", ("kingdom", "genus", "species"), ("Fictoplantae", "Fictomala", "alba"))
    assert bioclip("taxonomy", "build", checklist, "--output", "t.taxonomy").code == 0
    sheet = workbook("names.xlsx", ("Art",), ("Fictomala alba",))
    said = bioclip("taxonomy", "resolve", "--names", sheet, "--column", "name=Art", "--taxonomy", "t.taxonomy")
    assert "Fictomala alba,exact,Fictomala alba" in said.out
    refused = bioclip("taxonomy", "resolve", "x", "--column", "name=Art", "--taxonomy", "t.taxonomy")
    assert (refused.code, "give it with --names FILE" in refused.err) == (2, True)


def test_reviews_are_imported_from_other_headings(bioclip: Bioclip, classified: str) -> None:
    sheet = workbook("r.xlsx", ("Datei", "Bestimmung", "Wer"), ("photos/red.png", "Red fictus", "Ann"))
    options = ("--column", "image=Datei", "--column", "reviewer=Wer", "--store", classified)
    for name in (("--name-column", "Bestimmung"), ("--column", "scientific_name=Bestimmung")):
        done = bioclip("review", "import", sheet, *options, *name)
        assert (done.code, "1 row (table): " in done.out) == (0, True)
    with Store.open(classified, create=False) as store:
        ((review),) = store.reviews()
    assert (review.reviewer, review.target.uri) == ("Ann", "photos/red.png")
    refused = bioclip("review", "import", sheet, *options, "--column", "bild=Datei")
    assert (refused.code, "bild is not a field" in refused.err) == (2, True)


def test_second_opinions_take_names_from_other_headings(bioclip: Bioclip, photos: Path) -> None:
    Path("l.txt").write_text("red\ngreen\n")
    Path("t.csv").write_text("image,Art,Nr\nphotos/red.png,Red fictus,B 7\n")
    assert bioclip("classify", "t.csv", "--model", "fake", "--labels", "l.txt", "--store", "s.db").code == 0
    columns = ("--column", "scientific_name=art", "--column", "catalogNumber=Nr")
    said = bioclip("second-opinion", "--store", "s.db", "--json", *columns)
    assert '"catalog_number": "B 7", "catalogued_name": "Red fictus"' in said.out
    refused = bioclip("second-opinion", "--store", "s.db", "--column", "scientific_name=nix")
    assert (refused.code, "--column nix: no image of run 1 has a value" in refused.err) == (1, True)


def test_common_names_come_from_other_headings(bioclip: Bioclip, classified: str) -> None:
    Path("n.csv").write_bytes("Art;Sprache;Name\nRed fictus;de;Käfer\n".encode("cp1252"))
    columns = ("--column", "scientificName=Art", "--column", "language=Sprache", "--column", "vernacularName=Name")
    done = bioclip("report", "--store", classified, "--names", "n.csv", "--output", "r.html", *columns)
    assert (done.code, "cells are not UTF-8" in done.out) == (0, True)
    assert "Käfer" in Path("r.html").read_text("utf-8")
    refused = bioclip("report", "--store", classified, "--names", "n.csv", "--output", "q.html")
    assert (refused.code, "--column scientificName=HEADING" in refused.err) == (1, True)


def test_words_and_lists_of_rules_come_from_workbooks(bioclip: Bioclip, photos: Path) -> None:
    words = workbook("words.xlsx", ("label", "group"), ("red", "warm"), ("green", "cold"))
    done = bioclip("classify", photos / "red.png", "--model", "fake", "--labels", words, "--store", "s.db")
    assert (done.code, "Labels" in done.out) == (0, True)
    wrong = workbook("wrong.xlsx", ("wort",), ("red",))
    refused = bioclip("classify", photos / "red.png", "--model", "fake", "--labels", wrong, "--store", "s.db")
    assert (refused.code, "a column named label is needed" in refused.err, "found wort" in refused.err) == (
        1,
        True,
        True,
    )
