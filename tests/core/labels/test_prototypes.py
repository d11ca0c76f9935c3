"""Label sets made from example images: centroids by hand, the scale by brute force, and real leaves."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from core_samples import ENCODER
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.classify import Classifier
from bioclip_core.device import Compute
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.prototypes import SCALES, build_prototypes
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.taxonomy import Taxon, taxon_from_row
from bioclip_plugin.testing import FakeEncoder

ACER, FAGUS, QUERCUS = (Taxon("Plantae", genus=name) for name in ("Acer", "Fagus", "Quercus"))


def test_a_prototype_is_the_centroid_of_centred_and_normalised_examples(tmp_path: Path) -> None:
    # The mean of the four is (0, 0, 0.8). Minus the mean, the examples are (±0.6, 0, 0) and (0, ±0.6, 0): unit vectors
    # on the axes. The centroid of Acer is that of +x and +y, the centroid of Fagus that of -x and -y.
    features = np.array([[0.6, 0, 0.8], [0, 0.6, 0.8], [-0.6, 0, 0.8], [0, -0.6, 0.8]], dtype=np.float32)
    labels = build_prototypes(features, [ACER, ACER, FAGUS, FAGUS], ENCODER, tmp_path / "set")
    half = math.sqrt(0.5)
    np.testing.assert_allclose(labels.embeddings_ND.astype(np.float32), [[half, half, 0], [-half, -half, 0]], atol=5e-4)
    (block,) = labels.blocks
    assert (block.kind, block.bias, block.start, block.stop) == ("prototype", 0.0, 0, 2)
    assert block.feature_mean == pytest.approx((0, 0, 0.8), abs=1e-6)
    assert labels.manifest["encoder"] == ENCODER
    assert labels.manifest["examples"] == 4


def test_a_query_is_centred_before_the_cosine_and_scaled_by_the_blocks_own_scale(tmp_path: Path) -> None:
    features = np.array([[0.6, 0, 0.8], [0.6, 0, 0.8], [-0.6, 0, 0.8], [-0.6, 0, 0.8]], dtype=np.float16)
    labels = build_prototypes(features, [ACER, ACER, FAGUS, FAGUS], ENCODER, tmp_path / "set")
    query = np.array([[0.0, 0.6, 0.8], [0.03, 0.6, 0.8]], dtype=np.float16)
    even, near = Classifier(labels).classify(query, rank="genus")
    assert [c.probability for c in even.by_rank["genus"]] == pytest.approx(
        [0.5, 0.5], abs=0.01
    )  # the mean is in float16
    # minus the mean (0, 0, 0.8) it is (0.03, 0.6, 0), whose cosines with (±1, 0, 0) are ±0.05
    (block,) = labels.blocks
    assert near.by_rank["genus"][0].taxon == ACER
    assert near.by_rank["genus"][0].probability == pytest.approx(1 / (1 + math.exp(-0.1 * block.scale)), abs=0.01)
    # all examples are certain at a smaller scale already, and the smallest such scale is chosen
    assert block.scale < SCALES[-1]


def brute_force(features: NDArray[Any], taxa: list[Taxon]) -> tuple[float, float, float]:
    """Compute scale, accuracy and mean log likelihood by leaving out each example in turn, written out."""
    centred = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    names = sorted({taxon.genus for taxon in taxa})
    total, right, used = np.zeros(len(SCALES)), 0, 0
    for row, own in enumerate(taxa):
        others = [r for r in range(len(taxa)) if r != row]
        if not any(taxa[r] == own for r in others):
            continue
        centroids = np.array([np.mean([centred[r] for r in others if taxa[r].genus == name], axis=0)
                              if any(taxa[r].genus == name for r in others) else centred[row] * 0 for name in names])  # fmt: skip
        centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
        cosines = centroids @ centred[row]
        target = names.index(own.genus)
        right += int(cosines.argmax() == target)
        used += 1
        for index, scale in enumerate(SCALES):
            total[index] += math.log(np.exp(scale * cosines[target]) / np.exp(scale * cosines).sum())
    best = int(total.argmax())
    return SCALES[best], right / used, float(total[best] / used)


def clouds(seed: int, spread: float, counts: dict[Taxon, int]) -> tuple[NDArray[np.float16], list[Taxon]]:
    """Return examples around a random direction for each taxon."""
    random = np.random.default_rng(seed)
    rows, taxa = [], []
    for taxon, count in counts.items():
        centre = random.standard_normal(6)
        for _ in range(count):
            row = centre / np.linalg.norm(centre) + spread * random.standard_normal(6)
            rows.append(row / np.linalg.norm(row))
            taxa.append(taxon)
    return np.array(rows, dtype=np.float16), taxa


@pytest.mark.parametrize(("seed", "spread"), [(1, 0.15), (2, 0.4), (3, 0.8)])
def test_the_scale_is_the_likeliest_for_examples_that_were_left_out(seed: int, spread: float, tmp_path: Path) -> None:
    features, taxa = clouds(seed, spread, {ACER: 7, FAGUS: 4, QUERCUS: 1})
    labels = build_prototypes(features, taxa, ENCODER, tmp_path / "set")
    scale, top1, log_likelihood = brute_force(features, taxa)
    fit = labels.manifest["scale_fit"]
    assert labels.blocks[0].scale == fit["scale"] == scale
    assert fit["examples"] == 11  # the only Quercus cannot be left out
    assert fit["top1"] == pytest.approx(top1)
    assert fit["log_likelihood"] == pytest.approx(log_likelihood, abs=1e-4)


def test_examples_that_are_harder_to_tell_apart_get_a_smaller_scale(tmp_path: Path) -> None:
    counts = {ACER: 12, FAGUS: 12, QUERCUS: 12}
    scales = [
        build_prototypes(*clouds(4, spread, counts), ENCODER, tmp_path / str(spread)).blocks[0].scale
        for spread in (0.1, 0.5, 1.5)
    ]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] > 2 * scales[2]


def test_taxa_with_one_example_each_get_the_stated_scale(tmp_path: Path) -> None:
    labels = build_prototypes(np.eye(3, dtype=np.float32), [ACER, FAGUS, QUERCUS], ENCODER, tmp_path / "set")
    assert labels.manifest["scale_fit"] == {"scale": 10.0, "examples": 0, "top1": None, "log_likelihood": None}
    for row, classification in enumerate(Classifier(labels).classify(np.eye(3, dtype=np.float16), rank="genus")):
        assert classification.by_rank["genus"][0].taxon == (ACER, FAGUS, QUERCUS)[row]


def test_rows_may_come_in_any_order_and_the_first_common_name_is_kept(tmp_path: Path) -> None:
    features, taxa = clouds(1, 0.3, {ACER: 3, FAGUS: 3})
    order = [3, 0, 4, 1, 5, 2]
    named = [Taxon.of(taxon.lineage, f"name {n}" if n in (2, 4) else "") for n, taxon in enumerate(taxa)]
    one = build_prototypes(features, named, ENCODER, tmp_path / "one")
    other = build_prototypes(features[order], [named[n] for n in order], ENCODER, tmp_path / "other")
    np.testing.assert_array_equal(one.embeddings_ND, other.embeddings_ND)
    assert [one.taxon(n).common_name for n in range(2)] == ["name 2", "name 4"]
    assert one.blocks[0].scale == other.blocks[0].scale


def test_prototypes_survive_the_disk_and_are_not_written_over_another_label_set(tmp_path: Path) -> None:
    features, taxa = clouds(1, 0.3, {ACER: 3, FAGUS: 3})
    made = build_prototypes(features, taxa, ENCODER, tmp_path / "set")
    opened = LabelSet.open(tmp_path / "set")
    assert opened.blocks == made.blocks
    before, after = (Classifier(labels).classify(features, rank="genus") for labels in (made, opened))
    assert [c.by_rank for c in before] == [c.by_rank for c in after]
    build_prototypes(features, taxa, ENCODER, tmp_path / "set")  # the same call again does nothing
    with pytest.raises(LabelSetError, match="choose another --output"):
        build_prototypes(features + np.float16(0.1), taxa, ENCODER, tmp_path / "set")


def test_an_image_only_encoder_classifies_with_prototypes(tmp_path: Path) -> None:
    encoder = FakeEncoder(text_tower=False)
    colours = [(250, 5, 5), (200, 60, 60), (5, 250, 5), (60, 200, 60)]
    images = np.array([np.full((8, 8, 3), colour) for colour in colours], dtype=np.uint8)
    labels = build_prototypes(
        encoder.encode_images(images), [ACER, ACER, FAGUS, FAGUS], encoder.identity, tmp_path / "set"
    )
    labels.check_encoder(encoder.identity)
    query = encoder.encode_images(np.array([np.full((8, 8, 3), (220, 30, 30))], dtype=np.uint8))
    (found,) = Classifier(labels).classify(query, rank="genus")
    assert found.by_rank["genus"][0].taxon == ACER


@pytest.mark.parametrize(
    ("features", "taxa", "says"),
    [
        (np.eye(3), [ACER, FAGUS], "2 taxa for features of shape 3x3; give one taxon for each row"),
        (np.ones(3), [ACER, ACER, FAGUS], "features of shape 3;"),
        (np.empty((0, 3)), [], "at least two taxa"),
        (np.eye(3), [ACER, ACER, ACER], "at least two taxa"),
        (np.eye(3), [ACER, Taxon(), FAGUS], "1 of 3 examples have no name at any rank, first in row 1"),
        (np.diag([1, 0, 1]), [ACER, FAGUS, FAGUS], "1 of 3 features are zero or not numbers, first in row 1"),
        (np.diag([1, 1, np.nan]), [ACER, FAGUS, FAGUS], "first in row 2; leave these examples out"),
    ],
)
def test_examples_that_cannot_be_used_are_named(
    features: NDArray[Any], taxa: list[Taxon], says: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelSetError, match=says):
        build_prototypes(features.astype(np.float32), taxa, ENCODER, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_taxon_whose_examples_are_the_mean_itself_is_masked_and_not_an_answer(tmp_path: Path) -> None:
    features = np.array([[0.6, 0.8], [-0.6, 0.8], [0.0, 0.8]], dtype=np.float32)  # the third is the mean of all three
    labels = build_prototypes(features, [ACER, FAGUS, QUERCUS], ENCODER, tmp_path / "set")
    assert json.loads((tmp_path / "set" / "label_set.json").read_text())["masked_by"]["zero"] == 1
    assert labels.usable_N.tolist() == [True, True, False]


@pytest.mark.shared_data
def test_prototypes_of_real_leaves_name_far_more_than_chance_and_mean_their_probabilities(tmp_path: Path) -> None:
    root = Path(os.environ["BIOCLIP_DATA"])
    table = pd.read_csv(root / "data" / "leaves" / "collection.csv", dtype=str, keep_default_na=False)
    table = table[table.split.isin(["train", "val"])]
    table = table[table.scientificName.isin(sorted(set(table.scientificName))[:30])]
    taxa = [taxon_from_row(row) for row in table.to_dict("records")]  # type: ignore[arg-type]
    encoder = open_encoder(
        find_model(f"local-dir:{root / 'models' / 'mini'}", {}), Compute("cpu", "fp32", "for the test")
    )
    size = encoder.preprocessing.size
    images = [_small(root / "data" / "leaves" / name, size) for name in table.image]
    features = encoder.encode_images(np.stack(images))
    train, val = (np.flatnonzero(table.split == split) for split in ("train", "val"))
    labels = build_prototypes(features[train], [taxa[row] for row in train], encoder.identity, tmp_path / "set")
    assert len(labels) == 30
    found = Classifier(labels).classify(features[val])
    best = [classification.by_rank["species"][0] for classification in found]
    right = np.array([c.taxon.lineage == taxa[row].lineage for c, row in zip(best, val, strict=True)])
    assert len(val) >= 50
    assert right.mean() >= 0.5  # chance is 1 in 30; 45 of 60 were right with these weights
    # The scale was fitted on train. On val, the mean probability of the best answer is close to its accuracy.
    assert abs(np.mean([c.probability for c in best]) - right.mean()) < 0.2


def _small(path: Path, size: int) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        image.draft("RGB", (2 * size, 2 * size))
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
