"""Agreement with the tree: distances, neighbours and mistakes, in spaces small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from space_samples import grown, photographed, tree

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.analysis.hierarchy import (
    cophenetic,
    halves,
    hierarchical_error,
    nearest_species,
)
from bioclip_training.analysis.neighbours import nearest_purity
from bioclip_training.analysis.space import Space


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_features_in_the_order_of_the_tree_have_every_comparison_in_order() -> None:
    taxa = tree(3, 2, 2)
    degrees = [
        family * 40 + genus * 9 + species * 2 for family in range(3) for genus in range(2) for species in range(2)
    ]
    found = cophenetic(Space.of(on_a_circle(*degrees), range(12), taxa), permutations=199)
    assert found.in_order.value == 1.0
    assert found.spearman.value == pytest.approx(found.spearman.more["highest"])
    assert found.spearman.value < 0.95  # ties of the tree: perfect order is not 1
    assert found.spearman.p <= 0.01
    assert found.distance_at[1] == (pytest.approx(1 - np.cos(np.radians(2))), 6)
    assert {height: pairs for height, (_, pairs) in found.distance_at.items()} == {1: 6, 2: 12, 3: 48}


def test_features_without_the_tree_are_at_chance_and_their_interval_says_so() -> None:
    rng = np.random.default_rng(0)
    found = cophenetic(Space.of(rng.normal(size=(96, 16)), range(96), tree(24)), Rank.FAMILY, permutations=199)
    assert found.in_order.differs_from_chance is False
    assert found.spearman.ci95[0] < 0 < found.spearman.ci95[1]
    assert found.spearman.p > 0.05
    assert found.spearman.can_conclude


def test_fewer_than_twenty_units_conclude_nothing_whatever_the_number_of_pairs() -> None:
    taxa = tree(5, 2, 4)
    found = cophenetic(photographed(taxa, grown(taxa, 8, 1), 3, 0.1, 1), Rank.FAMILY, permutations=0).in_order
    assert found.n == 40
    assert np.isnan(found.ci95).all()
    assert found.differs_from_chance is None
    assert found.caution == "no conclusion: fewer than 6 independent units (5.0)"
    taxa = tree(8, 2, 2)
    found = cophenetic(photographed(taxa, grown(taxa, 8, 1), 3, 0.1, 1), Rank.FAMILY, permutations=0).in_order
    assert found.caution == "no conclusion: 8 families count as independent, and a conclusion takes 20"


def test_spaces_without_distances_or_without_a_tree_have_no_number_but_a_reason() -> None:
    constant = cophenetic(Space.of(np.ones((12, 4)), range(12), tree(3)))
    assert constant.spearman.is_missing
    assert "prototypes of all species are equal" in constant.spearman.caution
    sisters = cophenetic(Space.of(on_a_circle(0, 5, 10), range(3), tree(1, 1, 3)))
    assert "all meet at one height" in sisters.in_order.reason
    opposite = Space.of(np.array([[1.0, 0], [-1.0, 0], [0, 1.0], [1.0, 1.0]]), [0, 0, 1, 2], tree(2, 2, 1)[:3])
    assert "have no direction" in cophenetic(opposite).spearman.reason


def test_halves_of_the_images_agree_as_far_as_the_prototypes_are_free_of_noise() -> None:
    taxa = tree(6)
    means = grown(taxa, 16, 2)
    clear, noisy = (cophenetic(photographed(taxa, means, 4, noise, 2), permutations=0) for noise in (0.01, 3.0))
    assert clear.spearman.more["halves"] > 0.99
    assert noisy.spearman.more["halves"] < 0.4


def test_a_group_is_never_in_both_halves() -> None:
    group = np.repeat(np.arange(12), 3)
    first = halves(np.repeat([0, 1], 18), group, 5)
    assert {len(set(first[group == one])) for one in range(12)} == {1}
    assert first.sum() == 18


def test_the_nearest_prototype_and_the_nearest_beyond_the_genus() -> None:
    """Two families at 0° and 90°; the second genus of the first family lies nearer to the other family."""
    taxa = tree(2, 2, 2)
    space = Space.of(on_a_circle(0, 2, 50, 52, 90, 92, 100, 103), range(8), taxa)
    found = nearest_purity(space, of="species")
    assert found[Rank.GENUS].value == 1.0
    assert found[Rank.GENUS].chance == pytest.approx(1 / 7)
    assert found[Rank.FAMILY].value == 1.0  # by the genus alone
    assert found[Rank.FAMILY].more["beyond"] == pytest.approx(6 / 8)
    assert found[Rank.FAMILY].more["beyond_chance"] == pytest.approx(2 / 6)
    assert "all species share one" in found[Rank.ORDER].reason


def test_images_of_the_same_group_are_not_neighbours_and_equal_neighbours_share() -> None:
    taxa = tree(1, 2, 1)
    space = Space.of(on_a_circle(0, 0, 10, 40, 40), [0, 0, 0, 1, 1], taxa, ["a", "a", "b", "c", "c"])
    found = nearest_purity(space)[Rank.SPECIES]
    assert found.n == 3  # the second species has one group, so its images cannot find another
    assert found.value == 1.0
    assert found.chance == pytest.approx((1 / 3 + 1 / 3 + 2 / 4) / 3)
    tied = nearest_purity(Space.of(on_a_circle(0, 10, -10), [0, 0, 1], taxa))[Rank.SPECIES]
    assert tied.value == pytest.approx((0.5 + 1.0) / 2)


def test_an_image_is_answered_without_its_own_group() -> None:
    space = Space.of(on_a_circle(0, 60, 100, 102), [0, 0, 1, 1], tree(1, 2, 1))
    assert nearest_species(space).tolist() == [
        0,
        1,
        1,
        1,
    ]  # with itself, the second would be nearest to its own, at 30°
    grouped = Space.of(on_a_circle(0, 1, 90, 92), [0, 0, 1, 1], tree(1, 2, 1), [0, 0, 1, 2])
    assert nearest_species(grouped).tolist() == [-1, -1, 1, 1]


def test_the_height_of_mistakes_and_its_chance() -> None:
    """Mistakes of heights 1, 2 and 3 of five answers; a wrong species at random of 1 + 2 × 2 + 4 × 3 in 7."""
    space = Space.of(np.eye(8)[[0, 0, 0, 0, 0]] + 0.1, [0] * 5, tree(2))
    whole = Space.of(np.eye(8), range(8), tree(2))
    answered = Space(space.features_ND, np.zeros(5, dtype=np.int64), whole.taxa, space.group_N, space.kept_N)
    found = hierarchical_error(answered, np.array([1, 2, 4, 0, -1]))
    assert found.mistakes.value == 2.0
    assert found.all.value == 1.5
    assert found.mistakes.chance == pytest.approx((1 + 2 * 2 + 4 * 3) / 7)
    assert found.all.chance == pytest.approx((1 + 2 * 2 + 4 * 3) / 8)
    assert found.mistakes_at == {1: 1, 2: 1, 3: 1}


def test_no_mistake_and_no_answer_are_said() -> None:
    space = Space.of(np.eye(8), range(8), tree(2))
    assert hierarchical_error(space, space.species_N).mistakes.reason == "there is no wrong answer"
    assert hierarchical_error(space, space.species_N).all.value == 0.0
    assert "takes two species with images in two groups" in hierarchical_error(space, nearest_species(space)).all.reason


def test_mistakes_of_features_in_the_order_of_the_tree_lie_low() -> None:
    taxa = tree(24)
    space = photographed(taxa, grown(taxa, 24, 3), 6, 1.0, 3)
    found = hierarchical_error(space, nearest_species(space), Rank.FAMILY)
    assert found.mistakes.value < 2.0 < found.mistakes.chance
    assert found.mistakes.unit == "family"
    assert sum(found.mistakes_at.values()) == found.mistakes.n


def test_labels_of_higher_ranks_take_part_at_their_ranks() -> None:
    taxa = [
        Taxon("Animalia", family="A"),
        Taxon("Animalia", family="B", genus="Bus"),
        Taxon("Animalia", family="B", genus="Cus"),
    ]
    found = nearest_purity(Space.of(on_a_circle(0, 60, 70), range(3), taxa), of="species")
    assert found[Rank.FAMILY].value == 1.0
    assert found[Rank.FAMILY].n == 2
    assert found[Rank.GENUS].is_missing
