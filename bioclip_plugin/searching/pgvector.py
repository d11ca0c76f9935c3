"""Search by pgvector on PostgreSQL: exact for small stores and behind narrow filters, else by its HNSW index."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import StoreError
from bioclip_core.progress import Progress, logged
from bioclip_plugin.searching.keys import RowIndex
from bioclip_plugin.searching.matrix import normalised
from bioclip_plugin.searching.nearest_keys import NearestKeys
from bioclip_plugin.store import Store, half_vectors
from bioclip_plugin.store.feature_rows import StoredFeatureSet

log = logging.getLogger(__name__)

_NARROW = 50_000
"""Rows that pass a filter up to which all of them are compared."""
_SPARE = 64
_LONGEST_LIST = 20_000
"""Rows of the index that are looked through for those that pass a filter, before all that pass are compared."""


class PgvectorFeatures:
    """The features of a feature set as a table of halfvec."""

    notes: tuple[str, ...] = ()

    def __init__(
        self, store: Store, feature_set: StoredFeatureSet, *, rebuild: bool = False, progress: Progress | None = None
    ) -> None:
        """Bring the table up to date.

        Raises:
            StoreError: if the database refuses to make or write it.
        """
        self._store, self._feature_set = store, feature_set
        self._report = progress or logged(log, "Copying features for search: %d of %d")
        self._state = ""
        self._take_up(rebuild=rebuild)

    def __len__(self) -> int:
        return self._rows

    def refresh(self) -> None:
        # The table may be of another state than the one that was read: other programs bring it up to date, too.
        table = self._store.half_vectors_of(half_vectors.stored_state, self._feature_set)
        if not (self._store.feature_state(self._feature_set.number) == self._state == table):
            self._take_up(rebuild=False)

    def has(self, content_P: NDArray[np.int64], box_P: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._index.rows(content_P, box_P) >= 0

    def vectors(self, content_K: NDArray[np.int64], box_K: NDArray[np.int64]) -> NDArray[np.float16]:
        return self._vectors_of(_pairs(content_K, box_K))

    def nearest(
        self, query_D: NDArray[np.floating[Any]], count: int, content_P: NDArray[np.int64], box_P: NDArray[np.int64]
    ) -> NearestKeys:
        is_whole = len(content_P) == self._rows
        listed = None
        if self._rows >= half_vectors.INDEX_FROM and (is_whole or len(content_P) > _NARROW):
            listed = self._by_index(query_D, count, content_P, box_P)
        is_exact = listed is None
        if listed is None:
            pairs = None if is_whole else _pairs(content_P, box_P)
            listed = self._store.half_vectors_of(
                half_vectors.nearest_exactly, self._feature_set, query_D, count + _SPARE, pairs
            )
        return self._ordered(query_D, count, listed, is_exact=is_exact)

    def _by_index(
        self, query_D: NDArray[np.floating[Any]], count: int, content_P: NDArray[np.int64], box_P: NDArray[np.int64]
    ) -> list[tuple[int, int]] | None:
        """Return keys that pass, by the index; None if its list has too few of them."""
        passing = RowIndex(content_P, box_P)
        asked = min(-(-2 * (count + _SPARE) * self._rows // len(content_P)), _LONGEST_LIST)
        found = self._store.half_vectors_of(half_vectors.nearest_by_index, self._feature_set, query_D, asked)
        if not found:
            return None
        keys_K2 = np.array(found, np.int64)
        passes_K = passing.rows(keys_K2[:, 0], keys_K2[:, 1]) >= 0
        if int(passes_K.sum()) < min(count, len(content_P)):
            return None
        return [pair for pair, passes in zip(found, passes_K.tolist(), strict=True) if passes][: count + _SPARE]

    def _ordered(
        self, query_D: NDArray[np.floating[Any]], count: int, listed: list[tuple[int, int]], *, is_exact: bool
    ) -> NearestKeys:
        """Return the best of a list, by cosines in float64."""
        rows_LD = self._vectors_of(listed).astype(np.float64)
        unit_D = query_D.astype(np.float64) / np.linalg.norm(query_D.astype(np.float64))
        cosine_L = rows_LD @ unit_D / np.linalg.norm(rows_LD, axis=1)
        keys_L2 = np.array(listed, np.int64).reshape(-1, 2)
        best = np.lexsort((keys_L2[:, 1], keys_L2[:, 0], -cosine_L))[:count]
        return NearestKeys(keys_L2[best, 0], keys_L2[best, 1], cosine_L[best], is_exact, "pgvector")

    def _vectors_of(self, pairs: list[tuple[int, int]]) -> NDArray[np.float16]:
        return self._store.half_vectors_of(half_vectors.vectors_of, self._feature_set, pairs)

    def _take_up(self, *, rebuild: bool) -> None:
        store, feature_set = self._store, self._feature_set
        state = store.feature_state(feature_set.number)
        if rebuild or store.half_vectors_of(half_vectors.stored_state, feature_set) != state:
            keys = store.feature_keys(feature_set.number)
            store.write_half_vectors(
                half_vectors.bring_up, feature_set, state, keys, self._usable, rebuild, self._report
            )
        content_N, box_N = store.half_vectors_of(half_vectors.keys_of, feature_set)
        self._index, self._rows, self._state = RowIndex(content_N, box_N), len(content_N), state

    def _usable(self, contents: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float16]]:
        number, dimension = self._feature_set.number, self._feature_set.dimension
        content_R, box_R, vectors_RD = self._store.feature_vectors(number, contents, dimension)
        rows_RD, usable_R, _ = normalised(vectors_RD)
        return content_R[usable_R], box_R[usable_R], rows_RD


def why_not_pgvector(store: Store, feature_set: StoredFeatureSet) -> str:
    """Return why the store's database cannot search by itself; empty if it can."""
    try:
        return str(store.write_half_vectors(half_vectors.why_no_pgvector, feature_set.dimension))
    except StoreError as error:
        return str(error)


def _pairs(content_K: NDArray[np.int64], box_K: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(content_K.tolist(), box_K.tolist(), strict=True))
