"""Strategies of review on items whose order can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.review_order.clusters import clusters_of
from bioclip_plugin.review_order.spreading import different
from bioclip_plugin.review_order.strategies import DEFAULT, STRATEGIES, strategy_named

NAN = float("nan")


def made(
    taxa: list[int],
    margins: list[float],
    *,
    events: list[int] | None = None,
    reviewed: tuple[int, ...] = (),
    **more: Any,
) -> ReviewItems:
    """Return items of three taxa; the probability is half of one plus the margin."""
    count = len(taxa)
    margin_N = np.array(margins, dtype=np.float32)
    return ReviewItems(
        np.array(taxa, dtype=np.int32), ("deer", "fox", "lynx"), (1 + margin_N) / 2, margin_N,
        np.array(events or [-1] * count, dtype=np.int32), np.full(count, -1, dtype=np.int32),
        np.isin(np.arange(count), reviewed), **more,
    )  # fmt: skip


def towards(*angles: float) -> np.ndarray[Any, Any]:
    """Return unit features in the plane at angles in degrees."""
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float16)


def order(name: str, items: ReviewItems, batch: int = 10, seed: int = 0) -> list[int]:
    numbers: list[int] = strategy_named(name).order(items, batch, seed).tolist()
    return numbers


ITEMS = made([0, 0, 0, 1, 1, -1, 2], [0.9, 0.5, 0.1, 0.3, 0.7, NAN, 0.8], reviewed=(1,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("least-sure", [5, 2, 3, 4, 6, 0]),  # undecided ones first
        ("smallest-margin", [2, 3, 4, 6, 0, 5]),  # those without a margin last
        ("most-disagreement", [4, 6, 2, 3, 0, 5]),
        ("rare-first", [6, 4, 0, 3, 2, 5]),  # lynx, fox, deer in turn; the surest of each first
    ],
)  # fmt: skip
def test_a_simple_order_is_that_of_its_sentence(name: str, expected: list[int]) -> None:
    items = replace(ITEMS, disagreement_N=np.array([0, 0.9, NAN, 0, 0.8, NAN, 0.2], dtype=np.float32))
    assert order(name, items) == expected
    assert order(name, items, batch=2) == expected[:2]


def test_every_order_leaves_out_reviewed_items_and_is_the_same_for_a_seed() -> None:
    features = towards(*range(0, 70, 10))
    for items in (
        ITEMS,
        replace(ITEMS, features_ND=features),
        made([], []),
        replace(ITEMS, reviewed_N=np.ones(7, dtype=bool)),
    ):
        waiting = set(np.flatnonzero(~items.reviewed_N).tolist())
        for strategy in STRATEGIES:
            numbers = order(strategy.name, items)
            assert (set(numbers), len(numbers)) == (waiting, len(waiting)), strategy.name
            assert order(strategy.name, items) == numbers
            assert order(strategy.name, items, batch=0) == []
    assert len({tuple(order("random", ITEMS, seed=seed)) for seed in range(9)}) > 1
    assert len({strategy.name for strategy in STRATEGIES}) == len(STRATEGIES) == 7
    assert all(strategy.sentence.endswith(".") and strategy.sentence.count(". ") == 0 for strategy in STRATEGIES)
    assert STRATEGIES[0].name == DEFAULT == "spread"
    with pytest.raises(UsageError, match="no order of review 'best': choose one of spread, smallest-margin"):
        strategy_named("best")


def test_typical_items_come_of_each_cluster_in_turn_the_largest_first() -> None:
    features = towards(0, 10, 20, 90, 100, 110, 8)
    items = made([0] * 7, [0.5] * 7, features_ND=features)
    # clusters of 0, 10, 20, 8 degrees and of 90, 100, 110; 10 and 100 are the nearest to their means of 9.5 and 100
    assert order("most-typical", items, batch=2) == [1, 4]


def test_the_default_gives_one_item_of_each_event_and_none_of_a_reviewed_one_until_nothing_else_is_left() -> None:
    items = made([0] * 6, [0.5, 0.2, 0.4, 0.6, 0.9, 0.1], events=[0, 0, 1, 1, -1, 2], reviewed=(2,))
    # event 1 is reviewed; of event 0 the item with the smaller margin
    assert order("spread", items, batch=3) == [5, 1, 4]
    assert order("spread", items) == [5, 1, 4, 0, 3]


def test_the_default_weighs_margins_against_taxa_with_many_reviews() -> None:
    items = made([0, 1, 0, 1], [0.0, 0.25, 0.5, 0.9], labels_T=np.array([3, 0, 0], dtype=np.int32))
    # (1 - margin) / sqrt(1 + labels): 0.5, 0.75, 0.25, 0.1
    assert order("spread", items) == [1, 0, 2, 3]


def test_the_default_begins_with_typical_items_of_clusters_without_a_review() -> None:
    features = towards(0, 4, 8, 90, 94, 98, 102, 106)
    items = made([0] * 8, [0.9] * 8, features_ND=features)
    assert order("spread", items, batch=2) == [5, 1]
    begun = replace(items, reviewed_N=np.arange(8) == 5)
    assert order("spread", begun, batch=1) == [1]


def test_the_default_drops_near_duplicates_and_spreads_over_clusters() -> None:
    # cos 11 degrees = 0.982, cos 12 degrees = 0.978
    features = towards(0, 5, 60, 72, 150, 162, 240)
    items = made([0] * 7, [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], features_ND=features, reviewed=(0,))
    cold = replace(items, reviewed_N=np.arange(7) < 2)
    assert order("spread", cold, batch=3) == [2, 4, 6]  # 60 and 72, 150 and 162, 240: the smaller margin of each
    assert different(features[1:].astype(np.float32), features[:1].astype(np.float32)).tolist() == [1, 2, 3, 4, 5]
    assert different(towards(0, 11, 12, 24).astype(np.float32), features[:0].astype(np.float32)).tolist() == [0, 2, 3]


def test_equal_and_few_features_leave_clusters_empty() -> None:
    assert clusters_of(towards(5, 5, 5), 2, 0).sizes_C.tolist() == [3, 0]
    assert clusters_of(towards(), 2, 0).sizes_C.tolist() == []
    zeros = clusters_of(np.zeros((3, 2), dtype=np.float16), 2, 0)
    assert zeros.sizes_C.sum() == 3
    found = clusters_of(towards(0, 1, 90, 91, 180, 181), 3, 1)
    assert found.number_N[::2].tolist() == found.number_N[1::2].tolist()
    assert found.sizes_C.tolist() == [2, 2, 2]


def test_columns_of_different_lengths_are_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="features_ND has 2 entries, taxon_N has 7"):
        replace(ITEMS, features_ND=towards(0, 1))
    with pytest.raises(ValueError, match="labels_T has 1 entries; one for each of 3 taxa"):
        replace(ITEMS, labels_T=np.zeros(1, dtype=np.int32))
