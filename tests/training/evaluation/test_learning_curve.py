"""Learning curves on drawn features: growth where there is some, flat where there is none, and no conclusion from too little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_training.evaluation.curve_rows import chosen
from bioclip_training.evaluation.few_shot import nearest_centroid
from bioclip_training.evaluation.learning_curve import FLAT, MORE, UNKNOWN, Sample, learning_curve, nearest


def drawn(each: list[int], *, spread: float, seed: int, first_group: int = 0, per_group: int = 1) -> Sample:
    """Draw images around one centre per taxon, with ``per_group`` equal images per group."""
    centres = np.random.default_rng(7).normal(size=(len(each), 16))
    random, features, taxa, groups, group = np.random.default_rng(seed), [], [], [], first_group
    for taxon, images in enumerate(each):
        for number in range(images):
            if number % per_group == 0:
                group += 1
                place = centres[taxon] + spread * random.normal(size=16)
            features.append(place)
            taxa.append(taxon)
            groups.append(group)
    return Sample(np.array(features, dtype=np.float32).reshape(-1, 16), np.array(taxa, int), np.array(groups, int))


def test_a_curve_that_grows_says_that_more_labels_help_with_its_figures() -> None:
    found = learning_curve(drawn([20] * 12, spread=1.5, seed=1), drawn([20] * 12, spread=1.5, seed=2, first_group=900))
    assert found["verdict"] == MORE
    assert found["sentence"].startswith("From 10 to 20 images a species accuracy grew by +")
    assert "240 test images of 12 species" in found["sentence"]
    assert found["sentence"].endswith("more training labels help.")
    assert [(step["fewer"], step["more"]) for step in found["by_images"]] == [(1, 2), (2, 5), (5, 10), (10, 20)]
    assert [(step["fewer"], step["more"]) for step in found["by_share"]] == [(0.25, 0.5), (0.5, 1.0)]
    assert found["by_images"][0]["fewer_top1"] < found["by_images"][-1]["more_top1"]


def test_a_curve_at_its_top_is_flat() -> None:
    examples, queries = drawn([40] * 6, spread=0.1, seed=1), drawn([60] * 6, spread=0.1, seed=2, first_group=900)
    found = learning_curve(examples, queries)
    assert found["verdict"] == FLAT
    assert "+0.0 points" in found["sentence"]


def test_the_last_share_is_the_accuracy_with_everything() -> None:
    examples, queries = drawn([9, 14, 30], spread=2, seed=3), drawn([30] * 3, spread=2, seed=4, first_group=500)
    found = learning_curve(examples, queries)
    everything = float((nearest(queries.features_ND, examples) == queries.taxon_N).mean())
    assert found["by_share"][-1]["more_top1"] == pytest.approx(everything)


def test_a_step_compares_only_taxa_that_have_more_in_it() -> None:
    found = learning_curve(drawn([1, 1, 30, 30], spread=1, seed=1), drawn([20] * 4, spread=1, seed=2, first_group=500))
    assert {(step["more"], step["taxa"], step["images"]) for step in found["by_images"]} == {
        (2, 2, 40), (5, 2, 40), (10, 2, 40), (20, 2, 40),
    }  # fmt: skip


def test_frames_of_one_track_are_not_taken_for_a_flat_curve() -> None:
    examples = drawn([30] * 4, spread=2, seed=1, per_group=30)
    found = learning_curve(examples, drawn([3] * 4, spread=2, seed=2, first_group=500, per_group=3))
    assert (found["verdict"], found["by_share"]) == (UNKNOWN, [])
    assert "4 groups" in found["sentence"]
    found = learning_curve(examples, drawn([30] * 4, spread=2, seed=2, first_group=500))
    assert found["by_share"] == []
    assert found["by_images"][-1]["more_groups"] == 1.0
    assert (found["verdict"], "come from one group" in found["sentence"]) == (UNKNOWN, True)


def test_queries_in_the_examples_groups_and_of_taxa_without_examples_do_not_count() -> None:
    examples, queries = drawn([4, 4], spread=1, seed=1), drawn([5, 5, 5], spread=1, seed=2, first_group=500)
    shared = Sample(queries.features_ND, queries.taxon_N, np.where(np.arange(15) == 0, 1, queries.group_N))
    assert learning_curve(examples, shared)["images"] == 9


@pytest.mark.parametrize("each", [[0, 0], [5, 0], [1, 1], [2, 1]])
def test_too_few_labels_give_no_verdict(each: list[int]) -> None:
    found = learning_curve(drawn(each, spread=1, seed=1), drawn([3, 3], spread=1, seed=2, first_group=500))
    assert found["verdict"] == UNKNOWN
    assert found["sentence"].endswith(".")


@pytest.mark.parametrize(("each", "known"), [([0, 0], "those of none"), ([5, 0], "those of only one")])
def test_a_curve_that_cannot_be_measured_says_what_it_takes(each: list[int], known: str) -> None:
    found = learning_curve(drawn(each, spread=1, seed=1), drawn([3, 3], spread=1, seed=2, first_group=500))
    assert found["sentence"] == (
        "How much more labels would help was not measured: that takes training images of at least two of the evaluated species, and "
        f"the catalog has {known}."
    )


def test_one_example_each_is_the_nearest_prototype() -> None:
    examples, queries = drawn([1] * 8, spread=1.5, seed=1), drawn([10] * 8, spread=1.5, seed=2)
    expected = nearest_centroid(queries.features_ND, examples.features_ND, examples.taxon_N, 8)
    assert (nearest(queries.features_ND, examples) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 3))
def test_any_collection_has_a_curve_with_shares_between_zero_and_one(
    each: list[int], per_group: int, seed: int
) -> None:
    examples = drawn(each, spread=1, seed=seed, per_group=per_group)
    found = learning_curve(examples, drawn([2] * len(each), spread=1, seed=seed + 9, first_group=99))
    for step in (*found["by_share"], *found["by_images"]):
        assert 0 <= step["fewer_top1"] <= 1
        assert step["growth"] == pytest.approx(step["more_top1"] - step["fewer_top1"])
        assert 1 <= step["fewer_images"] <= step["more_images"] <= max(each)
        assert step["taxa"] >= 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 100))
def test_of_many_images_the_rare_taxa_keep_all_of_theirs(each: list[int], most: int) -> None:
    taxon_N = np.repeat(np.arange(len(each)), each)
    rows = chosen(np.arange(len(taxon_N)), taxon_N, np.arange(len(taxon_N)), 0, most)
    kept = np.bincount(taxon_N[rows], minlength=len(each))
    assert len(rows) <= max(most, len(each))
    assert (kept >= 1).all()
    assert all(count == own for count, own in zip(kept, each, strict=True) if count < kept.max())
