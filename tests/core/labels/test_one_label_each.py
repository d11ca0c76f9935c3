"""Label sets of several lists follow the rule of catalogs: one label per taxon, contradictory lineages stay apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core_samples import ENCODER, random_rows

from bioclip_core.labels.building import build_label_set
from bioclip_core.labels.joining import join_prototypes, matching_rows, named_with_other_ranks
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.prototypes import build_prototypes
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.testing import FakeEncoder

RED = Taxon("Animalia", "Chordata", "", "Perciformes", "Labridae", "Rubra", "red")
BARE = Taxon(genus="Rubra", species="red", common_name="red fish")
BLUE = Taxon("Animalia", "Chordata", "", "Perciformes", "Labridae", "Caerula", "blue")
OTHER = Taxon("Animalia", "Chordata", "", "Perciformes", "Scaridae", "Rubra", "red")


def test_a_list_with_genus_and_epithet_alone_adds_no_second_label(tmp_path: Path) -> None:
    built = build_label_set([BARE, RED, BLUE], FakeEncoder(), tmp_path / "labels")
    assert [built.labels.taxon(row).lineage for row in range(len(built.labels))] == [BLUE.lineage, RED.lineage]
    assert built.labels.taxon(1).common_name == "red fish"
    assert (built.merged, built.empty) == (1, 0)
    assert built.joined.lines("advice") == [
        "taxa that are written with ranks missing somewhere, and are one label each: 1 (Rubra red)"
    ]


def test_two_families_of_one_species_are_two_labels_and_are_named(tmp_path: Path) -> None:
    built = build_label_set([BARE, RED, OTHER, BLUE], FakeEncoder(), tmp_path / "labels")
    assert len(built.labels) == 4
    (line,) = built.joined.lines("advice")
    assert line.startswith(
        "names with contradictory lineages, which stay several labels and share the probability: 1 (species Rubra red"
    )
    assert line.endswith("; advice")


def test_the_rows_of_a_label_set_are_the_same_in_any_order_of_the_lists(tmp_path: Path) -> None:
    taxa = [BARE, RED, BLUE]
    ids = {build_label_set(order, FakeEncoder(), tmp_path / str(place)).labels.manifest["id"]
           for place, order in enumerate([taxa, taxa[::-1]])}  # fmt: skip
    assert len(ids) == 1


def test_examples_with_ranks_missing_make_one_prototype(tmp_path: Path) -> None:
    rows = random_rows(6, 8, 1)
    made = build_prototypes(rows, [BARE, RED, RED, BLUE, BLUE, BLUE], ENCODER, tmp_path / "prototypes")
    assert len(made) == 2


@pytest.mark.parametrize("taxon", [BARE, RED, Taxon("Animalia", "", "", "", "Labridae", "Rubra", "red")])
def test_a_prototype_takes_the_place_of_the_text_row_of_its_taxon(taxon: Taxon, tmp_path: Path) -> None:
    text = labels_of(tmp_path, [BLUE, RED])
    rows = np.repeat(random_rows(1, 8, 3), 4, axis=0)
    joined, fit = join_prototypes(text, rows, [taxon, RED, taxon, RED], tmp_path / "joined")
    assert len(joined) == 2
    assert fit.added == 0


def test_of_two_rows_of_one_name_the_one_that_contradicts_nothing_is_the_taxon(tmp_path: Path) -> None:
    text = labels_of(tmp_path, [RED, OTHER, BLUE])
    family = Taxon("", "", "", "", "Scaridae", "Rubra", "red")
    found = matching_rows(text, [family, BARE, BLUE])
    assert [text.taxon(int(row)).family if row >= 0 else None for row in found] == ["Scaridae", None, "Labridae"]


def test_a_taxon_that_is_taken_by_its_name_though_its_family_differs_is_named(tmp_path: Path) -> None:
    text = labels_of(tmp_path, [RED, BLUE])
    assert named_with_other_ranks(text, [BARE, RED, BLUE]) == []
    assert named_with_other_ranks(text, [OTHER, OTHER, BLUE]) == [
        "Rubra red (Animalia Chordata Perciformes Scaridae Rubra red; there Animalia Chordata Perciformes Labridae Rubra red)"
    ]


def labels_of(folder: Path, taxa: list[Taxon]) -> LabelSet:
    ordered = sorted(taxa, key=lambda taxon: taxon.lineage)
    rows = random_rows(len(ordered), 8, 2)
    return write_label_set(
        folder / "text", ordered, rows, ENCODER, Block(0, len(ordered), "text", 12.0), {"captions": "taxonomic"}
    )
