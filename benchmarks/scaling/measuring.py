"""Figures of a cell: structure of the space of its features, for species that every collection holds and for species that none does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.cells import Features
from benchmarks.scaling.world import Plates
from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.classes import class_separation
from bioclip_training.analysis.hierarchy import cophenetic, hierarchical_error
from bioclip_training.analysis.measure import Measure
from bioclip_training.analysis.neighbours import nearest_purity
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.trait_probe import probe_trait
from bioclip_training.analysis.traits import Trait, trait_correlation
from bioclip_training.analysis.within import relative, within_species

TRAINED, UNSEEN = "trained", "unseen"
"""Species that even the smallest collection holds, and species that no collection holds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the study, and what the papers say of it."""

    name: str
    kind: str
    """``accuracy``, ``hierarchy``, ``between species`` or ``within species``."""
    species: str
    expected: int
    """1 if the figure should rise with the data by the papers, -1 if it should fall, 0 if they say nothing of it."""
    what: str


_BOTH = (TRAINED, UNSEEN)
_SAID: tuple[tuple[str, str, tuple[str, ...], int, str], ...] = (
    ("top-1, species", "accuracy", (TRAINED,), 0, "zero-shot among the labels of all species"),
    ("top-1, family", "accuracy", (UNSEEN,), 0, "the answer's family is right"),
    ("agreement with the tree", "hierarchy", _BOTH, 1, "rank correlation of distances between prototypes with the tree"),
    ("family of the nearest other genus", "hierarchy", _BOTH, 1,
     "share of images whose nearest image of another genus is of their family"),
    ("height of mistakes", "hierarchy", (TRAINED,), -1, "ranks up to where a wrong answer meets the truth: 1 in the genus, 7 nowhere"),
    ("distance and traits", "between species", _BOTH, 1,
     "rank correlation of distance with difference in a trait, the tree held; mean of six traits"),
    ("traits from features", "between species", _BOTH, 1,
     "rank correlation of predicted and true traits of held-out genera; mean of six traits"),
    ("orthogonal share", "within species", _BOTH, 1, "variance within species outside of the main span of species means"),
    ("overlap", "within species", _BOTH, -1,
     "variance within species along the differences between species: 0 is orthogonal, 1 as if species differed as individuals do"),
    ("life stage, outside", "within species", _BOTH, 1, "Fisher ratio of life stage outside of the span"),
    ("life stage, inside", "within species", _BOTH, 0, "Fisher ratio of life stage inside the span"),
    ("sex, outside", "within species", _BOTH, 1, "Fisher ratio of sex outside of the span"),
    ("sex, inside", "within species", _BOTH, 0, "Fisher ratio of sex inside the span"),
)  # fmt: skip
FIGURES = tuple(
    Figure(name, kind, species, expected, what) for name, kind, of, expected, what in _SAID for species in of
)
"""Gu et al. 2025: with more training data embeddings align with the tree and with traits of species, and variation within a species
lies orthogonal to differences between species and separates better."""


def measured(features: Features, plates: Plates, smallest: int) -> dict[str, dict[str, Any]]:
    """Return each figure of a cell with its interval over genera and its chance value, by ``key``.

    Args:
        features: of the held-out plates.
        plates: the world.
        smallest: size of the smallest collection, which decides which species count as trained.
    """
    species_N = np.repeat(np.arange(len(plates.taxa)), plates.pool.plates)
    groups = {TRAINED: plates.covered(smallest), UNSEEN: plates.unseen}
    answer_N = (features.images_ND @ features.texts_SD.T).argmax(axis=1)
    found: dict[str, dict[str, Any]] = {}
    for group, members in groups.items():
        chosen_N = np.isin(species_N, members)
        space = Space.of(features.images_ND[chosen_N], species_N[chosen_N], plates.taxa)
        kept = np.array(sorted(members))
        own = {
            **_of_the_tree(space, plates, species_N[chosen_N], answer_N[chosen_N], group),
            **_of_traits(space, plates, kept),
            **_within(space, {name: values[chosen_N] for name, values in plates.about().items()}),
        }
        found |= {f"{name} ({group})": value for name, value in own.items()}
    return {key: found[key] for key in map(key_of, FIGURES)}


def key_of(figure: Figure) -> str:
    """Return the key of a figure: its name and the kind of species."""
    return f"{figure.name} ({figure.species})"


def _of_the_tree(
    space: Space, plates: Plates, truth_N: NDArray[np.int64], answer_N: NDArray[np.int64], group: str
) -> dict[str, Any]:
    depth = Rank.FAMILY.depth + 1
    family_S = np.unique([repr(taxon.lineage[:depth]) for taxon in plates.taxa], return_inverse=True)[1]
    found = {
        "top-1, species": {"value": float((answer_N == truth_N).mean()), "chance": 1 / len(plates.taxa)},
        "top-1, family": {"value": float((family_S[answer_N] == family_S[truth_N]).mean()), "chance": 1 / len(set(family_S.tolist()))},
        "agreement with the tree": _plain(cophenetic(space, Rank.GENUS, permutations=0).spearman),
    }  # fmt: skip
    purity = nearest_purity(space, Rank.GENUS)[Rank.FAMILY].more
    found["family of the nearest other genus"] = {
        "value": _number(purity.get("beyond", math.nan)), "ci95": [_number(end) for end in purity.get("beyond_ci95", ())],
        "chance": purity.get("beyond_chance"),
    }  # fmt: skip
    if group == TRAINED:
        found["height of mistakes"] = _height(plates, truth_N, answer_N)
    return found


def _height(plates: Plates, truth_N: NDArray[np.int64], answer_N: NDArray[np.int64]) -> dict[str, Any]:
    """Return the mean height of wrong answers among the labels of all species, those without a plate here included."""
    everything = np.arange(len(plates.taxa))
    # One more image per species makes every label a species of the space; its own answer is right and counts for nothing.
    space = Space.of(np.ones((len(truth_N) + len(everything), 1)), np.concatenate([truth_N, everything]), plates.taxa)
    return _plain(hierarchical_error(space, np.concatenate([answer_N, everything]), Rank.GENUS).mistakes)


def _of_traits(space: Space, plates: Plates, kept: NDArray[np.int64]) -> dict[str, Any]:
    traits = [Trait(name, values[kept]) for name, values in plates.traits().items()]
    beyond = [trait_correlation(space, trait, Rank.GENUS, permutations=0).more["beyond_tree"] for trait in traits]
    probed = [probe_trait(space, trait, Rank.GENUS).value for trait in traits]
    named = [trait.name for trait in traits]
    return {
        "distance and traits": _averaged(beyond, named),
        "traits from features": _averaged(probed, named),
    }


def _averaged(values: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    by_name = {name: _number(round(value, 4)) for name, value in zip(names, values, strict=True)}
    return {"value": _number(float(np.mean(values))), "chance": 0.0, "by_trait": by_name}


def _within(space: Space, about: Mapping[str, NDArray[np.str_]]) -> dict[str, Any]:
    variation = within_species(space, Rank.GENUS)
    found = {"orthogonal share": _plain(variation.main_orthogonal), "overlap": _plain(relative(variation.overlap))}
    for word, name in (("lifeStage", "life stage"), ("sex", "sex")):
        apart = class_separation(space, Trait.of(name, about[word].tolist(), "categorical"), Rank.GENUS, permutations=0)
        found |= {f"{name}, outside": _plain(apart.outside), f"{name}, inside": _plain(apart.inside)}
    return found


def _plain(measure: Measure) -> dict[str, Any]:
    """Return a measure as JSON values: numbers that do not exist are None."""
    low, high = measure.ci95
    return {
        "value": _number(measure.value), "ci95": [_number(low), _number(high)], "chance": _number(measure.chance),
        **({"reason": measure.reason} if measure.reason else {}),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
