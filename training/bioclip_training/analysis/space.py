"""A feature space: images as features with their species, the tree of the species, and groups of images that are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.analysis.tree import clades, meeting_heights


@dataclass(frozen=True)
class Space:
    """N images of T species as D-dimensional features; every species has an image."""

    features_ND: NDArray[np.float64]
    """L2-normalised rows, unless :meth:`of` was told otherwise."""
    species_N: NDArray[np.int64]
    """Place of each image's species in ``taxa``."""
    taxa: tuple[Taxon, ...]
    group_N: NDArray[np.int64]
    """Group of each image: images of one group are one observation."""
    kept_N: NDArray[np.int64]
    """Place of each image in what was given, since images without usable features are dropped."""
    dropped: int = 0
    """Number of images whose features are not all numbers, or all zero."""

    @classmethod
    def of(
        cls,
        features_ND: NDArray[Any],
        species_N: Sequence[int] | NDArray[np.integer[Any]],
        taxa: Sequence[Taxon],
        groups_N: Sequence[Any] | NDArray[Any] | None = None,
        *,
        normalise: bool = True,
    ) -> Space:
        """Prepare features for the measures, in float64.

        Args:
            features_ND: one row per image, of any floating type.
            species_N: place of each image's species in ``taxa``.
            taxa: the species; those without an image are left out.
            groups_N: group of each image (specimen, track, camera); None: each image is independent.
            normalise: make each row of length 1, as the model does before it compares.

        Raises:
            UsageError: if the arrays do not fit each other, or no image is usable.
        """
        features = np.asarray(features_ND, dtype=np.float64)
        species = np.asarray(species_N, dtype=np.int64)
        groups = np.arange(len(species)) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
        if features.ndim != 2 or not len(features) == len(species) == len(groups):
            raise UsageError(
                f"features of shape {features.shape} with {len(species)} species and {len(groups)} groups: one row, one species and "
                "one group per image are needed"
            )
        if len(species) and not 0 <= species.min() <= species.max() < len(taxa):
            raise UsageError(f"species {species.min()} to {species.max()}: there are {len(taxa)} taxa, from 0")
        length_N = np.linalg.norm(features, axis=1)
        usable_N = np.isfinite(length_N) & (length_N > 0)
        if not usable_N.any():
            raise UsageError(f"{len(features)} images: none has features that are numbers and not all zero")
        features = features[usable_N] / length_N[usable_N, None] if normalise else features[usable_N]
        present, numbered = np.unique(species[usable_N], return_inverse=True)
        return cls(
            features, numbered.astype(np.int64), tuple(taxa[place] for place in present), groups[usable_N],
            np.flatnonzero(usable_N), int((~usable_N).sum()),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.features_ND)

    @property
    def dimension(self) -> int:
        return int(self.features_ND.shape[1])

    @cached_property
    def counts_T(self) -> NDArray[np.int64]:  # noqa: N802
        """Number of images per species."""
        return np.bincount(self.species_N, minlength=len(self.taxa))

    @cached_property
    def prototypes_TD(self) -> NDArray[np.float64]:  # noqa: N802
        """Mean feature of each species."""
        return class_means(self.features_ND, self.species_N, len(self.taxa))

    @cached_property
    def heights_TT(self) -> NDArray[np.int8]:  # noqa: N802
        """Heights at which species meet in the tree; see :func:`~bioclip_training.analysis.tree.meeting_heights`."""
        return meeting_heights(self.taxa)

    def units(self, rank: Rank) -> NDArray[np.int64]:
        """Return the clade of each species at a rank, as independent unit."""
        return clades(self.taxa, rank)

    def chosen(self, images: NDArray[Any]) -> Space:
        """Return the space of some images only (a mask or places), with the species that they leave."""
        places = np.flatnonzero(images) if np.asarray(images).dtype == bool else np.asarray(images)
        present, numbered = np.unique(self.species_N[places], return_inverse=True)
        return Space(
            self.features_ND[places], numbered.astype(np.int64), tuple(self.taxa[place] for place in present),
            self.group_N[places], self.kept_N[places], self.dropped,
        )  # fmt: skip


def in_common(
    spaces: Sequence[Space], rows_of: Sequence[NDArray[np.int64]]
) -> tuple[list[Space], list[NDArray[np.int64]]]:
    """Return spaces of the images that all of them have, and the rows of these images.

    Args:
        spaces: the spaces of several models.
        rows_of: for each space the row of each image that it was made from, by which equal images are known.
    """
    own = [rows[space.kept_N] for space, rows in zip(spaces, rows_of, strict=True)]
    common = reduce(np.intersect1d, own)
    if all(len(rows) == len(common) for rows in own):
        return list(spaces), own
    kept = [space.chosen(np.isin(rows, common)) for space, rows in zip(spaces, own, strict=True)]
    return kept, [rows[np.isin(rows, common)] for rows in own]


def class_means(values_ND: NDArray[np.float64], class_N: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the C×D means of classes; NaN for a class without a row."""
    order = np.argsort(class_N, kind="stable")
    counts_C = np.bincount(class_N, minlength=classes)
    sums_CD = np.zeros((classes, values_ND.shape[1]))
    present = np.flatnonzero(counts_C)
    if len(present):
        starts = np.concatenate([[0], np.cumsum(counts_C[present])[:-1]])
        sums_CD[present] = np.add.reduceat(values_ND[order], starts, axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums_CD / counts_C[:, None])


def distances(points_PD: NDArray[np.float64], metric: str = "cosine") -> NDArray[np.float64]:
    """Return P×P distances: 1 minus the cosine, or ``euclidean``. A point of length 0 has no direction: its cosines are NaN."""
    if metric == "euclidean":
        square_P = np.square(points_PD).sum(axis=1)
        found = np.sqrt(np.maximum(square_P[:, None] + square_P - 2 * points_PD @ points_PD.T, 0.0))
    else:
        length_P = np.linalg.norm(points_PD, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            unit_PD = points_PD / np.where(length_P > 1e-12, length_P, np.nan)[:, None]
        found = 1.0 - unit_PD @ unit_PD.T
    found = (found + found.T) / 2
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)
