"""Feature spaces: what is dropped and refused; heights at which lineages meet; clades."""

from __future__ import annotations

import numpy as np
import pytest
from space_samples import tree

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.analysis.space import Space, class_means, distances
from bioclip_training.analysis.tree import clades, is_tip, meeting_heights

GHOBBAN = Taxon("Animalia", "Chordata", "Teleostei", "Perciformes", "Scaridae", "Scarus", "ghobban")
PSITTACUS = Taxon("Animalia", "Chordata", "Teleostei", "Perciformes", "Scaridae", "Scarus", "psittacus")
CHLORURUS = Taxon("Animalia", "Chordata", "Teleostei", "", "Scaridae", "Chlorurus", "sordidus")
WRASSE = Taxon("Animalia", "Chordata", "Teleostei", "Perciformes", "Labridae", "Thalassoma", "lunare")
MAPLE = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "palmatum")


def test_heights_count_the_ranks_up_to_the_common_one_and_pass_over_missing_ranks() -> None:
    heights = meeting_heights([GHOBBAN, PSITTACUS, CHLORURUS, WRASSE, MAPLE])
    assert heights.tolist() == [
        [0, 1, 2, 3, 7],
        [1, 0, 2, 3, 7],
        [2, 2, 0, 4, 7],  # without an order of its own it meets the wrasse in the class
        [3, 3, 4, 0, 7],
        [7, 7, 7, 7, 0],
    ]


def test_a_genus_name_of_two_kingdoms_is_two_genera() -> None:
    animal = Taxon("Animalia", "", "", "", "", "Oenanthe", "oenanthe")
    plant = Taxon("Plantae", "", "", "", "", "Oenanthe", "crocata")
    assert meeting_heights([animal, plant])[0, 1] == 7
    assert len(set(clades([animal, plant], Rank.GENUS).tolist())) == 2


def test_a_taxon_without_a_name_at_a_rank_is_a_clade_of_its_own() -> None:
    assert clades([GHOBBAN, CHLORURUS, WRASSE, CHLORURUS], Rank.ORDER).tolist() == [0, 1, 0, 2]


def test_a_genus_label_is_not_a_tip_if_one_of_its_species_is_there() -> None:
    genus = Taxon(*GHOBBAN.lineage[:6])
    assert is_tip([genus, GHOBBAN, WRASSE]).tolist() == [False, True, True]
    assert is_tip([genus, WRASSE]).tolist() == [True, True]


def test_images_whose_features_are_not_numbers_or_zero_are_dropped_and_counted_and_their_species_go_with_them() -> None:
    features = np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 1.0], [0.0, 2.0]])
    space = Space.of(features, [0, 1, 1, 2, 2], [GHOBBAN, WRASSE, MAPLE])
    assert space.dropped == 3
    assert space.taxa == (GHOBBAN, MAPLE)
    assert space.species_N.tolist() == [0, 1]
    assert space.kept_N.tolist() == [0, 4]
    assert space.features_ND.tolist() == [[0.6, 0.8], [0.0, 1.0]]


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="one row, one species and one group per image"):
        Space.of(np.ones((3, 2)), [0, 0], [GHOBBAN])
    with pytest.raises(UsageError, match="species 0 to 1: there are 1 taxa"):
        Space.of(np.ones((2, 2)), [0, 1], [GHOBBAN])
    with pytest.raises(UsageError, match="none has features that are numbers"):
        Space.of(np.full((2, 2), np.nan), [0, 0], [GHOBBAN])


def test_half_precision_features_are_measured_in_double_precision() -> None:
    space = Space.of(np.array([[1, 2], [2, 1]], dtype=np.float16), [0, 1], tree(1, 1, 2))
    assert space.features_ND.dtype == np.float64
    assert np.linalg.norm(space.features_ND, axis=1) == pytest.approx([1, 1], abs=1e-15)


def test_means_of_classes_in_any_order_and_of_none() -> None:
    means = class_means(np.array([[1.0], [5.0], [3.0]]), np.array([2, 0, 2]), 3)
    assert means[0] == [5.0]
    assert np.isnan(means[1, 0])
    assert means[2] == [2.0]


def test_a_prototype_of_length_zero_has_no_direction_and_no_false_distance() -> None:
    """A field case: cosine distances of zero vectors are NaN, and crashed or passed as numbers (scipy/scipy#6774)."""
    found = distances(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    assert found[0, 1] == 1.0
    assert np.isnan(found[0, 2])
    assert found[2, 2] == 0.0
    assert distances(np.array([[0.0, 0.0], [3.0, 4.0]]), "euclidean")[0, 1] == 5.0
