"""Accuracies, intervals and calibration errors, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bioclip_training.evaluation.scores import (
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
