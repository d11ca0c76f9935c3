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
    nearest_species,
)
from bioclip_training.analysis.measure import Measure
from bioclip_training.analysis.neighbours import nearest_purity
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
    reason: str = ""
    """Why there is nothing to measure: no values, too few, or equal ones."""


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
    correlation = found.correlation.as_dict() if found.correlation else None
    return {"correlation": correlation, "probe": probes, "reason": found.reason}


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
    work = _Work(space, unit, {"permutations": permutations, "seed": seed}, progress)
    work.total = 4 + 4 * len(traits) + 3 * len(image_traits) + 2 * len(classes)
    progress("Measuring", 0, work.total)
    some, places_S = _for_pairs(space)
    in_tree = work.did(lambda: cophenetic(some, unit, **work.test))
    purity = work.did(lambda: {of: nearest_purity(space, unit, of=of) for of in ("species", "images")})
    errors = work.did(lambda: hierarchical_error(space, nearest_species(space), unit))
    within = work.did(lambda: within_species(space, unit, seed=seed))
    of_species = {trait.name: _of_species(work, trait, some, places_S) for trait in traits}
    of_images = {trait.name: _of_images(work, trait) for trait in image_traits}
    separations = {trait.name: _separations(work, trait) for trait in classes}
    return Structure(unit, len(some.taxa), in_tree, purity, errors, within, of_species, of_images, separations)


@dataclass(slots=True)
class _Work:
    """What the measures of one space share, with their progress."""

    space: Space
    unit: Rank
    test: Mapping[str, Any]
    """Permutations and seed."""
    progress: StageProgress
    total: int = 0
    done: int = 0

    def did(self, work: Callable[[], Found], steps: int = 1) -> Found:
        """Do a part of the work and report it."""
        found = work()
        self.done += steps
        self.progress("Measuring", self.done, self.total)
        return found


def _of_species(work: _Work, trait: Trait, some: Space, places_S: NDArray[np.int64]) -> TraitFindings:
    names = [taxon.name for taxon in work.space.taxa]
    if reason := trait.lacking(names, "species"):
        return work.did(lambda: TraitFindings(None, {}, reason), 1 + len(HELD_OUT))
    pairs = Trait(trait.name, trait.values[places_S], trait.words)
    correlation = work.did(lambda: trait_correlation(some, pairs, work.unit, **work.test))
    return TraitFindings(correlation, _probes(work, trait))


def _of_images(work: _Work, trait: Trait) -> TraitFindings:
    names = [work.space.taxa[place].name for place in work.space.species_N.tolist()]
    if reason := trait.lacking(names, "images"):
        return work.did(lambda: TraitFindings(None, {}, reason), len(HELD_OUT))
    return TraitFindings(None, _probes(work, trait, per_image=True))


def _probes(work: _Work, trait: Trait, *, per_image: bool = False) -> dict[Rank, Measure]:
    seed = work.test["seed"]
    return {
        rank: work.did(lambda rank=rank: probe_trait(work.space, trait, rank, per_image=per_image, seed=seed))  # type: ignore[misc]
        for rank in HELD_OUT
    }


def _separations(work: _Work, trait: Trait) -> dict[str, Separation]:
    def of(span: str) -> Separation:
        permutations = _TEST_PERMUTATIONS if span == "main" else 0
        return class_separation(
            work.space, trait, work.unit, span=span, permutations=permutations, seed=work.test["seed"]
        )

    return {span: work.did(lambda span=span: of(span)) for span in ("main", "all")}  # type: ignore[misc]


def _for_pairs(space: Space) -> tuple[Space, NDArray[np.int64]]:
    """Return a space of as many species as pairs can be made of, one of each family in turn, and their places."""
    count = len(space.taxa)
    share_T = np.array([hashed_share(taxon.taxonomic_name) for taxon in space.taxa])
    places = drawn_in_turn(space.units(Rank.FAMILY), share_T, MOST_SPECIES)
    return (space if len(places) == count else space.chosen(np.isin(space.species_N, places))), places
