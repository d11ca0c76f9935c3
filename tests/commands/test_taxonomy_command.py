"""``taxonomy``: an index is built, and names are resolved against it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command_samples import Bioclip

TABLE = """kingdom,family,genus,species,synonyms
Fictoplantae,Fictaceae,Fictomala,alba,Fictomala candida
Fictoplantae,Fictaceae,Fictomala,× schmittii,
Fictanimalia,Fictidae,Fictomala,canora,
"""


@pytest.fixture
def taxonomy(bioclip: Bioclip) -> str:
    Path("list.csv").write_text(TABLE, "utf-8")
    said = bioclip(
        "taxonomy", "build", "list.csv", "--output", "made.taxonomy", "--checklist", "Inventa", "--version", "3"
    )
    assert said.code == 0
    return "made.taxonomy"


def test_a_build_reports_its_input_and_its_warnings(bioclip: Bioclip) -> None:
    Path("list.csv").write_text(TABLE + "Fictoplantae\n,,,,\n", "utf-8")
    said = bioclip("taxonomy", "build", "list.csv", "--output", "made.taxonomy")
    assert said.code == 0
    assert "10 names of list (table)" in said.out  # 3 species, a synonym, and 2 each of genus, family and kingdom
    assert "By status: 9 accepted, 1 synonym" in said.out
    assert "Odd: 1 lines with fewer cells than the header, 1 rows without a name" in said.out
    assert "give it with --version" in said.out


def test_an_output_that_exists_is_not_replaced_without_force(bioclip: Bioclip, taxonomy: str) -> None:
    before = Path(taxonomy).read_bytes()
    refused = bioclip("taxonomy", "build", "list.csv", "--output", taxonomy)
    assert (refused.code, "--force" in refused.err) == (1, True)
    assert Path(taxonomy).read_bytes() == before
    assert bioclip("taxonomy", "build", "list.csv", "--output", taxonomy, "--force").code == 0


def test_a_source_that_is_no_checklist_is_refused_in_one_line(bioclip: Bioclip) -> None:
    Path("no.csv").write_text("image,colour\n")
    refused = bioclip("taxonomy", "build", "no.csv", "--output", "made.taxonomy")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert not Path("made.taxonomy").exists()


def test_every_candidate_of_a_name_is_shown_with_its_reason(bioclip: Bioclip, taxonomy: str) -> None:
    said = bioclip("taxonomy", "resolve", "Fictomala", "Fictomala X Shmittii", "--taxonomy", taxonomy)
    rows = list(csv.DictReader(io.StringIO(said.out), delimiter="\t"))
    assert said.code == 0
    assert [(row["name"], row["resolved"], row["outcome"]) for row in rows] == [
        ("Fictomala", "", "homonym"), ("Fictomala", "", "homonym"), ("Fictomala", "no", "homonym"),
        ("Fictomala X Shmittii", "yes", "fuzzy"), ("Fictomala X Shmittii", "", "higher rank"),
        ("Fictomala X Shmittii", "", "higher rank"),
    ]  # fmt: skip
    assert rows[3]["accepted"] == "Fictoplantae Fictaceae Fictomala × schmittii"
    assert "ambiguous" in rows[2]["reason"]
    assert "2 names asked of Inventa 3: 1 resolved, 1 not" in said.err
    assert "Not resolved: 1 homonym" in said.err


def test_kingdom_and_rank_tell_names_apart(bioclip: Bioclip, taxonomy: str) -> None:
    said = bioclip("taxonomy", "resolve", "Fictomala", "--taxonomy", taxonomy, "--kingdom", "Fictanimalia")
    assert "1 resolved, 0 not" in said.err
    wrong = bioclip("taxonomy", "resolve", "Fictaceae", "--taxonomy", taxonomy, "--rank", "order")
    assert "wrong rank" in wrong.out
    assert "0 resolved, 1 not" in wrong.err


def test_a_list_of_names_becomes_a_csv(bioclip: Bioclip, taxonomy: str) -> None:
    Path("names.txt").write_text("Fictomala candida\n=Nihilus nullus\n", "utf-8")
    said = bioclip("taxonomy", "resolve", "--names", "names.txt", "--taxonomy", taxonomy)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.code == 0
    assert [(row["name"], row["outcome"], row["accepted_name"]) for row in rows] == [
        ("Fictomala candida", "synonym", "Fictomala alba"),
        ("'=Nihilus nullus", "none", ""),
    ]
    assert (rows[0]["family"], rows[0]["species"]) == ("Fictaceae", "alba")
    assert "synonym of Fictomala alba (Inventa 3)" in rows[0]["reason"]


def test_names_from_standard_input_become_a_csv(
    bioclip: Bioclip, taxonomy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Fictomala alba\n\nFictomala canora\n"))
    said = bioclip("taxonomy", "resolve", "-", "--taxonomy", taxonomy)
    assert [row["kingdom"] for row in csv.DictReader(io.StringIO(said.out))] == ["Fictoplantae", "Fictanimalia"]


def test_json_holds_the_answer_and_every_candidate_a_line_a_name(bioclip: Bioclip, taxonomy: str) -> None:
    said = bioclip("taxonomy", "resolve", "Fictomala candida", "rufictipes", "--taxonomy", taxonomy, "--json")
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert (first["resolved"]["scientific_name"], first["outcome"]) == ("Fictomala alba", "synonym")
    assert [candidate["outcome"] for candidate in first["candidates"]] == ["synonym"]
    assert (second["resolved"], second["outcome"]) == (None, "none")


def test_a_file_that_is_no_taxonomy_and_a_call_without_names_are_refused(bioclip: Bioclip, taxonomy: str) -> None:
    refused = bioclip("taxonomy", "resolve", "Fictomala", "--taxonomy", "list.csv")
    assert (refused.code, "taxonomy build" in refused.err) == (1, True)
    assert bioclip("taxonomy", "resolve", "--taxonomy", taxonomy).code == 2
    assert bioclip("taxonomy", "resolve", "x", "--names", "list.csv", "--taxonomy", taxonomy).code == 2
