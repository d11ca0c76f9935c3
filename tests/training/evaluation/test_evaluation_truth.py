"""Labels that are right for a catalog's taxon, even if the label set has other higher ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.evaluation.truth import truths_of
from bioclip_training.evaluation.zero_shot import level_name


def label_set(taxa: Sequence[Taxon], masked: Sequence[int] = ()) -> LabelSet:
    rows = np.eye(len(taxa), dtype=np.float16)
    identity = {"weights_sha256": "0" * 64, "source": "invented", "revision": ""}
    labels = in_memory(taxa, rows, identity, [Block(0, len(taxa), "text", 1.0)])
    labels.manifest["masked"] = list(masked)
    return LabelSet(labels.table, labels.embeddings_ND, labels.manifest)


def right_names(taxon: Taxon, labels: LabelSet, level: str) -> set[str]:
    """Return the taxa that are right for a taxon, with their families."""
    truth = truths_of([taxon], labels)[level]
    starts = labels.spans(truth.level).starts_S
    found = [labels.taxon_at(int(starts[span]), truth.level)[0] for span in truth.spans_CK[0] if span >= 0]
    return {f"{other.kingdom}/{other.family}/{other.scientific_name}" for other in found}


OAK = Taxon.of(["Plantae", "P", "C", "O", "Fagaceae", "Quercus", "robur"])


def test_the_whole_lineage_comes_first() -> None:
    other = Taxon.of(["Plantae", "P", "C", "O", "Otheraceae", "Quercus", "robur"])
    labels = label_set([OAK, other])
    assert right_names(OAK, labels, "species") == {"Plantae/Fagaceae/Quercus robur"}
    assert right_names(OAK, labels, "label") == {"Plantae/Fagaceae/Quercus robur"}


def test_other_higher_ranks_are_ignored_if_the_name_is_the_same() -> None:
    labels = label_set(
        [
            Taxon.of(["Plantae", "", "", "", "Beechaceae", "Quercus", "robur"]),
            Taxon.of(["Plantae", "", "", "", "", "Acer"]),
        ]
    )
    assert right_names(OAK, labels, "species") == {"Plantae/Beechaceae/Quercus robur"}
    assert right_names(OAK, labels, "genus") == {"Plantae/Beechaceae/Quercus"}
    assert right_names(OAK, labels, "family") == set()


def test_a_genus_under_two_families_is_right_under_both() -> None:
    labels = label_set(
        [
            Taxon.of(["Plantae", *[""] * 3, "A", "Quercus", "rubra"]),
            Taxon.of(["Plantae", *[""] * 3, "B", "Quercus", "alba"]),
        ]
    )
    assert right_names(OAK, labels, "genus") == {"Plantae/A/Quercus", "Plantae/B/Quercus"}


def test_a_homonym_of_another_kingdom_is_never_right() -> None:
    bird = Taxon.of(["Animalia", "", "", "", "Muscicapidae", "Oenanthe", "oenanthe"])
    plant = Taxon.of(["Plantae", "", "", "", "Apiaceae", "Oenanthe", "aquatica"])
    elsewhere = Taxon.of(["Plantae", "", "", "", "Umbelliferae", "Oenanthe", "aquatica"])
    labels = label_set([bird, plant])
    assert right_names(elsewhere, labels, "genus") == {"Plantae/Apiaceae/Oenanthe"}
    assert right_names(Taxon.of([*[""] * 5, "Oenanthe"]), labels, "genus") == set()  # the kingdom is not known


def test_a_name_without_a_kingdom_is_found_if_it_is_unique() -> None:
    assert right_names(Taxon.of([*[""] * 5, "Quercus", "robur"]), label_set([OAK]), "species") == {
        "Plantae/Fagaceae/Quercus robur"
    }


def test_the_exact_taxon_of_a_genus_is_the_genus_and_none_of_its_species() -> None:
    genus = OAK.truncated(Rank.GENUS)
    truth = truths_of([genus], label_set([OAK, genus]))
    assert right_names(genus, label_set([OAK, genus]), "label") == {"Plantae/Fagaceae/Quercus"}
    assert right_names(genus, label_set([OAK]), "label") == set()
    assert truth["species"].named_C.tolist() == [False]
    assert truth["genus"].named_C.tolist() == [True]


def test_a_masked_label_is_no_possible_answer() -> None:
    acer = Taxon.of(["Plantae", "", "", "", "Sapindaceae", "Acer", "rubrum"])
    labels = label_set([OAK, acer], masked=[0])
    gone = labels.taxon(0)
    assert right_names(gone, labels, "species") == set()
    assert right_names(gone, labels, "genus") == set()


def test_a_plain_label_counts_as_a_label_and_at_no_rank() -> None:
    fox = Taxon.plain("arctic fox")
    truths = truths_of([fox], label_set([fox, Taxon.plain("roe deer")]))
    assert {level for level, truth in truths.items() if truth.named_C.any()} == {"label"}
    assert level_name("label", ["label"]) == "label"
    assert level_name("label", ["genus", "label"]) == "exact taxon"
