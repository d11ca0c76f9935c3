"""Few-shot classification and retrieval, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_core.labels.label_set import in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.taxonomy import Taxon
from bioclip_training.evaluation.few_shot import few_shot, nearest_centroid, support_pools
from bioclip_training.evaluation.retrieval import image_to_image, text_to_image
from bioclip_training.evaluation.truth import truths_of


class Rows:
    """Features from a table. A row of zeros is an unreadable image."""

    def __init__(self, features: NDArray[np.float16]) -> None:
        self.features = features

    def of(self, rows_N: NDArray[np.int64]) -> NDArray[np.float16]:
        return self.features[rows_N]

    def usable(self, rows_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        usable: NDArray[np.bool_] = np.asarray(self.features[rows_N].any(axis=1))
        return usable


def test_the_nearest_centroid_is_that_of_all_distances_written_out() -> None:
    random = np.random.default_rng(4)
    queries, support = (random.standard_normal((count, 6)).astype(np.float32) for count in (40, 12))
    classes = np.repeat(np.arange(4), 3)

    def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        long: NDArray[np.float32] = np.linalg.norm(rows, axis=1, keepdims=True)
        unit_rows: NDArray[np.float32] = rows / long
        return unit_rows

    centred, asked = unit(support - support.mean(axis=0)), unit(queries - support.mean(axis=0))
    centroids = np.stack([centred[classes == one].mean(axis=0) for one in range(4)])
    distances = ((asked[:, None] - centroids[None]) ** 2).sum(axis=2)
    assert nearest_centroid(queries, support, classes, 4).tolist() == distances.argmin(axis=1).tolist()


def test_examples_are_of_train_and_those_of_a_taxon_that_is_not_there_of_the_queries() -> None:
    taxon_of_row = np.array([0, 0, 0, 1, 1, 1, 2])
    queries, train = np.array([2, 3, 4, 5, 6]), np.array([0, 1])
    pools = {pool.taxon: pool for pool in support_pools(queries, train, taxon_of_row)}
    assert pools[0].rows.tolist() == [0, 1]
    assert pools[0].most == 2
    assert (pools[1].rows.tolist(), pools[1].most) == ([3, 4, 5], 2)  # one of them remains as a query
    assert pools[2].drawn(5, 0, 0).tolist() == []


def test_more_shots_hold_the_examples_of_fewer() -> None:
    (pool,) = support_pools(np.array([9]), np.arange(9), np.zeros(10, np.int64))
    assert pool.drawn(5, 2, 7)[:1].tolist() == pool.drawn(1, 2, 7).tolist()
    assert {tuple(pool.drawn(5, draw, 7).tolist()) for draw in range(4)} != {tuple(pool.drawn(5, 0, 7).tolist())}


def test_an_unseen_taxons_examples_are_no_queries_and_neither_are_other_frames_of_their_group() -> None:
    # two taxa, each with two groups of two frames; whichever is drawn, the two frames of the other group are queries
    features = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.1], [0, 1], [0.1, 1], [0.2, 1], [0.1, 1]], dtype=np.float16)
    taxa, groups = np.repeat([0, 1], 4), np.repeat(np.arange(4), 2)
    rows = np.arange(8)
    found = few_shot(1, support_pools(rows, rows[:0], taxa), rows, taxa, groups, Rows(features), draws=3, seed=0)
    assert found.queries == 4
    assert found.accuracy_R == (1.0, 1.0, 1.0)
    assert found.as_dict() == {"top1": 1.0, "spread": 0.0, "macro": 1.0, "queries": 4.0, "taxa": 2, "short": 0}


def test_a_taxon_with_fewer_examples_uses_all_of_them_and_is_counted() -> None:
    features = np.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1], [1, 0.2]], dtype=np.float16)
    taxa = np.array([0, 1, 0, 1, 0])
    pools = support_pools(np.array([2, 3]), np.array([0, 1, 4]), taxa)
    found = few_shot(2, pools, np.array([2, 3]), taxa, np.arange(5), Rows(features), draws=2, seed=0)
    assert (found.taxa, found.short, found.accuracy_R) == (2, 1, (1.0, 1.0))


def test_nothing_to_learn_from_gives_no_figure() -> None:
    features = np.ones((1, 2), dtype=np.float16)
    found = few_shot(1, support_pools(np.array([0]), np.empty(0, np.int64), np.array([0])), np.array([0]), np.array([0]), np.array([0]),
                     Rows(features), draws=2, seed=0)  # fmt: skip
    assert np.isnan(found.accuracy_R).all()
    assert found.queries == 0


def angles(*degrees: float) -> NDArray[np.float16]:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float16)


def test_images_find_images_of_their_taxon() -> None:
    # images of taxon 0 at 0, 9 and 40 degrees, of taxon 1 at 20 and 90
    found = image_to_image(angles(0, 9, 40, 20, 90), np.array([0, 0, 0, 1, 1]), np.arange(5))
    # two requested: 0 finds 9 (right) and 20 (wrong): 1/2; 9 finds 0 and 20: 1/2; 40 finds 20 and 9: (1/2)/2
    # one requested: 20 finds 9 (wrong), 90 finds 40 (wrong)
    assert found == {"r_at_1": 2 / 5, "map_at_r": pytest.approx(1.25 / 5), "queries": 5}


def test_other_frames_of_the_same_group_are_not_looked_for() -> None:
    features, taxa = angles(0, 1, 80, 85), np.array([0, 0, 0, 1])
    found = image_to_image(features, taxa, np.array([7, 7, 8, 9]))
    # the images at 0 and 1 degrees are one group: both find 80 and are right; 80 finds 85 (wrong), then one of them
    assert found == {"r_at_1": pytest.approx(2 / 3), "map_at_r": pytest.approx((1 + 1 + 0.25) / 3), "queries": 3}


def test_a_label_finds_its_images() -> None:
    taxa = [Taxon.of(["Fictia", *[""] * 4, "Aus", "bus"]), Taxon.of(["Fictia", *[""] * 4, "Cus", "dus"])]
    identity = {"weights_sha256": "0" * 64, "source": "invented", "revision": ""}
    labels = in_memory(taxa, angles(0, 90), identity, [Block(0, 2, "text", 1.0)])
    truth = truths_of(taxa, labels)["label"]
    found = text_to_image(angles(5, 50, 60), np.array([0, 0, 1]), truth, labels)
    # label 0 (0 degrees): 5 right, 50 right -> 1; label 1 (90 degrees): 60 right -> 1
    assert found == {"r_at_1": 1.0, "map_at_r": 1.0, "queries": 2}
    swapped = text_to_image(angles(5, 70, 60), np.array([0, 0, 1]), truth, labels)
    # label 0: 5 right, 60 wrong -> 1/2; label 1: 70 wrong -> 0
    assert (swapped["r_at_1"], swapped["map_at_r"]) == (0.5, 0.25)
