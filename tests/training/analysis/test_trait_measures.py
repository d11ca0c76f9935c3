"""Traits of species: correlation beyond the tree, and probes that never saw the species, genus or family they are asked about."""

from __future__ import annotations

import numpy as np
import pytest
from space_samples import grown, photographed, tree

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.hierarchy import nearest_species
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.trait_probe import folds, probe_trait
from bioclip_training.analysis.traits import Trait, trait_correlation

TAXA = tree(24)
FAMILY = np.arange(96) // 4


def test_cells_are_numbers_if_all_are_and_words_otherwise() -> None:
    size = Trait.of("beak", ["12.5", " 3 ", "", None, float("nan")])
    assert size.is_numeric
    assert size.values[:2].tolist() == [12.5, 3.0]
    assert size.known.tolist() == [True, True, False, False, False]
    habitat = Trait.of("habitat", ["Reef", "reef ", "sand", ""])
    assert habitat.words == ("reef", "sand")
    assert habitat.differences()[:2, :3].tolist() == [[0, 0, 1], [0, 0, 1]]
    assert Trait.of("code", [1, 2, 1], "categorical").words == ("1", "2")
    with pytest.raises(UsageError, match="trait beak: 'large' is not a number"):
        Trait.of("beak", ["12.5", "large"], "numeric")
    assert not Trait.of("size", ["1", "inf"]).is_numeric


def test_a_trait_that_the_distances_follow_is_correlated_by_hand() -> None:
    """Angles 0, 10, 30, 60 and sizes 0, 1, 3, 6: both orders of the six pairs are the same but for the tie of 3 and 30."""
    angles = np.radians([0, 10, 30, 60])
    space = Space.of(np.stack([np.cos(angles), np.sin(angles)], axis=1), range(4), tree(1, 2, 2))
    found = trait_correlation(space, Trait.of("size", [0, 1, 3, 6]), permutations=99)
    assert found.value == pytest.approx(1.0)
    assert np.isnan(found.ci95).all()
    assert "fewer than 6 independent units" in found.caution


def test_a_trait_of_families_is_explained_by_the_tree_and_the_permutations_within_families_show_it() -> None:
    """The leak by phylogeny: a plain Mantel test of two things that both follow the tree finds an association."""
    space = photographed(TAXA, grown(TAXA, 32, 0), 3, 0.2, 0)
    by_family = Trait.of("habitat", [f"habitat {family % 3}" for family in FAMILY])
    found = trait_correlation(space, by_family, Rank.FAMILY, within=Rank.FAMILY, permutations=199)
    assert found.p == 0.005
    assert found.more["p_within"] == 1.0
    assert found.more["tree"] > 0.02
    assert (
        trait_correlation(space, by_family, Rank.FAMILY, permutations=0).more["within"] == "order"
    )  # where it differs


def test_a_trait_that_features_follow_beyond_the_tree_is_found_within_families() -> None:
    rng = np.random.default_rng(1)
    size = rng.normal(size=96)
    means = grown(TAXA, 16, 1)
    means[:, 0] = 4 * size
    found = trait_correlation(
        photographed(TAXA, means, 3, 0.2, 1),
        Trait.of("size", list(size)),
        Rank.FAMILY,
        within=Rank.FAMILY,
        permutations=199,
    )
    assert found.value > 0.3
    assert found.more["beyond_tree_ci95"][0] > 0.2
    assert found.more["p_within"] == 0.005
    assert found.more["within"] == "family"


def test_species_without_a_value_are_left_out_and_too_few_are_said() -> None:
    space = photographed(TAXA, grown(TAXA, 16, 2), 2, 0.1, 2)
    some = Trait.of("size", [None, *range(95)])
    found = trait_correlation(space, some, permutations=0)
    assert found.n == 95
    assert found.more["without_value"] == 1
    names = [taxon.name for taxon in TAXA]
    two = trait_correlation(space, Trait.of("size", [1, 2, *[None] * 94])).reason
    assert two == f"2 of 96 species have a value (the first: {names[0]}), and 3 are needed"
    equal = Trait.of("size", [None, *[7] * 95])
    assert (
        trait_correlation(space, equal).reason
        == f"all 95 values are 7 (the first: {names[1]}), and nothing follows from equal ones"
    )
    empty = f"none of 96 species has a value (the first without: {names[0]})"
    assert Trait.of("size", [None] * 96).lacking(names, "species") == empty
    reef = Trait.of("habitat", ["reef"] * 5).lacking(["Scarus ghobban"] * 2 + names[:3], "images")
    assert reef == "all 5 values are reef (the first: Scarus ghobban), and nothing follows from equal ones"


