"""Arithmetic from features to names; every number is worked out by hand or by a plain fp64 softmax."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_samples import ENCODER, label_set, random_rows, random_taxa
from numpy.typing import NDArray

from bioclip_core.classify import PRIOR_IGNORED, Candidate, Classification, Classifier, consensus_of
from bioclip_core.errors import UsageError
from bioclip_core.labels.checklist import subset_of
from bioclip_core.labels.label_set import LabelSet, custom_labels, in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.testing import FakeEncoder

TAXA = [
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "oenanthe"),
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "isabellina"),
    Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "aquatica"),
    Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae"),
]


def from_logits(taxa: list[Taxon], logits: list[float], **settings: Any) -> tuple[LabelSet, NDArray[np.float16]]:
    """Return a label set and the feature that has these logits with it. Label n is the unit vector n, and the scale is 1."""
    labels = label_set(taxa, np.eye(len(taxa), dtype=np.float16), scale=1.0, **settings)
    return labels, np.array([logits], dtype=np.float16)


def softmax(labels: LabelSet, features_BD: NDArray[Any], weights_N: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Compute the B×N probabilities in fp64, written out."""
    block = labels.blocks[0]
    features = features_BD.astype(np.float64)
    if block.feature_mean is not None:
        features = features - np.array(block.feature_mean)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    logits = block.scale * features @ np.asarray(labels.embeddings_ND, dtype=np.float64).T + block.bias
    powers = np.exp(logits - logits[:, labels.kept_N].max(axis=1, keepdims=True)) * labels.kept_N
    if weights_N is not None:
        powers = powers * weights_N
    expected: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return expected


def sums_by_path(labels: LabelSet, probabilities_N: NDArray[np.float64], rank: Rank) -> dict[tuple[str, ...], float]:
    sums: dict[tuple[str, ...], float] = {}
    for row, probability in enumerate(probabilities_N):
        path = labels.taxon(row).lineage[: rank.depth + 1]
        sums[path] = sums.get(path, 0.0) + float(probability)
    return sums


def assert_as_brute_force(
    labels: LabelSet, found: list[Classification], probabilities_BN: NDArray[np.float64], rank: Rank, top: int
) -> None:
    for classification, probabilities_N in zip(found, probabilities_BN, strict=True):
        for level in RANKS:
            sums = sums_by_path(labels, probabilities_N, level)
            candidates = classification.by_rank.get(level.value, ())
            if level is rank:
                expected = sorted((value for value in sums.values() if value > 0), reverse=True)[:top]
            else:
                expected = sorted((value for path, value in sums.items() if path[-1] and value > 0), reverse=True)[:1]
            assert [candidate.probability for candidate in candidates] == pytest.approx(expected, abs=1e-5)
            for candidate in candidates:
                path = candidate.taxon.lineage[: level.depth + 1]
                assert candidate.probability == pytest.approx(sums[path], abs=1e-5)
                assert not any(candidate.taxon.lineage[level.depth + 1 :])
                assert candidate.rank == (candidate.taxon.rank or "label")


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("seed", range(4))
def test_sums_at_every_rank_are_those_of_whole_paths_on_random_trees_with_holes(rank: Rank, seed: int) -> None:
    labels = label_set(random_taxa(120, seed, names_a_rank=2 + seed % 2), seed=seed)
    features = random_rows(6, 8, 100 + seed)
    found = Classifier(labels).classify(features, rank=rank, top=4)
    assert_as_brute_force(labels, found, softmax(labels, features), rank, 4)


