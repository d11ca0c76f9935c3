"""Probes as label sets: logits worked out by hand, the file format, and what refuses or takes them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from core_samples import ENCODER

from bioclip_core.classify import Classifier
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.checklist import find_labels, subset_of
from bioclip_core.labels.joining import join_prototypes
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import seal_of
from bioclip_core.labels.probe import LinearProbe
from bioclip_core.taxonomy import Taxon

ACER, TILIA, FAGUS = (
    Taxon("Plantae", family=family, genus=genus, species="x")
    for family, genus in (("Sapindaceae", "Acer"), ("Malvaceae", "Tilia"), ("Fagaceae", "Fagus"))
)
MEAN = np.array([0, 0, 0.5], dtype=np.float32)
PROBE = LinearProbe(
    (TILIA, ACER, FAGUS),  # not in taxonomic order
    np.array([[3, 4, 0], [0, 0, 10], [2, 0, 0]], dtype=np.float32),
    np.array([1.0, -1.0, 0.0], dtype=np.float32),
    MEAN,
)
QUERY = np.array([[0.6, 0, 0.5 + 0.8], [0.0, 1.0, 0.5]], dtype=np.float16)
# Minus the mean, the queries are (0.6, 0, 0.8) and (0, 1, 0): of length 1 already.
# Tilia: 3*0.6 + 1 and 4*1 + 1; Acer: 10*0.8 - 1 and 0 - 1; Fagus: 2*0.6 and 0.
LOGITS = {"Tilia": (2.8, 5.0), "Acer": (7.0, -1.0), "Fagus": (1.2, 0.0)}


@pytest.fixture
def probe(tmp_path: Path) -> LabelSet:
    return PROBE.write(tmp_path / "probe", ENCODER, {"examples": 6})


def test_logits_are_weights_times_the_centred_unit_feature_plus_the_bias(probe: LabelSet) -> None:
    genera = [probe.taxon(row).genus for row in range(3)]
    assert genera == ["Fagus", "Tilia", "Acer"]  # Fagaceae, Malvaceae, Sapindaceae
    logits = Classifier(probe).logits(QUERY).numpy()
    for row, genus in enumerate(genera):
        assert logits[:, row] == pytest.approx(LOGITS[genus], abs=0.02)  # rows and queries are in float16
    assert probe.manifest["format_version"] == 3
    assert [block.kind for block in probe.blocks] == ["probe"]


def test_higher_ranks_are_sums_and_a_subset_is_a_mask(probe: LabelSet) -> None:
    (first, _) = Classifier(probe).classify(QUERY, rank="family")
    powers = {genus: math.exp(logit[0]) for genus, logit in LOGITS.items()}
    best = first.by_rank["family"][0]
    assert (best.name, best.probability) == (
        "Sapindaceae",
        pytest.approx(powers["Acer"] / sum(powers.values()), abs=1e-3),
    )
    assert first.by_rank["kingdom"][0].probability == pytest.approx(1.0)
    some = subset_of(probe, ("Tilia", "Fagus"))
    (first, _) = Classifier(some).classify(QUERY, rank="genus")
    assert [found.name for found in first.by_rank["genus"]] == ["Tilia", "Fagus"]
    tilia = powers["Tilia"] / (powers["Tilia"] + powers["Fagus"])
    assert first.by_rank["genus"][0].probability == pytest.approx(tilia, abs=3e-3)
    assert some.identity() != probe.identity()


def test_pooled_images_have_the_mean_of_their_logits(probe: LabelSet) -> None:
    classifier = Classifier(probe)
    alone, pooled = classifier.logits(QUERY).numpy(), classifier.logits(QUERY, members_G=[2]).numpy()
    np.testing.assert_allclose(pooled[0], alone.mean(axis=0), atol=1e-5)


def test_a_temperature_divides_weights_and_biases_alike(probe: LabelSet) -> None:
    np.testing.assert_allclose(
        Classifier(probe, temperature=2.0).logits(QUERY).numpy(), Classifier(probe).logits(QUERY).numpy() / 2, atol=1e-5
    )


def test_a_probe_in_memory_answers_bit_for_bit_as_the_stored_one(probe: LabelSet) -> None:
    logits = Classifier(PROBE.in_memory(ENCODER)).logits(QUERY).numpy()
    assert np.array_equal(logits, Classifier(probe).logits(QUERY).numpy())


def test_a_stored_probe_is_opened_again_and_found_by_name(probe: LabelSet) -> None:
    assert probe.folder is not None
    again = LabelSet.open(probe.folder)
    assert np.array_equal(Classifier(again).logits(QUERY).numpy(), Classifier(probe).logits(QUERY).numpy())
    assert find_labels(again, "acer")
    assert again.identity() == probe.identity()


def test_the_identity_covers_the_biases(probe: LabelSet, tmp_path: Path) -> None:
    other = LinearProbe(PROBE.taxa, PROBE.weights_CD, PROBE.bias_C * 2, MEAN).write(tmp_path / "other", ENCODER, {})
    assert other.manifest["sha256"]["embeddings.npy"] == probe.manifest["sha256"]["embeddings.npy"]
    assert other.identity() != probe.identity()


def test_two_taxa_whose_weights_point_the_same_way_are_both_answers(tmp_path: Path) -> None:
    weights = np.array([[1, 0, 0], [2, 0, 0], [0, 1, 0]], dtype=np.float32)
    labels = LinearProbe(PROBE.taxa, weights, np.zeros(3, dtype=np.float32), MEAN).write(tmp_path / "p", ENCODER, {})
    assert labels.usable_N.all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": {"factor": [1.0, 0.5], "bias": [0.0, 0.0]}}, "2 factors for 3 labels"),
        ({"rows": {"factor": [1.0, 0.5, 2.0], "bias": [0.0, 0.0, 0.0]}}, "factor 2.0"),
        ({"rows": {"factor": [1.0, 0.5, 1.0], "bias": [0.0, 0.0, 1e9]}}, "bias 1000000000.0"),
        ({"rows": None}, "rows"),
        ({"format_version": 1}, "kind probe"),
        ({"format_version": 4}, "has format 4; this version reads 1 to 3: upgrade"),
    ],
)
def test_a_damaged_manifest_of_a_probe_is_refused_in_one_line(
    probe: LabelSet, change: dict[str, object], says: str
) -> None:
    assert probe.folder is not None
    file = probe.folder / "label_set.json"
    written = json.loads(file.read_text("utf-8")) | change
    file.write_text(json.dumps({**written, "manifest_sha256": seal_of(written)}), "utf-8")
    with pytest.raises(LabelSetError) as refused:
        LabelSet.open(probe.folder)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_changed_bias_is_found_by_the_id_even_if_the_seal_is_renewed(probe: LabelSet) -> None:
    assert probe.folder is not None
    file = probe.folder / "label_set.json"
    written = json.loads(file.read_text("utf-8"))
    written["rows"]["bias"][0] += 0.5
    file.write_text(json.dumps({**written, "manifest_sha256": seal_of(written)}), "utf-8")
    with pytest.raises(LabelSetError, match=r"the id in label_set\.json does not fit"):
        LabelSet.open(probe.folder)


def test_prototypes_are_not_joined_to_a_probe(probe: LabelSet, tmp_path: Path) -> None:
    features = np.eye(3, dtype=np.float32)
    with pytest.raises(LabelSetError, match="holds a probe; prototypes are joined to a label set of text alone"):
        join_prototypes(probe, features, [ACER, TILIA, FAGUS], tmp_path / "joined")


def test_weights_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    for weights in (np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), 1e6)):
        with pytest.raises(LabelSetError, match="probe: its"):
            LinearProbe(PROBE.taxa, weights.astype(np.float32), PROBE.bias_C, MEAN).write(tmp_path / "p", ENCODER, {})
