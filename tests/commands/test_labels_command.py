"""``labels``: build from tables, import, search, check."""

from __future__ import annotations

import csv
import json
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command_samples import Bioclip
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.labels.checklist import check_names, find_labels
from bioclip_core.labels.label_set import LabelSet
from bioclip_plugin.commands.taxon_tables import read_checklist, read_taxa
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel


def test_a_label_set_is_built_from_a_table_and_the_input_is_reported(bioclip: Bioclip, taxa: Path) -> None:
    said = bioclip("labels", "build", taxa, "--model", "fake", "--output", "labels")
    assert said.code == 0
    assert "5 rows read: 3 distinct taxa, 1 merged, 1 without a name" in said.out
    assert "no vector is masked" in said.out
    again = bioclip("labels", "build", taxa, "--model", "fake", "--output", "labels")
    assert (again.code, "nothing was left to do" in again.out) == (0, True)


def test_dropped_rows_and_changed_names_are_listed_by_kind_with_their_first_examples(bioclip: Bioclip) -> None:
    Path("list.csv").write_text(
        "scientificName,kingdom,taxonRank\n"
        "Red fictus L.,Fictia,species\n"
        "Unidentified beetle,Fictia,\n"
        "Incertae sedis,,\n"
        "Type of Red,,\n"
        "Green Mill.,Fictia,Gattung\n"
        "Blue pictus,Fictia,genus\n"
        "Green cf. viridis,Fictia,\n"
    )
    said = bioclip("labels", "build", "list.csv", "--model", "fake", "--output", "labels")
    labels = LabelSet.open("labels")
    assert {labels.taxon(row).scientific_name for row in range(len(labels))} == {"Red fictus", "Green", "Blue"}
    for line in (
        "rows without a usable name are dropped: 3 (the first: row 3 of list.csv, 'Unidentified beetle': a placeholder, not a name)",
        "names changed: authority removed: 2 (the first: 'Red fictus L.' → 'Red fictus')",
        "names changed: cut at the rank that the row states: 1 (the first: 'Blue pictus' → 'Blue')",
        "names changed: species in doubt or not given; labelled by its genus: 1 (the first: 'Green cf. viridis' → 'Green')",
    ):
        assert line in said.out


def test_several_tables_of_several_kinds_are_joined(bioclip: Bioclip, taxa: Path) -> None:
    parquet.write_table(
        pa.table({"genus": ["Green", "Blue"], "species": ["viridis", "Blue caerulea"], "n": [1, 2]}), "more.parquet"
    )
    Path("gbif.tsv").write_text('taxonID\tscientificName\tremarks\n9\tRed ruber L.\tsaid "red\n', "utf-8")
    said = bioclip("labels", "build", taxa, "more.parquet", "gbif.tsv", "--model", "fake", "--output", "joined")
    names = {LabelSet.open("joined").taxon(row).scientific_name for row in range(6)}
    assert "8 rows read: 6 distinct taxa" in said.out
    assert names == {"Red fictus", "Green fictus", "Blue pictus", "Green viridis", "Blue caerulea", "Red ruber"}
    assert "masked vectors, which are never an answer: 3 duplicate" in said.out  # the fake tower reads only colours


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_or_terminated_build_continues_with_the_same_command(
    bioclip: Bioclip, taxa: Path, model: FakeModel, number: signal.Signals
) -> None:
    whole = model.encoder.encode_texts
    model.encoder.encode_texts = lambda _texts: signal.raise_signal(number)  # type: ignore[method-assign,assignment,return-value]
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("the command does not handle SIGTERM"))
    said = bioclip("labels", "build", taxa, "--model", "fake", "--output", "labels")
    signal.signal(signal.SIGTERM, before)
    assert (said.code, "The same command continues" in said.out) == (130, True)
    assert bioclip("labels", "show", "labels").code == 1
    model.encoder.encode_texts = whole  # type: ignore[method-assign]
    assert bioclip("labels", "build", taxa, "--model", "fake", "--output", "labels").code == 0


def test_a_model_without_a_text_tower_is_refused_in_one_line(
    bioclip: Bioclip, taxa: Path, manager: BioclipPluginManager
) -> None:
    manager.register(FakeModel("blind", text_tower=False), name="blind")
    refused = bioclip("labels", "build", taxa, "--model", "blind", "--output", "labels")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "prototypes" in refused.err


