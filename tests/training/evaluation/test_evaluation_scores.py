"""Accuracies, intervals and calibration errors, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bioclip_training.evaluation.scores import (
    bootstrap_interval,
    bootstrap_intervals,
    macro_interval,
    macro_mean,
    mean_nll,
    numbered,
    rank_hits,
    reliability,
)


def test_an_answer_is_a_hit_if_few_enough_answers_are_better_than_the_truth() -> None:
    place = np.array([0, 1, 4, 5, -1])
    assert rank_hits(place, 1).tolist() == [True, False, False, False, False]
    assert rank_hits(place, 5).tolist() == [True, True, True, False, False]


def test_the_macro_mean_counts_every_taxon_once() -> None:
    hits, taxa = np.array([True, True, True, False]), np.array([4, 4, 4, 9])
    assert macro_mean(hits, taxa) == 0.5
    assert np.isnan(macro_mean(np.empty(0, bool), np.empty(0, np.int64)))


def test_an_interval_of_independent_images_is_that_of_the_binomial_distribution() -> None:
    hits = np.arange(400) < 100
    low, high = bootstrap_interval(hits, np.arange(400), seed=1, resamples=4000)
    # a share of 0.25 over 400 has the standard error sqrt(0.25 * 0.75 / 400) = 0.02165, so 0.25 -+ 1.96 * 0.02165; the
    # tolerance is three standard errors of a percentile of 4000 resamples, and the step of 1/400 between shares
    assert (low, high) == pytest.approx((0.2076, 0.2924), abs=0.006)


def test_frames_of_one_track_are_one_observation() -> None:
    hits = np.repeat(np.arange(20) % 2 == 0, 50)
    apart = bootstrap_interval(hits, np.arange(1000), seed=3)
    tracks = bootstrap_interval(hits, np.repeat(np.arange(20), 50), seed=3)
    # standard errors: sqrt(0.25 / 1000) = 0.0158 and sqrt(0.25 / 20) = 0.112
    assert apart[1] - apart[0] == pytest.approx(2 * 1.96 * 0.0158, rel=0.15)
    assert tracks[1] - tracks[0] == pytest.approx(2 * 1.96 * 0.1118, rel=0.15)


def test_the_same_seed_gives_the_same_interval_and_nan_is_no_observation() -> None:
    values = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, np.nan]])
    one, two = (bootstrap_intervals(values, np.array([0, 1, 2]), seed=5, resamples=200) for _ in range(2))
    assert one == two
    assert one[1] == (1.0, 1.0)
    assert bootstrap_intervals(np.full((2, 1), np.nan), np.array([0, 1]), resamples=100)[0] == pytest.approx(
        (np.nan, np.nan), nan_ok=True
    )


def test_the_interval_of_a_macro_mean_holds_it() -> None:
    random = np.random.default_rng(0)
    taxa = np.repeat(np.arange(10), 30)
    hits = random.random(300) < np.linspace(0.1, 0.9, 10)[taxa]
    low, high = macro_interval(hits, taxa, np.arange(300), seed=2)
    # a taxon's share has the variance p (1 - p) / 30; the mean of ten has the standard error 0.025
    assert low < macro_mean(hits, taxa) < high
    assert high - low == pytest.approx(2 * 1.96 * 0.025, rel=0.25)


def test_the_calibration_error_is_the_gap_between_probability_and_accuracy() -> None:
    probability = np.array([0.2] * 10 + [0.9] * 10)
    hits = np.array([True] * 4 + [False] * 6 + [True] * 7 + [False] * 3)
    found = reliability(probability, hits, bins=2)
    assert found.accuracy_B.tolist() == [0.4, 0.7]
    assert found.ece == pytest.approx((0.2 + 0.2) / 2)
    assert reliability(np.ones(5), np.ones(5, bool)).ece == 0.0
    assert reliability(np.ones(5), np.ones(5, bool)).count_B.sum() == 5


def test_the_likelihood_of_an_impossible_truth_is_finite() -> None:
    assert mean_nll(np.array([0.5, 0.25])) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert 87 < mean_nll(np.array([0.0])) < 88


def test_names_are_numbered_as_they_come() -> None:
    assert numbered(["b", "a", "b", ("", 3)]).tolist() == [0, 1, 0, 2]
