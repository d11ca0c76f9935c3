"""Intervals of shares and differences: hand-worked values, and the share of samples whose interval holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_training.evidence.intervals import (
    _beta_share,
    beta_quantile,
    binomial_interval,
    difference_interval,
    macro_interval,
    paired_interval,
    share_interval,
    share_intervals,
)


def test_an_exact_interval_is_that_of_the_binomial_distribution() -> None:
    # nothing of n: 1 - 0.025^(1/n); all of n: 0.025^(1/n)
    assert binomial_interval(0, 10) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))
    assert binomial_interval(2, 2) == pytest.approx((math.sqrt(0.025), 1.0))
    # 8 of 10, from Clopper and Pearson's table: 0.4439 to 0.9748
    assert binomial_interval(8, 10) == pytest.approx((0.4439, 0.9748), abs=5e-5)
    assert binomial_interval(0, 0) == (0.0, 1.0)


def test_a_quantile_of_the_beta_distribution_leaves_its_share_below() -> None:
    assert beta_quantile(0.3, 1, 1) == pytest.approx(0.3)
    assert beta_quantile(0.25, 2, 1) == pytest.approx(0.5)  # the distribution is x²
    assert beta_quantile(0.5, 7.5, 7.5) == pytest.approx(0.5)
    # symmetric: what lies below x with (a, b) lies above 1 - x with (b, a)
    assert beta_quantile(0.025, 3, 900) == pytest.approx(1 - beta_quantile(0.975, 900, 3), abs=1e-12)


def test_two_of_two_images_are_no_certainty() -> None:
    low, high = share_interval(np.array([True, True]), np.array([0, 1]))
    assert (low, high) == pytest.approx((0.1581, 1.0), abs=5e-5)
    assert share_interval(np.zeros(2), np.array([0, 1])) == pytest.approx((0.0, 0.8419), abs=5e-5)


def test_images_of_one_group_have_no_interval() -> None:
    for found in (
        share_interval(np.ones(40), np.zeros(40, int)),
        difference_interval(np.ones(40), np.zeros(40, int)),
        share_interval(np.ones(0), np.zeros(0, int)),
        share_interval(np.array([1.0, np.nan]), np.array([0, 1])),
        macro_interval(np.ones(3), np.array([0, 1, 2]), np.zeros(3, int)),
    ):
        assert np.isnan(found).all()


def test_frames_of_one_track_are_one_observation() -> None:
    hits = np.repeat(np.arange(10) % 2 == 0, 50)
    assert share_interval(hits, np.repeat(np.arange(10), 50)) == pytest.approx(binomial_interval(5, 10))


def test_an_interval_of_independent_images_is_that_of_the_binomial_distribution() -> None:
    # 0.25 over 400 has the standard error 0.02165; one draw per group, so an estimate finds the same number of draws, less the
    # allowance of the t-distribution (0.6%)
    low, high = share_interval(np.arange(400) < 100, np.arange(400))
    assert (low, high) == pytest.approx(binomial_interval(100, 400), abs=2e-3)
    assert high - low == pytest.approx(2 * 1.96 * 0.02165, rel=0.05)


def test_many_groups_of_independent_images_count_their_images() -> None:
    hits = np.random.default_rng(0).random(3000) < 0.5
    low, high = share_interval(hits, np.repeat(np.arange(100), 30))
    # between 3,000 draws (0.0358) and 100 (0.196): the estimate from 100 groups is off by a few percent
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 3000), rel=0.25)


def test_groups_of_unequal_size_count_less() -> None:
    low, high = share_interval(np.arange(100) < 99, np.array([0] * 99 + [1]))
    assert low < 0.05
    assert high > 0.99


def test_columns_leave_out_what_was_not_observed() -> None:
    values = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 1.0]])
    assert share_intervals(values, np.arange(3)) == [binomial_interval(2.0, 3.0), binomial_interval(2.0, 2.0)]


def test_the_interval_of_a_macro_mean_counts_every_taxon_once() -> None:
    random = np.random.default_rng(0)
    taxa = np.repeat(np.arange(10), 30)
    hits = random.random(300) < np.linspace(0.1, 0.9, 10)[taxa]
    low, high = macro_interval(hits, taxa, np.arange(300))
    # the mean of 300 draws with a share near 0.5 has the standard error 0.029
    assert low < hits.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.029, rel=0.1)
    # a taxon of one image weighs as much as one of 99: two draws, more or less
    low, high = macro_interval(np.ones(100), np.array([0] * 99 + [1]), np.arange(100))
    assert low < 0.4
    assert high == 1.0


def test_no_change_is_no_proof_of_equality() -> None:
    # nothing changed in 20 groups: up to 1 - 0.005^(1/20) of all may change, in either direction
    bound = 1 - 0.005 ** (1 / 20)
    assert difference_interval(np.zeros(20), np.arange(20)) == pytest.approx((-bound, bound))
    low, high = difference_interval(np.zeros(2), np.arange(2))
    assert low == -high
    assert high > 0.9


@pytest.mark.parametrize(("groups", "is_shown"), [(2, False), (5, False), (6, True), (20, True)])
def test_a_difference_is_shown_from_six_groups_that_all_improve(groups: int, is_shown: bool) -> None:
    low, high = difference_interval(np.ones(groups), np.arange(groups))
    assert (low > 0) is is_shown
    assert high == 1.0
    # and the same the other way round
    assert difference_interval(-np.ones(groups), np.arange(groups)) == pytest.approx((-high, -low))


def test_six_groups_of_twenty_show_a_difference_and_five_do_not() -> None:
    assert paired_interval(6, 0, 20)[0] > 0
    assert paired_interval(5, 0, 20)[0] < 0
    assert paired_interval(6, 1, 20)[0] < 0


def test_a_paired_difference_of_many_groups_is_near_that_of_the_normal_distribution() -> None:
    change = np.repeat([1.0, -1.0, 0.0], [60, 40, 900])
    low, high = difference_interval(change, np.arange(1000))
    # standard error sqrt(0.1 - 0.02²) / sqrt(1000) = 0.00998
    assert (low, high) == pytest.approx((0.02 - 0.0196, 0.02 + 0.0196), abs=1e-3)


_ANSWERS = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 30)), min_size=1, max_size=120)
"""For each image: better, the same or worse; and its group."""


@given(_ANSWERS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_an_interval_holds_its_figure_and_depends_on_neither_order_nor_direction(answers, shuffler) -> None:
    change, groups = (np.array(column) for column in zip(*answers, strict=True))
    hits = change > 0
    for interval_of, values, low_end, mirrored in (
        (share_interval, hits.astype(float), 0.0, 1.0 - hits),
        (difference_interval, change.astype(float), -1.0, -change.astype(float)),
    ):
        low, high = interval_of(values, groups)
        if len(set(groups.tolist())) == 1:
            assert np.isnan([low, high]).all()
            continue
        assert low_end <= low <= values.mean() + 1e-9
        assert values.mean() - 1e-9 <= high <= 1.0
        assert high - low > 0.01, "at most 31 groups"
        order = shuffler.sample(range(len(values)), len(values))
        assert interval_of(values[order], groups[order]) == pytest.approx((low, high), abs=1e-9)
        flipped = interval_of(mirrored, groups)
        assert (low_end + 1.0 - flipped[1], low_end + 1.0 - flipped[0]) == pytest.approx((low, high), abs=1e-9)


@given(_ANSWERS)
@settings(max_examples=50, deadline=None)
def test_the_same_frames_twice_are_no_more_evidence(answers) -> None:
    change, groups = (np.array(column) for column in zip(*answers, strict=True))
    for interval_of, values in ((share_interval, change > 0), (difference_interval, change)):
        once, twice = interval_of(values, groups), interval_of(np.tile(values, 2), np.tile(groups, 2))
        assert once == pytest.approx(twice, abs=0.02, nan_ok=True)


def _sizes(random: np.random.Generator, groups: int, equal: bool) -> np.ndarray:
    return np.full(groups, 4) if equal else np.maximum(1, random.lognormal(1, 1, groups)).astype(int)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("groups", [2, 5, 20, 100])
@pytest.mark.parametrize("truth", [0.02, 0.5, 0.98, 1.0])
def test_an_interval_holds_the_truth_in_at_least_93_percent_of_samples(truth: float, groups: int, equal: bool) -> None:
    random, samples, held = np.random.default_rng(round(1000 * truth) + groups + equal), 240, 0
    for sample in range(samples):
        group_N = np.repeat(np.arange(groups), _sizes(random, groups, equal))
        # images of a group: alike in a third of the samples, independent in a third, similar in a third
        within = {0: 0.02, 1: 1e3, 2: 2.0}[sample % 3]
        share_G = random.beta(truth * within, (1 - truth) * within, groups) if truth < 1 else np.ones(groups)
        low, high = share_interval(random.random(len(group_N)) < share_G[group_N], group_N)
        held += low <= truth <= high
    assert held / samples >= 0.93


@pytest.mark.parametrize("groups", [2, 5, 20, 100])
@pytest.mark.parametrize(("better", "worse"), [(0.0, 0.0), (0.02, 0.0), (0.3, 0.1), (0.9, 0.02)])
def test_an_interval_of_a_difference_holds_it_in_at_least_93_percent_of_samples(
    better: float, worse: float, groups: int
) -> None:
    random, samples, held = np.random.default_rng(groups), 240, 0
    for sample in range(samples):
        group_N = np.repeat(np.arange(groups), _sizes(random, groups, sample % 2 == 0))
        drawn_N = random.random(groups)[group_N] if sample % 3 else random.random(len(group_N))
        change_N = (drawn_N < better).astype(float) - (drawn_N >= 1 - worse)
        low, high = difference_interval(change_N, group_N)
        held += low - 1e-12 <= better - worse <= high + 1e-12
    assert held / samples >= 0.93


def test_a_share_at_the_border_between_both_sides_is_found() -> None:
    """There x and 1 - x, as they are rounded, both seem to belong to the other side."""
    x, a, b = 0.5189964417537802, 3.740924942363908, 3.3938678248918537
    assert x > (a + 1) / (a + b + 2)
    assert 1 - x > (b + 1) / (a + b + 2)
    assert _beta_share(x, a, b) == pytest.approx(1 - _beta_share(1 - x, b, a), abs=1e-12)
    assert _beta_share(x, a, b) == pytest.approx(0.4891, abs=0.05)