def test_a_table_without_ranks_is_refused_with_the_columns_it_has(bioclip: Bioclip) -> None:
    Path("no.csv").write_text("image,colour\na.jpg,red\n")
    refused = bioclip("labels", "build", "no.csv", "--model", "fake", "--output", "x")
    assert refused.code == 1
    assert all(word in refused.err for word in ("no.csv", "image, colour", "specificEpithet", "vernacularName"))


@pytest.mark.parametrize("name", ["missing.csv", "missing.parquet"])
def test_a_table_that_cannot_be_read_is_named(bioclip: Bioclip, name: str) -> None:
    refused = bioclip("labels", "build", name, "--model", "fake", "--output", "x")
    assert refused.code == 1
    assert name in refused.err


@pytest.mark.parametrize("read", [read_taxa, read_checklist])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut.zip", "truncated or damaged: copy it again"),
        ("whole.zip", "not a table of text"),
        ("nul.csv", "is not a text file"),
    ],
)
def test_bytes_that_are_not_text_are_not_read_as_columns(
    tmp_path: Path, read: Callable[[Path], Iterator[object]], name: str, said: str
) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("taxa.csv", "genus,species\n" + "Red,fictus\n" * 100)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:600])
    (tmp_path / "nul.csv").write_bytes(b"\x00\x01\x02,\x1b[31m\n1,2\n")
    with pytest.raises(SourceError, match=said) as refused:
        list(read(tmp_path / name))
    assert str(refused.value).isprintable()


