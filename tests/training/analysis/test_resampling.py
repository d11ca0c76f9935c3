"""Rank correlations with ties, the jackknife over units, and Mantel's test, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from space_samples import grown, photographed, tree

from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.hierarchy import cophenetic
from bioclip_training.analysis.ranked import (
    highest_spearman,
    midranks,
    partial_spearman,
    share_in_order,
    spearman,
)
from bioclip_training.analysis.resampling import MOST_BLOCKS, jackknife, mantel_p, permutation_p


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_spearman_with_ties_is_pearson_of_mean_ranks() -> None:
    """A field case: scipy gave other values with ties and missing ones (scipy/scipy#8196).

    Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: deviations -1.5, 0, 0, 1.5 and -1.5, -0.5, 0.5, 1.5; 4.5 / sqrt(4.5 × 5).
    """
    assert spearman(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])))


def test_distances_that_differ_in_the_last_digits_are_ties() -> None:
    assert spearman(np.array([0.3, 0.1 + 0.2, 1.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1.5 / np.sqrt(1.5 * 2))


def test_the_share_in_order_counts_comparisons_at_different_heights() -> None:
    """1 < 2, 1 < 4 and 3 < 4 are in order, 3 > 2 is not; the equal pair counts half."""
    assert share_in_order(np.array([1.0, 3.0, 2.0, 4.0]), np.array([1, 1, 2, 2])) == 0.75
    assert share_in_order(np.array([2.0, 2.0]), np.array([1, 2])) == 0.5
    assert share_in_order(np.array([1.0, 2.0, 3.0]), np.array([1, 3, 7])) == 1.0
    assert np.isnan(share_in_order(np.array([1.0, 2.0]), np.array([4, 4])))


def test_ties_of_the_tree_keep_a_perfect_order_below_one() -> None:
    distance, height = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 2, 2, 2])
    assert spearman(distance, height) == highest_spearman(distance[::-1], height)
    assert spearman(distance, height) == pytest.approx(3 / np.sqrt(5 * 3))  # ranks 1, 3, 3, 3
    assert share_in_order(distance, height) == 1.0


def test_a_partial_correlation_is_zero_if_the_third_explains_all_and_unchanged_if_it_is_constant() -> None:
    given = np.array([1.0, 2.0, 3.0, 4.0])
    assert np.isnan(partial_spearman(given, np.array([1.0, 3.0, 2.0, 4.0]), given))
    assert partial_spearman(given, np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)) == pytest.approx(0.8)


def test_the_interval_of_a_mean_of_equal_units_is_students() -> None:
    """Values 0 to 6: mean 3, standard error sqrt(28 / 6 / 7) = 0.816497, t of 6 degrees 2.446912."""
    values = np.arange(7.0)
    found = jackknife(lambda keep: float(values[keep].mean()), np.arange(7))
    assert found.ci95 == pytest.approx((3 - 2.446912 * 0.816497, 3 + 2.446912 * 0.816497), abs=1e-4)
    doubled = np.repeat(values, 2)
    assert jackknife(lambda keep: float(doubled[keep].mean()), np.repeat(np.arange(7), 2)).ci95 == pytest.approx(
        found.ci95
    )


def test_unequal_units_count_by_their_size_and_in_any_order() -> None:
    unit = np.repeat(np.arange(10), [12, 1, 3, 2, 5, 1, 4, 9, 2, 6])
    values = np.random.default_rng(3).normal(size=len(unit)) + unit
    found = jackknife(lambda keep: float(values[keep].mean()), unit)
    order = np.random.default_rng(4).permutation(len(unit))
    again = jackknife(lambda keep: float(values[order][keep].mean()), 9 - unit[order])
    assert again.ci95 == pytest.approx(found.ci95)
    assert found.units == pytest.approx(45**2 / 321)


def test_fewer_than_six_units_have_no_interval_and_say_so() -> None:
    found = jackknife(lambda keep: float(keep.sum()), np.array([0, 0, 1, 2, 3, 4]))
    assert np.isnan(found.ci95).all()
    assert "fewer than 6 independent units" in found.reason


def test_a_share_of_all_has_an_interval_with_a_width() -> None:
    """Of 20 units that all agree, the exact interval of 20 of 20 draws begins at 0.025 ** (1 / 20)."""
    low, high = jackknife(lambda keep: float(keep[keep].mean()), np.arange(20), scale="share").ci95
    assert (low, high) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    opposite = jackknife(lambda keep: -1.0, np.arange(20), scale="correlation").ci95
    assert opposite == (-1.0, pytest.approx(1 - 2 * 0.025 ** (1 / 20)))


def test_a_statistic_that_hangs_on_one_unit_has_no_interval() -> None:
    values = np.array([1.0, *[0.0] * 7])
    found = jackknife(lambda keep: spearman(values[keep], np.arange(8)[keep]), np.arange(8), scale="correlation")
    assert np.isnan(found.ci95).all()
    assert "without one of the units" in found.reason


def test_thousands_of_units_are_joined_into_blocks() -> None:
    calls = []
    jackknife(lambda keep: float(len(calls.append(1) or keep)), np.arange(5000))  # type: ignore[func-returns-value]
    assert len(calls) == MOST_BLOCKS + 1


def test_a_permutation_p_counts_equal_values_also_those_of_another_order_of_sums_and_is_never_zero() -> None:
    """Field cases: mlxtend counted larger values only (rasbt/mlxtend#718); sums in another order differ in the last digits and
    were not equal (scipy/scipy#15869, vegandevs/vegan#136)."""
    assert permutation_p(0.3, np.array([0.1 + 0.2, 0.3, 0.0])) == 0.75
    assert permutation_p(0.1 + 0.2, np.array([0.3, 0.3, 0.3])) == 1.0
    assert permutation_p(9.0, np.zeros(99)) == 0.01
    assert np.isnan(permutation_p(float("nan"), np.zeros(9)))


def test_mantel_counts_the_symmetries_of_the_tree() -> None:
    """Of the 24 orders of ((a, b), (c, d)) 8 leave it as it is, so that no tree of four species shows anything: p is 1/3."""
    tree_of_four = np.array([[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 1], [2, 2, 1, 0]]) * 0.1
    assert mantel_p(tree_of_four, tree_of_four * 3, permutations=1999) == pytest.approx(1 / 3, abs=0.03)


def test_mantel_permutes_species_and_not_pairs() -> None:
    """One far species makes 9 of 45 pairs far in both: p of independent pairs would be 1e-9, of species it is 1 in 10."""
    far = np.zeros((10, 10))
    far[0, 1:] = far[1:, 0] = 1
    assert mantel_p(far, far, permutations=1999) == pytest.approx(0.1, abs=0.02)


def test_mantel_within_clades_sees_nothing_of_what_the_clades_explain() -> None:
    clade = np.repeat(np.arange(8), 3)
    apart = (clade[:, None] != clade).astype(float)
    assert mantel_p(apart, apart, permutations=199) == 0.005
    assert mantel_p(apart, apart, permutations=199, within_T=clade) == 1.0
    assert np.isnan(mantel_p(apart, apart, within_T=np.arange(24)))


def test_mantel_of_a_constant_matrix_has_no_p() -> None:
    """A field case: constant or missing distances gave NaN for everything (jwcarr/mantel#13), or a p all the same."""
    constant = np.ones((5, 5)) - np.eye(5)
    assert np.isnan(mantel_p(constant, np.arange(25.0).reshape(5, 5)))


def test_the_interval_holds_the_mean_of_many_worlds() -> None:
    """Of 24 families each: the same statistic over 40 worlds has the mean that most intervals contain."""
    taxa = tree(12, 2, 1)
    found = []
    for seed in range(40):
        space = photographed(taxa, grown(taxa, 8, seed), 2, 0.3, seed)
        found.append(cophenetic(space, Rank.FAMILY, permutations=0).in_order)
    mean = np.mean([measure.value for measure in found])
    inside = np.mean([measure.ci95[0] <= mean <= measure.ci95[1] for measure in found])
    assert inside >= 0.85
    assert np.mean([measure.ci95[1] - measure.ci95[0] for measure in found]) < 0.25
