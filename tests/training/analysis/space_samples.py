"""Small trees of life and feature spaces whose measures are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Taxon
from bioclip_training.analysis.space import Space


def tree(families: int, genera: int = 2, species: int = 2) -> list[Taxon]:
    """Return species of one order, in the order of the tree."""
    return [
        Taxon("Animalia", "Ficta", "Fabulae", "Fabuliformes", f"Family{family:02d}", f"Genus{family:02d}{genus}", f"species{number}")
        for family in range(families)
        for genus in range(genera)
        for number in range(species)
    ]  # fmt: skip


def grown(
    taxa: Sequence[Taxon], dimension: int, seed: int, steps: tuple[float, float, float] = (1.0, 0.6, 0.4)
) -> NDArray[np.float64]:
    """Return means of species that drift from their family, genus and ancestor by normal steps."""
    rng = np.random.default_rng(seed)
    drift: dict[tuple[str, ...], NDArray[np.float64]] = {}
    means = []
    for taxon in taxa:
        keys = (taxon.lineage[:5], taxon.lineage[:6], taxon.lineage)
        for key, step in zip(keys, steps, strict=True):
            drift.setdefault(key, step * rng.normal(size=dimension))
        means.append(sum(drift[key] for key in keys))
    return np.array(means)


def photographed(
    taxa: Sequence[Taxon], means_TD: NDArray[np.float64], images: int, noise_DD: NDArray[np.float64] | float, seed: int
) -> Space:
    """Return images of each species around its mean; ``noise_DD`` turns normal numbers into their deviations."""
    rng = np.random.default_rng([seed, 1])  # not the numbers that the means are made of
    species = np.repeat(np.arange(len(taxa)), images)
    normal = rng.normal(size=(len(species), means_TD.shape[1]))
    deviations = normal * noise_DD if np.isscalar(noise_DD) else normal @ noise_DD
    return Space.of(means_TD[species] + deviations, species, taxa, normalise=False)