def test_columns_are_shown_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\x1b[31m,b\n1,2\n")
    for read in (read_taxa, read_checklist):
        with pytest.raises(SourceError, match=r"a\\x1b\[31m, b") as refused:
            list(read(tmp_path / "t.csv"))
        assert str(refused.value).isprintable()


def test_columns_are_found_without_case_and_cells_are_cleaned(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('\ufeffFamily;Genus;SPECIES;Vernacular_Name;note\nfelidae;LYNX;Lynx fictus;"a; cat";x\n', "utf-8")
    (taxon,) = read_taxa(table)
    assert (taxon.family, taxon.scientific_name, taxon.common_name) == ("Felidae", "Lynx fictus", "a; cat")


def test_published_files_are_imported(bioclip: Bioclip) -> None:
    names = [
        [["Fictia", "", "", "", "", "Red", "fictus"], "scarlet"],
        [["Fictia", "", "", "", "", "Blue", "pictus"], ""],
    ]
    Path("n.json").write_text(json.dumps(names))
    np.save("e.npy", np.array([[2, 0], [0, 0], [0, 3]], dtype=np.float32))
    said = bioclip("labels", "import", "e.npy", "n.json", "--model", "fake", "--output", "imported")
    labels = LabelSet.open("imported")
    assert said.code == 0
    assert [labels.taxon(row).genus for row in range(2)] == ["Blue", "Red"]
    assert labels.embeddings_ND.tolist() == [[0, 0, 1], [1, 0, 0]]
    refused = bioclip("labels", "import", "e.npy", "nowhere.json", "--model", "fake", "--output", "x")
    assert (refused.code, "nowhere.json" in refused.err) == (1, True)


def test_a_label_set_is_shown(bioclip: Bioclip, labels: str) -> None:
    said = bioclip("labels", "show", labels).out.splitlines()
    assert "labels: 3 of 3 numbers" in said
    assert "distinct: 1 kingdom, 0 phylum, 0 class, 0 order, 2 family, 3 genus, 3 species" in said
    assert "block: rows 0 to 3, text, scale 10, bias 0" in said
    assert bioclip("labels", "show").code == 2
    without = bioclip("labels", "show", "--model", "fake")
    assert (without.code, "not on this machine" in without.err) == (1, True)


def found(labels: str, text: str) -> list[str]:
    opened = LabelSet.open(labels)
    return [
        f"{opened.taxon_at(row, level)[0].scientific_name} {rows}" for level, row, rows in find_labels(opened, text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red fictus", ["Red fictus 1"]),
        ("RED", ["Red 1"]),  # the genus; a species is found by its epithet or by both names
        ("fict", ["Fictia 3", "Green fictus 1", "Red fictus 1"]),
        ("coldidae", ["Coldidae 2"]),
        ("gr fi", ["Green fictus 1"]),
        ("invention", ["Blue pictus 1", "Green fictus 1", "Red fictus 1"]),
        ("scarlet invention", ["Red fictus 1"]),
        ("pictus", ["Blue pictus 1"]),
        ("nothing", []),
        ("  ", []),
    ],
)
def test_names_are_found_whole_and_in_part(labels: str, text: str, expected: list[str]) -> None:
    assert found(labels, text) == expected


def test_a_search_shows_lineages_and_no_more_than_twenty(bioclip: Bioclip) -> None:
    rows = [f"Fictia,Manyidae,Red{'a' * n},minor{'a' * n}" for n in range(25)]
    Path("many.csv").write_text("kingdom,family,genus,species\n" + "\n".join(rows))
    bioclip("labels", "build", "many.csv", "--model", "fake", "--output", "many")
    said = bioclip("labels", "search", "minor", "Manyidae", "--labels", "many").out
    assert "and 5 more" in said
    assert sum("\tspecies\t1\tFictia Manyidae Red" in line for line in said.splitlines()) == 20
    assert "Manyidae\tfamily\t25\tFictia Manyidae" in said


def test_a_masked_label_is_shown_as_one(bioclip: Bioclip) -> None:
    Path("two.csv").write_text("genus,species\nRed,fictus\nRed,pictus\n")
    bioclip("labels", "build", "two.csv", "--model", "fake", "--output", "two")
    assert "Red pictus (masked: never an answer)" in bioclip("labels", "search", "pictus", "--labels", "two").out


def test_the_doctor_says_how_much_of_a_checklist_can_be_named(bioclip: Bioclip, labels: str) -> None:
    Path("list.txt").write_text("Red fictus\n\nBlue nullus\n=Nix nix\n")
    said = bioclip("labels", "doctor", labels, "--checklist", "list.txt", "--output", "findings.csv")
    assert said.code == 0
    for line in ("Checklist: 3 names", "  1 named (33.3%)", "  1 genus only (33.3%)", "  1 missing (33.3%)"):
        assert line in said.out.splitlines()
    with Path("findings.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:2] for row in rows[1:]] == [
        ["Red fictus", "named"],
        ["Blue nullus", "genus only"],
        ["'=Nix nix", "missing"],
    ]
    assert bioclip("labels", "doctor", labels, "--output", "f.csv").code == 2


def test_the_doctor_finds_a_file_that_changed(bioclip: Bioclip, labels: str) -> None:
    assert bioclip("labels", "doctor", labels).code == 0
    path = Path(labels) / "embeddings.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said = bioclip("labels", "doctor", labels)
    assert said.code == 1
    assert "label set labels is damaged: embeddings.npy is not the file that was made" in said.err


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "Red fictus\n\n  Blue pictus \n", ["Red fictus", "Blue pictus"]),
        ("b.csv", "n,scientificName\n1,Red fictus L.\n2,Coldidae\n3,\n", ["Red fictus", "Coldidae"]),
        ("c.csv", "species\nRed fictus\nBlue pictus\n", ["Red fictus", "Blue pictus"]),
        ("d.csv", "name,colour\nRed fictus,red\n", ["Red fictus"]),
        ("e.tsv", "genus\tspecificEpithet\nRed\tfictus\nBlue\t\n", ["Red fictus", "Blue"]),
        ("f.csv", "family,genus,species\nColdidae,Blue,pictus\nColdidae,,\n", ["Blue pictus", "Coldidae"]),
    ],
)
def test_a_checklist_is_read_from_many_kinds_of_file(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert list(read_checklist(tmp_path / name)) == expected


def test_a_checklist_without_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,colour\na,b\n")
    with pytest.raises(SourceError, match=r"image, colour.*scientificName"):
        list(read_checklist(tmp_path / "x.csv"))


def test_the_names_that_are_read_are_those_the_check_knows(labels: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("scientificName\nRed fictus (Linnaeus, 1758)\n")
    assert [f.outcome for f in check_names(LabelSet.open(labels), read_checklist(tmp_path / "x.csv"))] == ["named"]


def test_names_of_a_list_are_mapped_split_or_taken_as_words(bioclip: Bioclip) -> None:
    Path("list.csv").write_text("scientificName\nRed fictus\nRed fictus; Green viridis\nBlank\nblue fish\n")
    Path("map.csv").write_text("written_name,map_to\nblue fish,Blue pictus\n")
    options = ("list.csv", "--model", "fake", "--output")

    def names(*given: str) -> set[str]:
        said = bioclip("labels", "build", *options, "".join(given), *given)
        assert said.code == 0, said.err
        labels = LabelSet.open("".join(given))
        return {labels.taxon(row).scientific_name for row in range(len(labels))}

    assert names("--split-names") == {"Red fictus", "Green viridis"}
    assert names("--map", "map.csv") == {"Red fictus", "Blue pictus"}
    assert names("--plain-labels") == {"Red fictus", "blue fish"}