def test_probabilities_are_a_plain_softmax_within_1e_5_also_at_a_scale_of_100() -> None:
    taxa = [Taxon(species=f"n{n:04d}") for n in range(2000)]
    labels = label_set(taxa, random_rows(2000, 64, 5), scale=100.0)
    features = random_rows(20, 64, 6)
    expected = softmax(labels, features)
    for row, classification in enumerate(Classifier(labels).classify(features, top=2000)):
        candidates = classification.by_rank["species"]
        found = {int(candidate.taxon.species[1:]): candidate.probability for candidate in candidates}
        assert max(abs(expected[row, n] - found.get(n, 0.0)) for n in range(2000)) < 1e-5
        probabilities = [candidate.probability for candidate in candidates]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_a_genus_name_in_two_kingdoms_is_two_genera() -> None:
    labels, feature = from_logits(TAXA, [0, 0, 0, 0])
    (found,) = Classifier(labels).classify(feature, rank="genus", top=5)
    genera = [(c.taxon.kingdom, c.name, c.rank, c.probability) for c in found.by_rank["genus"]]
    assert genera[0] == ("Animalia", "Oenanthe", "genus", pytest.approx(0.5))  # the sum of two of the four equal labels
    assert sorted(genera[1:]) == [
        ("Plantae", "Apiaceae", "family", pytest.approx(0.25)),
        ("Plantae", "Oenanthe", "genus", pytest.approx(0.25)),
    ]


def test_a_family_alone_is_among_species_with_its_own_rank() -> None:
    labels, feature = from_logits(TAXA, [0, 0, 0, math.log(6)])  # the family has weight 6, each species 1
    (found,) = Classifier(labels).classify(feature, rank="species", top=4)
    assert labels.taxon(2).scientific_name == "Apiaceae"  # a hole sorts first, before the genera of its family
    best = found.by_rank["species"][0]
    assert (best.name, best.rank) == ("Apiaceae", "family")
    assert best.probability == pytest.approx(6 / 9, abs=1e-3)  # the logit is rounded to float16
    assert found.by_rank["family"][0].probability == pytest.approx(7 / 9, abs=1e-3)
    consensus = consensus_of(found.by_rank, 0.6)
    assert consensus is not None
    # the family has 7/9 of it, and none of the species reaches 0.6
    assert (consensus.name, consensus.rank) == ("Apiaceae", "family")


def candidate(rank: str, name: str, probability: float, own: str | None = None) -> Candidate:
    taxon = Taxon(family=name) if own == "family" else Taxon(**{rank: name})
    return Candidate(taxon, own or rank, probability)


def test_the_consensus_is_the_most_specific_taxon_that_reaches_the_threshold() -> None:
    by_rank = {
        "species": (candidate("species", "a", 0.3), candidate("species", "b", 0.2)),
        "genus": (candidate("genus", "B", 0.5),),
        "family": (candidate("family", "F", 0.9),),
        "kingdom": (candidate("kingdom", "K", 1.0),),
    }
    names = [
        getattr(consensus_of(by_rank, threshold), "name", None) for threshold in (0.3, 0.31, 0.5, 0.51, 0.9, 0.95, 1.0)
    ]
    assert names == ["a", "B", "B", "F", "F", "K", "K"]
    assert consensus_of({"species": by_rank["species"]}, 0.31) is None
    assert consensus_of({}, 0.5) is None


def test_a_family_among_species_is_not_a_species_for_the_consensus() -> None:
    by_rank = {
        "species": (candidate("species", "F", 0.5, own="family"), candidate("species", "a", 0.4)),
        "family": (candidate("family", "F", 0.95),),
    }
    assert getattr(consensus_of(by_rank, 0.4), "name", None) == "a"
    assert getattr(consensus_of(by_rank, 0.5), "name", None) == "F"


def test_weights_multiply_probabilities_and_a_zero_leaves_no_candidate() -> None:
    labels, feature = from_logits(TAXA, [0, 0, 0, 0])
    weights = np.array([1, 0, 3, 0], dtype=np.float32)
    (found,) = Classifier(labels).classify(feature, weights_N=weights, top=5)
    assert [c.probability for c in found.by_rank["species"]] == pytest.approx([0.75, 0.25])
    assert found.flags == ()
    assert [c.taxon.kingdom for c in found.by_rank["kingdom"]] == ["Plantae"]


def test_weights_on_random_trees_equal_brute_force() -> None:
    labels = subset_of(label_set(random_taxa(80, 9), seed=9), ["N0"])
    weights = np.random.default_rng(2).choice([0.0, 0.5, 2.0], 80).astype(np.float32)
    features = random_rows(5, 8, 3)
    found = Classifier(labels).classify(features, rank="family", top=80, weights_N=weights)
    assert_as_brute_force(labels, found, softmax(labels, features, weights), Rank.FAMILY, 80)


