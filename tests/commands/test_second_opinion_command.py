"""``second-opinion``: the most surprising specimens first, and the number of specimens per judgement."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_samples import Bioclip


@pytest.fixture
def museum(bioclip: Bioclip, photos: Path, labels: str) -> str:
    """Collection with one specimen catalogued under another's species, and one under a name outside the label set."""
    Path("museum.csv").write_text(
        "image,catalogNumber,scientificName,kingdom\n"
        "photos/red.png,R 1,Red fictus,Fictia\n"
        "photos/green.png,=G 2,Red fictus,Fictia\n"
        "photos/blue.png,B 3,Vulpes vulpes,Animalia\n"
    )
    assert bioclip("classify", "museum.csv", "--model", "fake", "--labels", labels, "--store", "museum.db").code == 0
    return "museum.db"


def test_the_most_surprising_specimen_comes_first(bioclip: Bioclip, museum: str) -> None:
    done = bioclip("second-opinion", "--store", museum, "--output", "opinion.csv")
    assert done.code == 0, done.err
    assert "Run 1: 3 answered images or boxes" in done.out
    with Path("opinion.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [(row["catalog_number"], row["judgement"], row["in_label_set"]) for row in rows] == [
        ("'=G 2", "conflict", "yes"), ("R 1", "agree", "yes"), ("B 3", "not in the label set", "no"),
    ]  # fmt: skip
    assert float(rows[0]["surprise"]) > 0
    assert (rows[1]["surprise"], rows[2]["surprise"]) == ("0", "")


def test_names_that_are_in_doubt_or_not_read_are_counted_with_the_first_example(bioclip: Bioclip, museum: str) -> None:
    Path("museum.csv").write_text(
        "image,catalogNumber,scientificName,kingdom\n"
        "photos/red.png,R 1,Red fictus?,Fictia\n"
        "photos/green.png,G 2,Unidentified leaf,Fictia\n"
        "photos/blue.png,B 3,Caerulea picta x rubens,Fictia\n"
    )
    bioclip("classify", "museum.csv", "--model", "fake", "--labels", "labels", "--store", "doubts.db")
    done = bioclip("second-opinion", "--store", "doubts.db")
    assert "name not read" in done.out
    assert "catalogued names cannot be read and are not compared: 1 (the first: G 2: 'Unidentified leaf'" in done.out
    assert (
        "catalogued names are in doubt and compared by what is certain or suggested: 2 (the first: R 1: 'Red fictus?')"
        in done.out
    )


def test_every_row_can_be_had_as_json(bioclip: Bioclip, museum: str) -> None:
    done = bioclip("second-opinion", "--store", museum, "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["answer"] for row in rows] == ["Green fictus", "Red fictus", "Blue pictus"]
    assert "conflict" in done.err


def test_without_the_label_set_it_is_left_open_whether_a_name_is_in_it(bioclip: Bioclip, museum: str) -> None:
    Path("labels").rename("elsewhere")
    said = bioclip("second-opinion", "--store", museum, "--json")
    assert {json.loads(line)["in_label_set"] for line in said.out.splitlines()} == {None}
    assert "--labels" in said.err
    given = bioclip("second-opinion", "--store", museum, "--json", "--labels", "elsewhere")
    assert {json.loads(line)["in_label_set"] for line in given.out.splitlines()} == {"yes", "no"}
