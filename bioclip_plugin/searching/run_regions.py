"""The regions of a run by the keys of their features: equal pixels are one place, with all regions that have them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.searching.keys import RowIndex
from bioclip_plugin.store.feature_rows import RegionRows


@dataclass(frozen=True)
class RunRegions:
    """M regions of a run with P distinct places: pairs of content and packed box."""

    rows: RegionRows
    first_P: NDArray[np.int64]
    """The first region of each place, as its number in ``rows``."""
    copies_P: NDArray[np.int64]
    """Number of regions of each place."""
    content_P: NDArray[np.int64]
    box_P: NDArray[np.int64]
    place_M: NDArray[np.int64]
    """The place of each region; -1 for a file whose content is not stored."""

    @classmethod
    def of(cls, rows: RegionRows) -> RunRegions:
        """Return the places of regions, in ascending order of content and box."""
        known = np.flatnonzero(rows.content_M >= 0)
        pairs_K2 = np.stack([rows.content_M[known], rows.box_M[known]], axis=1)
        order = np.lexsort((known, pairs_K2[:, 1], pairs_K2[:, 0]))
        sorted_K2 = pairs_K2[order]
        is_new_K = np.ones(len(order), bool)
        is_new_K[1:] = (sorted_K2[1:] != sorted_K2[:-1]).any(axis=1)
        starts_P = np.flatnonzero(is_new_K)
        place_M = np.full(len(rows.media_M), -1, np.int64)
        place_M[known[order]] = np.cumsum(is_new_K) - 1
        copies_P = np.diff(np.append(starts_P, len(order)))
        first_P = known[order[starts_P]]
        return cls(rows, first_P, copies_P, rows.content_M[first_P], rows.box_M[first_P], place_M)

    @cached_property
    def _index(self) -> RowIndex:
        return RowIndex(self.content_P, self.box_P)

    def places(self, content_K: NDArray[np.int64], box_K: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of K pairs, -1 for a pair that the run does not have."""
        return self._index.rows(content_K, box_K)

    @cached_property
    def _by_region(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.rows.region_M, kind="stable")
        return order, self.rows.region_M[order]

    def of_regions(self, region_K: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of K numbers of regions in ``rows``, -1 for one that the run does not have."""
        order, numbers = self._by_region
        if not len(numbers):
            return np.full(len(region_K), -1, np.int64)
        at = np.minimum(np.searchsorted(numbers, region_K), len(numbers) - 1)
        return np.where(numbers[at] == region_K, order[at], -1)