def test_a_probe_that_could_only_recognise_species_fails_on_species_it_never_saw() -> None:
    """Words dealt to species at random: every image's species is known without fault, the word of a new species is not."""
    space = photographed(TAXA, grown(TAXA, 48, 3), 5, 0.3, 3)
    words = np.random.default_rng(3).permutation(np.repeat(["sea", "land"], 48))
    assert (nearest_species(space) == space.species_N).mean() > 0.99
    found = probe_trait(space, Trait.of("habitat", list(words)))
    assert found.chance == 0.5
    assert found.ci95[0] < 0.5 < found.ci95[1]


def test_a_trait_of_families_is_predicted_for_new_species_and_at_chance_for_new_families() -> None:
    space = photographed(TAXA, grown(TAXA, 48, 4), 4, 0.3, 4)
    trait = Trait.of(
        "habitat", [["forest", "meadow"][value] for value in np.random.default_rng(5).integers(0, 2, 24)[FAMILY]]
    )
    species, family = probe_trait(space, trait), probe_trait(space, trait, Rank.FAMILY)
    assert species.ci95[0] > 0.6
    assert species.more["relatives"] > 0.95  # even better without features
    assert family.ci95[0] < 0.5 < family.ci95[1]
    assert (family.unit, round(family.units)) == ("family", 24)


def test_a_direction_that_means_the_same_in_all_families_is_found_in_new_ones() -> None:
    rng = np.random.default_rng(6)
    size = rng.normal(size=96)
    means = grown(TAXA, 24, 6)
    means[:, 0] = 3 * size
    space = photographed(TAXA, means, 4, 0.3, 6)
    words = probe_trait(space, Trait.of("size", ["large" if one > 0 else "small" for one in size]), Rank.FAMILY)
    numbers = probe_trait(space, Trait.of("size", list(size)), Rank.FAMILY)
    assert words.ci95[0] > 0.75
    assert words.more["relatives"] < 0.65
    assert numbers.value > 0.85
    assert numbers.more["r2"] > 0.7
    assert numbers.differs_from_chance


def test_numbers_without_a_pattern_are_at_zero_and_not_below() -> None:
    """A fold's own mean is high where the left-out values are low: predictions of the mean alone would be correlated negatively."""
    taxa = tree(6)
    found = []
    for seed in range(12):
        rng = np.random.default_rng([seed, 1])
        space = Space.of(rng.normal(size=(24, 3)), range(24), taxa)
        found.append(probe_trait(space, Trait.of("size", list(rng.normal(size=24))), seed=seed).value)
    assert abs(np.mean(found)) < 0.15


def test_a_trait_may_differ_between_images_of_a_species() -> None:
    rng = np.random.default_rng(8)
    night = rng.integers(0, 2, 192)
    means = grown(TAXA, 16, 8)
    features = means[np.repeat(np.arange(96), 2)] + 0.2 * rng.normal(size=(192, 16))
    features[:, 3] += 4 * night
    space = Space.of(features, np.repeat(np.arange(96), 2), TAXA)
    assert probe_trait(space, Trait.of("light", [["day", "night"][one] for one in night]), per_image=True).value > 0.9
    with pytest.raises(UsageError, match="trait light: 96 values for 192 images"):
        probe_trait(space, Trait.of("light", ["day"] * 96), per_image=True)


def test_a_word_of_one_family_is_left_out_and_named() -> None:
    space = photographed(TAXA, grown(TAXA, 16, 9), 2, 0.3, 9)
    words = [("cave" if family == 0 else ["sea", "land"][family % 2]) for family in FAMILY]
    found = probe_trait(space, Trait.of("habitat", words), Rank.FAMILY)
    assert found.more["left_out"] == ["cave"]
    assert found.more["words"] == 2
    alone = probe_trait(space, Trait.of("habitat", ["sea" if family else "cave" for family in FAMILY]), Rank.FAMILY)
    assert "fewer than two values occur in two families" in alone.reason


def test_constant_features_predict_by_chance() -> None:
    space = Space.of(np.ones((96, 4)), range(96), TAXA)
    found = probe_trait(space, Trait.of("habitat", ["sea", "land", "air"] * 32))
    assert found.value == pytest.approx(1 / 3)
    assert np.isnan(probe_trait(space, Trait.of("size", list(range(96)))).value)


def test_no_fold_is_empty_and_each_word_is_learnt_from_wherever_it_is_asked() -> None:
    """Field cases: folds of whole groups were empty, or lacked a class (scikit-learn/scikit-learn#33085, #28218)."""
    targets = np.eye(3)[[1, 1, 0, 0, 2, 2]]
    found = folds(np.array([0, 1, 1, 2, 2, 3]), targets, 2, 0)
    assert sorted(set(found.tolist())) == [0, 1]
    for seed in range(20):
        words = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [2, 3, 15]))
        unit = np.arange(20)
        fold = folds(unit, np.eye(3)[words], 5, seed)
        assert sorted(set(fold.tolist())) == [0, 1, 2, 3, 4]
        assert all(len(set(fold[words == word])) >= 2 for word in range(3))
    assert len(set(folds(np.arange(2), None, 5, 0).tolist())) == 2
