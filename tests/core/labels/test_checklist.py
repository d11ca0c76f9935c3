"""Checklists: name look-up, the share of names that a label set covers, and warnings about a checklist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core_samples import ENCODER, DigestEncoder, label_set

from bioclip_core.labels.checklist import NameIndex, check_names, health_of, subset_of
from bioclip_core.labels.label_set import LabelSet, custom_labels
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon

TAXA = [
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "oenanthe"),
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "merula"),
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "pilaris"),
    Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "aquatica"),
    Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Prunus", "× schmittii"),
    Taxon("Plantae", "Tracheophyta", "", "", "", "Incertae sedis"),
]


def names_of(labels: LabelSet, name: str) -> list[str] | None:
    rows = NameIndex(labels).rows(name)
    return None if rows is None else [labels.taxon(int(row)).scientific_name for row in rows]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Turdus", ["Turdus merula", "Turdus pilaris"]), ("TURDUS MERULA", ["Turdus merula"]),
        ("Turdus merula Linnaeus, 1758", ["Turdus merula"]), ("Oenanthe", ["Oenanthe oenanthe", "Oenanthe aquatica"]),
        ("Prunus x schmittii", ["Prunus × schmittii"]), ("Incertae sedis", ["Incertae sedis"]), ("Rosales", ["Prunus × schmittii"]),
        ("Turdus aquatica", None), ("Nemo", None), ("", None), ("unknown", None), ("merula", None),
    ],
)  # fmt: skip
def test_a_name_of_any_rank_is_looked_up_without_case(name: str, found: list[str] | None) -> None:
    assert names_of(label_set(TAXA), name) == found


def test_names_that_differ_only_in_case_are_all_found() -> None:
    taxa = [Taxon("Animalia", genus="Turdus", species="merula"), Taxon("animalia", genus="TURDUS", species="Merula")]
    assert sorted(names_of(label_set(taxa), "animalia") or []) == ["TURDUS Merula", "Turdus merula"]
    labels = custom_labels(["Fish", "fish", "leaf"], DigestEncoder())
    assert subset_of(labels, ["FISH"]).kept_N.sum() == 2


def test_coverage_of_a_checklist_is_reported_name_by_name(tmp_path: Path) -> None:
    rows = np.eye(6, dtype=np.float32)
    rows[2] = 0  # the row of Turdus pilaris
    labels = write_label_set(tmp_path / "set", TAXA, rows, ENCODER, Block(0, 6, "text", 1.0), {})
    findings = check_names(
        labels,
        [
            "Turdus merula",
            "Turdus pilaris",
            "Turdus viscivorus",
            "Nemo nemo",
            "Oenanthe L.",
            "Oenanthe aquatica",
            "unknown",
            "",
        ],
    )
    assert [(finding.name, finding.outcome) for finding in findings] == [
        ("Turdus merula", "named"), ("Turdus pilaris", "masked"), ("Turdus viscivorus", "genus only"), ("Nemo nemo", "missing"),
        ("Oenanthe L.", "ambiguous"), ("Oenanthe aquatica", "named"), ("unknown", "missing"),
    ]  # fmt: skip
    assert findings[6].detail == "a placeholder, not a name"
    assert findings[2].detail == "Turdus has 2 labels"
    assert "Muscicapidae Oenanthe" in findings[4].detail
    assert "Apiaceae Oenanthe" in findings[4].detail


def test_a_species_placed_twice_is_ambiguous() -> None:
    taxa = [*TAXA, Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Turdus", "merula")]
    (finding,) = check_names(label_set(taxa), ["Turdus merula"])
    assert finding.outcome == "ambiguous"


def test_custom_labels_are_checked_as_words() -> None:
    labels = custom_labels(["red fish", "unknown"], DigestEncoder())
    outcomes = {finding.name: finding.outcome for finding in check_names(labels, ["Red fish", "blue fish", "unknown"])}
    assert outcomes == {"Red fish": "named", "blue fish": "missing", "unknown": "named"}


def test_health_counts_holes_bare_epithets_homonyms_and_masked_rows(tmp_path: Path) -> None:
    taxa = [*TAXA, Taxon("Fungi", species="muscaria")]
    rows = np.eye(7, dtype=np.float32)
    rows[1] = rows[0]
    rows[3] = np.nan
    labels = write_label_set(tmp_path / "set", taxa, rows, ENCODER, Block(0, 7, "text", 1.0), {})
    assert health_of(labels).counts == {
        "masked: duplicate": 1, "masked: not a number": 1, "hole in the lineage": 2, "epithet without genus": 1,
        "genus under several parents": 1,
    }  # fmt: skip
    examples = health_of(labels).examples
    assert examples["genus under several parents"] == ["Oenanthe"]
    assert examples["epithet without genus"] == ["Fungi muscaria"]
    assert health_of(label_set(TAXA[:4])).counts == {"genus under several parents": 1}
    assert health_of(custom_labels(["red"], DigestEncoder())).counts == {}
