"""All measures of one feature space, with the choice of independent units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.analysis.classes import Separation, class_separation
from bioclip_training.analysis.hierarchy import (
    MOST_SPECIES,
    Cophenetic,
    HierarchicalError,
    cophenetic,
    hierarchical_error,
    nearest_purity,
    nearest_species,
)
from bioclip_training.analysis.measure import Measure
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.trait_probe import probe_trait
from bioclip_training.analysis.traits import Trait, trait_correlation
from bioclip_training.analysis.within import WithinSpecies, within_species
from bioclip_training.catalog.rows import drawn_in_turn, hashed_share
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evidence.minima import FEWEST_TO_CHOOSE, effective_groups

Found = TypeVar("Found")

HELD_OUT = (Rank.SPECIES, Rank.GENUS, Rank.FAMILY)
"""Ranks of the clades that probes are tested on without having learnt from them."""
_TEST_PERMUTATIONS = 199
"""Permutations of a test of classes, each of which computes means of all images."""


@dataclass(frozen=True, slots=True)
class TraitFindings:
    """Figures of one trait."""

    correlation: Measure | None
    """None for a trait of images, which species do not have."""
    probes: Mapping[Rank, Measure]
    """By the rank of the clades that are held out."""


@dataclass(frozen=True, slots=True)
class Structure:
    """All figures of one feature space."""

    unit: Rank
    """Rank of the clades that intervals take for independent."""
    pair_species: int
    """Species that pairs are made of: all, or as many as are feasible."""
    cophenetic: Cophenetic
    purity: Mapping[str, Mapping[Rank, Measure]]
    """By what is looked for: ``images`` and ``species``."""
    errors: HierarchicalError
    within: WithinSpecies
    traits: Mapping[str, TraitFindings] = field(default_factory=dict)
    image_traits: Mapping[str, TraitFindings] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, Separation]] = field(default_factory=dict)
    """By column and span: ``main`` directions and ``all`` of them."""

    def as_dict(self) -> dict[str, Any]:
        """Return nested values for JSON."""
        heights = {
            f"{height}": {"mean": mean, "pairs": pairs} for height, (mean, pairs) in self.cophenetic.distance_at.items()
        }
        return {
            "unit": self.unit.value, "pair_species": self.pair_species,
            "hierarchy": {
                "spearman": self.cophenetic.spearman.as_dict(), "in_order": self.cophenetic.in_order.as_dict(), "distance_at": heights,
                "purity": {of: {rank.value: measure.as_dict() for rank, measure in found.items()} for of, found in self.purity.items()},
                "mistakes": self.errors.mistakes.as_dict(), "answers": self.errors.all.as_dict(),
                "mistakes_at": {f"{height}": count for height, count in self.errors.mistakes_at.items()},
            },
            "traits": {name: _of_trait(found) for name, found in self.traits.items()},
            "image_traits": {name: _of_trait(found) for name, found in self.image_traits.items()},
            "within": {name: getattr(self.within, name).as_dict() for name in ("orthogonal", "main_orthogonal", "overlap")},
            "classes": {
                name: {span: {figure: getattr(found, figure).as_dict() for figure in found.__slots__} for span, found in spans.items()}
                for name, spans in self.classes.items()
            },
        }  # fmt: skip


def _of_trait(found: TraitFindings) -> dict[str, Any]:
    probes = {rank.value: measure.as_dict() for rank, measure in found.probes.items()}
    return {"correlation": found.correlation.as_dict() if found.correlation else None, "probe": probes}


def independent_unit(space: Space, asked: str = "auto") -> Rank:
    """Return the rank of the clades that count as independent: the highest with 20 effective clades, else species."""
    if asked != "auto":
        return Rank(asked)
    for rank in RANKS[1:-1]:
        if effective_groups(space.units(rank).tolist()) >= FEWEST_TO_CHOOSE - 1e-6:
            return rank
    return Rank.SPECIES


def measure_structure(
    space: Space,
    *,
    unit: Rank,
    traits: Sequence[Trait] = (),
    image_traits: Sequence[Trait] = (),
    classes: Sequence[Trait] = (),
    permutations: int = 999,
    seed: int = 0,
    progress: StageProgress,
) -> Structure:
    """Measure a feature space.

    Args:
        space: the images.
        unit: rank of the clades that intervals take for independent.
        traits: one value per species of the space.
        image_traits: one value per image, predicted for species left out.
        classes: one value per image, compared within species.
        permutations: of Mantel's tests.
        seed: of halves, folds and permutations.
        progress: called with the stage, the number done so far and the total.
    """
    steps = 4 + len(traits) * (1 + len(HELD_OUT)) + len(image_traits) * len(HELD_OUT) + 2 * len(classes)
    done = iter(range(1, steps + 1))

    def did(work: Callable[[], Found]) -> Found:
        found = work()
        progress("Measuring", next(done), steps)
        return found

    progress("Measuring", 0, steps)
    some, places_S = _for_pairs(space)
    test: dict[str, Any] = {"permutations": permutations, "seed": seed}
    in_tree = did(lambda: cophenetic(some, unit, **test))
    purity = did(lambda: {of: nearest_purity(space, unit, of=of) for of in ("species", "images")})
    errors = did(lambda: hierarchical_error(space, nearest_species(space), unit))
    within = did(lambda: within_species(space, unit, seed=seed))
    of_species = {}
    for trait in traits:
        pairs = Trait(trait.name, trait.values[places_S], trait.words)
        correlation = did(lambda pairs=pairs: trait_correlation(some, pairs, unit, **test))  # type: ignore[misc]
        of_species[trait.name] = TraitFindings(correlation, _probes(space, trait, seed, did))
    of_images = {
        trait.name: TraitFindings(None, _probes(space, trait, seed, did, per_image=True)) for trait in image_traits
    }
    separations = {
        trait.name: {
            span: did(
                lambda trait=trait, span=span: class_separation(  # type: ignore[misc]
                    space, trait, unit, span=span, permutations=_TEST_PERMUTATIONS if span == "main" else 0, seed=seed
                )
            )
            for span in ("main", "all")
        }
        for trait in classes
    }
    return Structure(unit, len(some.taxa), in_tree, purity, errors, within, of_species, of_images, separations)


def _probes(
    space: Space, trait: Trait, seed: int, did: Callable[[Callable[[], Measure]], Measure], *, per_image: bool = False
) -> dict[Rank, Measure]:
    return {
        rank: did(lambda rank=rank: probe_trait(space, trait, rank, per_image=per_image, seed=seed))  # type: ignore[misc]
        for rank in HELD_OUT
    }


def _for_pairs(space: Space) -> tuple[Space, NDArray[np.int64]]:
    """Return a space of as many species as pairs can be made of, one of each family in turn, and their places."""
    count = len(space.taxa)
    share_T = np.array([hashed_share(taxon.taxonomic_name) for taxon in space.taxa])
    places = drawn_in_turn(space.units(Rank.FAMILY), share_T, MOST_SPECIES)
    return (space if len(places) == count else space.chosen(np.isin(space.species_N, places))), places