@pytest.mark.parametrize("of", ["all", "the kept"])
def test_a_prior_that_makes_all_impossible_is_ignored_and_flagged(of: str) -> None:
    labels, feature = from_logits(TAXA, [0, 1, 0, 0])
    labels = subset_of(labels, ["Aves"])
    weights = np.zeros(4, dtype=np.float32)
    if of == "the kept":
        weights[2:] = 1.0
    (found,) = Classifier(labels).classify(feature, weights_N=weights)
    (plain,) = Classifier(labels).classify(feature)
    assert found.flags == (PRIOR_IGNORED,)
    assert found.by_rank == plain.by_rank


def test_a_subset_shares_its_probability_among_the_labels_that_are_left() -> None:
    labels, feature = from_logits(TAXA, [0, 0, 5, 5])
    (found,) = Classifier(subset_of(labels, ["Muscicapidae"])).classify(feature, top=9)
    assert [c.probability for c in found.by_rank["species"]] == pytest.approx([0.5, 0.5])
    assert found.by_rank["family"][0].probability == 1.0


def test_masked_rows_are_never_answers(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[1], rows[2], rows[3] = 0, np.nan, rows[0]
    labels = write_label_set(tmp_path / "set", TAXA, rows, ENCODER, Block(0, 4, "text", 1.0), {})
    for found in Classifier(labels).classify(random_rows(3, 4, 1), top=4):
        assert [c.probability for c in found.by_rank["species"]] == [1.0]
        assert found.by_rank["species"][0].taxon == labels.taxon(int(np.flatnonzero(labels.usable_N)[0]))


def big_enough() -> tuple[LabelSet, NDArray[np.float16], NDArray[np.float32]]:
    labels = subset_of(label_set(random_taxa(200, 11), seed=11), ["N0", "N1"])
    weights = np.random.default_rng(4).random(200).astype(np.float32)
    return labels, random_rows(13, 8, 12), weights


@pytest.mark.parametrize(
    "sizes",
    [
        {"matrix.BLOCK": 1, "matrix._CHUNK_BYTES": 1},  # one row at a time
        {"matrix.BLOCK": 7, "matrix._CHUNK_BYTES": 7 * 32},  # 7 rows of 8 numbers in fp32; 200 is not a multiple of 7
        {"looking._PASS_BYTES": 1},  # one feature at a time
        {"looking._PASS_BYTES": 4 * 260 * 5},  # about 5 features at a time
        {"matrix.BLOCK": 4},  # 50 blocks of columns; from 29 blocks on, only the best blocks are sorted
        {"matrix.BLOCK": 3},  # 66 blocks, and two columns after the last one
        {"columns.MOST_SUMMANDS": 2, "whole.MOST_SUMMANDS": 2},  # sums in many stages
        {"matrix.BLOCK": 4, "matrix._CHUNK_BYTES": 1, "looking._PASS_BYTES": 4 * 260 * 5, "columns.MOST_SUMMANDS": 3},
    ],
)
def test_resident_chunked_and_split_batches_give_the_same_answers(
    sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, features, weights = big_enough()
    expected = Classifier(labels).classify(features, rank="genus", top=7, weights_N=weights)
    for name, size in sizes.items():
        monkeypatch.setattr(f"bioclip_core.classifying.{name}", size)
    found = Classifier(labels).classify(features, rank="genus", top=7, weights_N=weights)
    assert len(found) == len(expected) == 13
    for one, other in zip(found, expected, strict=True):
        assert one.by_rank.keys() == other.by_rank.keys()
        for level, candidates in one.by_rank.items():
            assert [c.taxon for c in candidates] == [c.taxon for c in other.by_rank[level]]
            assert [c.probability for c in candidates] == pytest.approx(
                [c.probability for c in other.by_rank[level]], abs=1e-6
            )


def test_blocks_of_text_and_prototypes_each_have_their_own_scale_bias_and_mean() -> None:
    # Two labels, the unit vectors. The first is text: 2 * 0.6 + 0.5 = 1.7. For the second, the feature (0.6, 0.8) minus
    # the mean (0.6, 0.3) is (0, 0.5), normalised (0, 1): 3 * 1 = 3.
    blocks = [Block(0, 1, "text", 2.0, 0.5), Block(1, 2, "prototype", 3.0, 0.0, (0.6, 0.3))]
    labels = in_memory([Taxon("A"), Taxon("B")], np.eye(2), ENCODER, blocks)
    feature = np.array([[0.6, 0.8]], dtype=np.float16)
    (found,) = Classifier(labels).classify(feature, rank="kingdom")
    assert [c.taxon.kingdom for c in found.by_rank["kingdom"]] == ["B", "A"]
    assert found.by_rank["kingdom"][1].probability == pytest.approx(1 / (1 + math.exp(3 - 1.7)), abs=1e-4)


def test_custom_labels_answer_with_their_words_and_groups() -> None:
    encoder = FakeEncoder(logit_scale=math.log(4))
    labels = custom_labels(["red fish", "red leaf", "blue fish"], encoder, ["animal", "plant", "animal"])
    red = encoder.encode_images(np.full((1, 8, 8, 3), (255, 0, 0), dtype=np.uint8))
    (found,) = Classifier(labels).classify(red, rank="species", top=5)
    # the cosines are 1, 1, 0, so the weights are 4, 4, 1
    assert found.by_rank["label"][2].name == "blue fish"
    assert {c.name: c.probability for c in found.by_rank["label"]} == {
        "red fish": pytest.approx(4 / 9), "red leaf": pytest.approx(4 / 9), "blue fish": pytest.approx(1 / 9),
    }  # fmt: skip
    (group,) = found.by_rank["group"]
    assert (group.name, group.rank, group.probability) == ("animal", "group", pytest.approx(5 / 9))
    assert found.by_rank["label"][0].rank == "label"
    assert set(found.by_rank) == {"label", "group"}
    assert consensus_of(found.by_rank, 0.5) == group
    (by_group,) = Classifier(labels).classify(red, rank="group", top=5)
    assert [(c.name, c.probability) for c in by_group.by_rank["group"]] == [
        ("animal", pytest.approx(5 / 9)), ("plant", pytest.approx(4 / 9)),
    ]  # fmt: skip


def test_custom_labels_without_groups_answer_no_group() -> None:
    encoder = FakeEncoder()
    labels = custom_labels(["red", "blue"], encoder)
    (found,) = Classifier(labels).classify(encoder.encode_images(np.zeros((1, 8, 8, 3), dtype=np.uint8)))
    assert set(found.by_rank) == {"label"}
    assert [c.probability for c in found.by_rank["label"]] == pytest.approx([0.5, 0.5])


def test_a_rank_missing_from_the_labels_is_refused_with_those_present() -> None:
    labels, feature = from_logits(TAXA, [0, 0, 0, 0])
    with pytest.raises(UsageError, match=r"rank 'tribe': this label set answers at kingdom, phylum.*species"):
        Classifier(labels).classify(feature, rank="tribe")
    with pytest.raises(UsageError, match="rank 'genus': this label set answers at group, label"):
        Classifier(custom_labels(["red"], FakeEncoder())).classify(feature[:, :3], rank="genus")


def test_no_features_are_no_answers_and_one_label_is_certain() -> None:
    labels = label_set(TAXA[:1])
    classifier = Classifier(labels)
    assert classifier.classify(np.empty((0, 8), dtype=np.float16)) == []
    (found,) = classifier.classify(random_rows(1, 8, 1), top=5)
    assert [(c.name, c.probability) for c in found.by_rank["species"]] == [("Oenanthe oenanthe", 1.0)]


def test_a_feature_that_is_not_a_number_has_no_candidates() -> None:
    (found,) = Classifier(label_set(TAXA)).classify(np.full((1, 8), np.nan, dtype=np.float16))
    assert dict(found.by_rank) == {}


def test_a_candidate_is_plain_values() -> None:
    labels, feature = from_logits(TAXA[:1], [0])
    (found,) = Classifier(labels).classify(feature)
    assert found.by_rank["species"][0].as_dict() == {
        "scientific_name": "Oenanthe oenanthe", "rank": "species", "probability": 1.0, "kingdom": "Animalia", "phylum": "Chordata",
        "class": "Aves", "order": "Passeriformes", "family": "Muscicapidae", "genus": "Oenanthe", "species": "oenanthe",
        "common_name": "",
    }  # fmt: skip
