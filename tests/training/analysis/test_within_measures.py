"""Variation within species: outside of the span of species means, along their differences, and of classes such as life stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from space_samples import grown, photographed, tree

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.classes import (
    _parts,
    _permuted,
    _Products,
    _Split,
    class_separation,
    variance_components,
)
from bioclip_training.analysis.maps import tsne
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.traits import Trait
from bioclip_training.analysis.within import relative, residuals, span_of, within_species

TAXA = tree(24, 1, 1)


def only(dimension: int, *places: int) -> np.ndarray:
    """Return a matrix that keeps some directions of normal numbers."""
    kept = np.zeros((dimension, dimension))
    kept[places, places] = 1
    return kept


def test_individuals_that_vary_in_other_directions_than_species_are_orthogonal() -> None:
    means = grown(TAXA, 6, 0) @ only(6, 0, 1, 2)
    found = within_species(photographed(TAXA, means, 40, only(6, 3, 4, 5) * 0.001, 0))
    assert found.main_orthogonal.value > 0.99
    assert found.main_orthogonal.more["directions"] <= 3
    assert abs(found.overlap.value) < 0.01
    assert found.overlap.more["same_shape"] == pytest.approx(2.0, abs=0.1)  # three of six dimensions


def test_individuals_that_vary_as_species_do_are_inside() -> None:
    means = grown(TAXA, 6, 1) @ only(6, 0, 1, 2)
    found = within_species(photographed(TAXA, means, 20, only(6, 0, 1, 2) * 0.3, 1))
    assert found.orthogonal.value == pytest.approx(0.0, abs=1e-9)
    assert found.orthogonal.chance == 0.5
    assert found.overlap.value == pytest.approx(found.overlap.more["same_shape"], rel=0.15)
    assert relative(found.overlap).value == pytest.approx(1.0, rel=0.15)
    assert relative(found.overlap).differs_from_chance is None


def test_equal_variation_in_all_directions_is_at_chance() -> None:
    found = within_species(photographed(TAXA, grown(TAXA, 64, 2), 12, 0.5, 2))
    assert found.orthogonal.more["directions"] == 23
    assert found.orthogonal.chance == 1 - 23 / 64
    assert found.orthogonal.value == pytest.approx(1 - 23 / 64, abs=0.02)
    assert found.overlap.ci95[0] < 1 < found.overlap.ci95[1]
    assert found.overlap.differs_from_chance is False


def test_few_images_turn_the_span_towards_variation_within_species_and_the_agreed_figures_are_free_of_it() -> None:
    """Species differ in one direction, individuals much more in twenty others: truly orthogonal, and means of two images are not."""
    means = 2.0 * grown(TAXA, 64, 3) @ only(64, 0)
    found = within_species(photographed(TAXA, means, 4, only(64, *range(1, 21)), 3), draws=10)
    assert found.orthogonal.value < 0.1  # 23 means of noise span the twenty directions
    assert found.orthogonal.more["shuffled"] < 0.1  # as means without regard to species do
    assert abs(found.overlap.value) < 0.3
    assert found.overlap.more["same_shape"] > 3


def test_as_many_species_as_dimensions_leave_nothing_outside_and_this_is_said() -> None:
    found = within_species(photographed(TAXA, grown(TAXA, 16, 4), 8, 0.3, 4))
    assert found.orthogonal.is_missing
    assert found.orthogonal.reason == "the means of 24 species span all 16 dimensions: nothing can lie outside of them"
    assert found.overlap.value > 0
    assert 0 < found.main_orthogonal.more["directions"] < 16


def test_single_images_equal_images_and_two_species_have_reasons_instead_of_numbers() -> None:
    single = within_species(Space.of(np.eye(24), range(24), TAXA))
    assert "0 species have four images in two groups" in single.orthogonal.reason
    means = np.repeat(np.arange(24), 4)
    equal = within_species(Space.of(np.eye(30)[means], means, TAXA))
    assert "nothing varies within species" in equal.overlap.reason
    assert "nothing varies within species" in equal.orthogonal.reason
    two = within_species(photographed(TAXA[:2], grown(TAXA[:2], 4, 0), 8, 0.1, 0))
    assert "at least three are needed" in two.overlap.reason


def test_images_of_one_group_per_species_are_not_two_halves() -> None:
    species = np.repeat(np.arange(24), 6)
    features = np.random.default_rng(0).normal(size=(144, 8))
    assert "0 species" in within_species(Space.of(features, species, TAXA, species)).orthogonal.reason


def test_a_species_of_one_image_gives_a_mean_and_no_residual() -> None:
    deviation, weight = residuals(np.array([[1.0], [3.0], [9.0]]), np.array([0, 0, 1]), 2)
    assert deviation.tolist() == [[-1.0], [1.0], [0.0]]
    assert weight.tolist() == [1.0, 1.0, 0.0]


def test_the_span_of_equal_means_has_no_direction() -> None:
    span = span_of(np.ones((5, 3)), np.ones((5, 3)))
    assert span.directions_DK.shape == (3, 0)
    assert span.main == 0


def test_variance_between_classes_is_corrected_for_the_noise_of_their_means() -> None:
    """Adults at 1 and 3, young at 11 and 13: between (10² / 2) = 50, within 2, noise of a mean of two 1: 49."""
    values = np.array([[1.0], [3.0], [11.0], [13.0], [5.0]])
    between, within = variance_components(values, np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 0]), 2, 2)
    assert between.tolist() == [49.0, 0.0]
    assert within.tolist() == [2.0, 0.0]


def test_variances_from_inner_products_are_those_from_features() -> None:
    """A permutation test computes with the products of the observations, whatever classes it draws."""
    space, trait = staged(3, images=9)
    split = _Split(space.features_ND, space.features_ND[:, :4], space.species_N, trait.values.astype(np.int64), 2)
    products = _Products.of(split, 24)
    rng = np.random.default_rng(0)
    for drawn in (split.class_M, _permuted(split, rng), np.zeros(216, dtype=np.int64)):
        features = _parts(replace(split, class_M=drawn), 24)
        assert products.parts(drawn) == pytest.approx(features, abs=1e-12)


def staged(
    direction: int, *, young: float = 0.5, dimension: int = 40, seed: int = 0, images: int = 24
) -> tuple[Space, Trait]:
    """Return species that differ in ten directions, with young that differ from adults along one; each species has its share."""
    rng = np.random.default_rng(seed)
    means = grown(TAXA, dimension, seed) @ only(dimension, *range(10))
    species = np.repeat(np.arange(24), images)
    share = np.where(species % 2, young, 1 - young)
    is_young = rng.random(len(species)) < share
    features = means[species] + 0.3 * rng.normal(size=(len(species), dimension))
    features[:, direction] += 2.0 * is_young
    return Space.of(features, species, TAXA, normalise=False), Trait.of(
        "life stage", ["young" if one else "adult" for one in is_young]
    )


def test_a_life_stage_outside_of_the_span_separates_outside() -> None:
    found = class_separation(*staged(30), draws=2, permutations=99)
    assert found.outside_share.value > 0.9
    assert found.outside.value > 5 * max(found.inside.value, 0.01)
    assert found.gain.ci95[0] > 0
    assert found.outside.p == 0.01
    assert found.whole.more["words"] == ["adult", "young"]


def test_a_life_stage_along_the_differences_between_species_separates_inside() -> None:
    found = class_separation(*staged(3), draws=2, permutations=0)
    assert found.inside.value > found.outside.value
    assert found.gain.ci95[1] < 0
    assert found.outside_share.value < 0.5 < found.outside_share.chance


def test_a_species_seen_mostly_young_does_not_put_life_stage_into_the_span() -> None:
    """Half of the species are mostly young, half mostly adult: plain means would differ along the life stage."""
    space, trait = staged(30, young=0.75, images=32)
    found = class_separation(space, trait, draws=2, permutations=0)
    assert found.outside_share.value > 0.9
    plain = span_of(space.prototypes_TD, space.prototypes_TD).directions_DK
    assert np.square(plain[30]).sum() > 0.9


def test_a_class_that_changes_nothing_is_at_zero() -> None:
    space, trait = staged(30)
    drawn = np.random.default_rng(9).permutation(trait.values)
    found = class_separation(space, Trait("sex", drawn, ("female", "male")), draws=2, permutations=99)
    assert found.whole.ci95[0] < 0 < found.whole.ci95[1]
    assert found.whole.p > 0.01


def test_images_of_one_individual_are_one_observation() -> None:
    """Four images of each of two individuals of each sex are no evidence about sexes."""
    rng = np.random.default_rng(1)
    species, individual = np.repeat(np.arange(24), 16), np.repeat(np.arange(96), 4)
    features = grown(TAXA, 30, 1)[species] + rng.normal(size=(96, 30))[individual] + 0.01 * rng.normal(size=(384, 30))
    sexes = Trait.of("sex", [["female", "male"][one % 2] for one in individual])
    assert (
        "0 species have 4 independent images"
        in class_separation(Space.of(features, species, TAXA, individual), sexes).whole.reason
    )
    assert class_separation(Space.of(features, species, TAXA), sexes, draws=1, permutations=0).whole.value > 0.5


def test_too_few_values_and_numbers_are_said() -> None:
    space, _ = staged(30)
    assert "a class has words" in class_separation(space, Trait.of("mass", list(range(len(space))))).gain.reason
    assert (
        "no image has a value" in class_separation(space, Trait("sex", np.full(len(space), np.nan), ("f",))).gain.reason
    )
    rare = Trait.of("sex", ["female", *["male"] * (len(space) - 1)])
    assert class_separation(space, rare).gain.reason.startswith(
        "sex: 0 species have 4 independent images of each of two values"
    )


def test_more_species_than_dimensions_leave_an_outside_of_the_main_directions_only() -> None:
    space, trait = staged(14, dimension=16)
    everything = class_separation(space, trait, span="all", draws=1, permutations=0)
    assert "span all 16 dimensions" in everything.outside.reason
    found = class_separation(space, trait, draws=1, permutations=0)
    assert found.outside.more["span"] == "main"
    assert found.outside.more["directions"] < 16
    assert found.gain.value > 0


def test_a_map_has_a_perplexity_that_its_points_allow_and_equal_points_do_not_break_it() -> None:
    """A field case: more perplexity than points gave a broken map without an error (scikit-learn/scikit-learn#23471)."""
    points = np.repeat(np.random.default_rng(0).normal(size=(5, 8)), 2, axis=0)
    first, perplexity = tsne(points)
    assert perplexity == 3.0
    assert np.isfinite(first).all()
    assert np.array_equal(first, tsne(points)[0])
    with pytest.raises(UsageError, match="needs at least 4"):
        tsne(points[:3])
    with pytest.raises(UsageError, match="not all equal"):
        tsne(np.ones((8, 2)))


def test_the_unit_of_the_interval_may_be_the_family() -> None:
    taxa = tree(6, 2, 2)
    found = within_species(photographed(taxa, grown(taxa, 48, 5), 8, 0.3, 5), Rank.FAMILY)
    assert found.overlap.unit == "family"
    assert found.overlap.units == 6
    assert not found.overlap.can_conclude


def test_species_with_a_mean_alone_do_not_count_as_evidence_about_variation() -> None:
    taxa = tree(30, 1, 1)
    means = grown(taxa, 40, 6)
    counts = np.where(np.arange(30) < 8, 8, 1)
    species = np.repeat(np.arange(30), counts)
    features = means[species] + 0.3 * np.random.default_rng(6).normal(size=(len(species), 40))
    found = within_species(Space.of(features, species, taxa, normalise=False))
    assert found.overlap.n == found.overlap.units == 8
    assert "8 species count as independent, and a conclusion takes 20" in found.overlap.caution
