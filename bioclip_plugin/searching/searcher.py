"""Search over the stored features of one run."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.nouns import number_of
from bioclip_core.progress import Progress
from bioclip_plugin.searching.matrix import Matrix, open_matrix, refreshed
from bioclip_plugin.searching.nearest_keys import NearestKeys
from bioclip_plugin.searching.pgvector import PgvectorFeatures, why_not_pgvector
from bioclip_plugin.searching.results import Hit, Query, SearchResult, check_top
from bioclip_plugin.searching.run_regions import RunRegions
from bioclip_plugin.searching.scanning import nearest
from bioclip_plugin.store import Run, Store
from bioclip_plugin.store.feature_rows import StoredFeatureSet

_CHECK_EVERY_S = 5.0
"""Age from which the state of a PostgreSQL store is asked for again; an SQLite file is looked at before each search."""


class Features(Protocol):
    """The features of one feature set, ready for search."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about how the features came about."""

    def __len__(self) -> int:
        """Return the number of features that can be found."""

    def refresh(self) -> None:
        """Take up what was stored since."""

    def has(self, content_P: NDArray[np.int64], box_P: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each of P keys True if it has a feature."""

    def vectors(self, content_K: NDArray[np.int64], box_K: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return K×D features of keys that have one."""

    def nearest(
        self, query_D: NDArray[np.floating[Any]], count: int, content_P: NDArray[np.int64], box_P: NDArray[np.int64]
    ) -> NearestKeys:
        """Return the nearest of P keys, each of which has a feature."""


class MatrixFeatures:
    """The features of a matrix."""

    def __init__(
        self, store: Store, feature_set: StoredFeatureSet, *, rebuild: bool, progress: Progress | None
    ) -> None:
        self._store = store
        self.matrix: Matrix = open_matrix(store, feature_set, rebuild=rebuild, progress=progress)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the matrix."""
        return self.matrix.notes

    def __len__(self) -> int:
        return len(self.matrix) - len(self.matrix.removed)

    def refresh(self) -> None:
        self.matrix = refreshed(self.matrix, self._store)

    def has(self, content_P: NDArray[np.int64], box_P: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self.matrix.rows(content_P, box_P) >= 0

    def vectors(self, content_K: NDArray[np.int64], box_K: NDArray[np.int64]) -> NDArray[np.float16]:
        return self.matrix.vectors_ND[self.matrix.rows(content_K, box_K)]

    def nearest(
        self, query_D: NDArray[np.floating[Any]], count: int, content_P: NDArray[np.int64], box_P: NDArray[np.int64]
    ) -> NearestKeys:
        matrix = self.matrix
        allowed = None if len(content_P) == len(matrix) else np.sort(matrix.rows(content_P, box_P))
        found = nearest(matrix.vectors_ND, query_D, count, allowed=allowed, deviation=matrix.deviation)
        keys = matrix.content_N[found.rows_K], matrix.box_N[found.rows_K]
        return NearestKeys(*keys, found.cosine_K, is_exact=True, method=found.scanner)


def open_features(
    store: Store, feature_set: StoredFeatureSet, *, rebuild: bool = False, progress: Progress | None = None
) -> tuple[Features, tuple[str, ...]]:
    """Return the features in the database where it can search, else as a matrix, up to date; and the reason for the matrix.

    Args:
        store: the store.
        feature_set: one of its feature sets.
        rebuild: True builds what is derived from the features anew.
        progress: called with the features read and with all of them; None: a line is logged every few seconds.
    """
    notes: tuple[str, ...] = ()
    if store.file is None:
        reason = why_not_pgvector(store, feature_set)
        if not reason:
            return PgvectorFeatures(store, feature_set, rebuild=rebuild, progress=progress), ()
        notes = (f"the database cannot search by itself ({reason}): a matrix in the user's cache is used",)
    return MatrixFeatures(store, feature_set, rebuild=rebuild, progress=progress), notes


class Searcher:
    """Search over the features of a run. Keep it for further searches: the first one reads the regions of the run.

    Several threads may use it.
    """

    def __init__(self, store: Store, run: Run, *, rebuild: bool = False, progress: Progress | None = None) -> None:
        """Open the features of a run's feature set.

        Args:
            store: the store.
            run: one of its runs.
            rebuild: True builds what is derived from the features anew.
            progress: called with the features read and with all of them.

        Raises:
            BioclipError: if the matrix cannot be written.
            StoreError: for damaged features.
        """
        self._store, self.run = store, run
        self._lock = threading.Lock()
        (feature_set,) = (one for one in store.feature_sets() if one.number == run.feature_set)
        self.feature_set = feature_set
        self.features, self._notes = open_features(store, feature_set, rebuild=rebuild, progress=progress)
        self._seen: Any = None
        self._state = ""
        self._refresh()

    def search(self, query: Query, top: int = 20, *, within: NDArray[np.int64] | None = None) -> SearchResult:
        """Return the regions of the run that are most similar to a query. Equal contents are one hit, with their number.

        Args:
            query: a query of :mod:`bioclip_plugin.searching.queries`.
            top: largest number of hits.
            within: numbers of the regions that may be hits, as a filter; None: all of the run.

        Raises:
            DataError: for a query of another length than the features.
            UsageError: for a number of hits out of range.
        """
        check_top(top)
        if query.vector_D.shape != (self.feature_set.dimension,):
            raise DataError(
                f"the query has {query.vector_D.size} numbers, and the features of run {self.run.id} have "
                f"{self.feature_set.dimension}: give the model that the run was made with"
            )
        with self._lock:
            self._refresh()
            regions, has_feature_P, features = self._regions, self._has_feature_P, self.features
        allowed_P = has_feature_P.copy()
        chosen = None
        if within is not None:
            chosen = _rows_within(regions, within)
            is_within_P = np.zeros(len(allowed_P), bool)
            is_within_P[regions.place_M[chosen]] = True
            allowed_P &= is_within_P
        if query.item is not None:
            allowed_P[regions.place_M[self._row_of(regions, query.item)]] = False
        places = np.flatnonzero(allowed_P)
        found = features.nearest(query.vector_D, top, regions.content_P[places], regions.box_P[places])
        notes = [*self._notes, *features.notes, *self._missing(regions, has_feature_P)]
        hits = self._hits(regions, found, chosen)
        return SearchResult(
            hits, found.is_exact, query.described, query.kind, self.run.id, len(places), found.method, tuple(notes)
        )

    def feature_of(self, media: int, region: int) -> NDArray[np.float16]:
        """Return the stored feature of an item (D numbers).

        Raises:
            DataError: if the run does not have the item, or its feature is not stored.
        """
        with self._lock:
            self._refresh()
            regions = self._regions
        row = self._row_of(regions, (media, region))
        place = regions.place_M[row]
        if place < 0 or not self._has_feature_P[place]:
            raise DataError(f"item {self.run.id}-{media}-{region} has no stored feature: classify its image again")
        at = slice(place, place + 1)
        (vector_D,) = self.features.vectors(regions.content_P[at], regions.box_P[at])
        feature_D: NDArray[np.float16] = vector_D
        return feature_D

    def _row_of(self, regions: RunRegions, item: tuple[int, int]) -> int:
        media, region = item
        row = int(regions.of_regions(np.array([region], np.int64))[0])
        if row < 0 or regions.rows.media_M[row] != media:
            raise DataError(f"run {self.run.id} has no classified item {self.run.id}-{media}-{region}")
        return row

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self.features.refresh()
        state = self._store.region_state(self.run)
        if state != self._state:
            self._regions = RunRegions.of(self._store.region_rows(self.run))
            self._state = state
        self._has_feature_P = self.features.has(self._regions.content_P, self._regions.box_P)
        self._seen = seen

    def _look(self) -> Any:
        """Return something that changes when the store does, without reading it."""
        if (file := self._store.file) is None:
            return int(time.monotonic() / _CHECK_EVERY_S)
        found = []
        for path in (file, file.with_name(file.name + "-wal")):
            stat = path.stat() if path.exists() else None
            found.append(stat and (stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def _missing(self, regions: RunRegions, has_feature_P: NDArray[np.bool_]) -> list[str]:
        without = int(regions.copies_P[~has_feature_P].sum()) + int((regions.place_M < 0).sum())
        if not without:
            return []
        return [
            f"{number_of(without, 'region')} of run {self.run.id} cannot be found, since no usable feature of it is stored; "
            "the run's classify command stores it"
        ]

    def _hits(self, regions: RunRegions, found: NearestKeys, chosen: NDArray[np.int64] | None) -> tuple[Hit, ...]:
        place_K = regions.places(found.content_K, found.box_K)
        is_known_K = place_K >= 0  # another program may have added rows to a table of the database meanwhile
        place_K, cosine_K = place_K[is_known_K], found.cosine_K[is_known_K]
        row_K, copies_K = regions.first_P[place_K], regions.copies_P[place_K]
        if chosen is not None:  # the first region that passes the filter, and the number of those that do
            of_hits = chosen[np.isin(regions.place_M[chosen], place_K)]
            places, first, counts = np.unique(regions.place_M[of_hits], return_index=True, return_counts=True)
            at_K = np.searchsorted(places, place_K)
            row_K, copies_K = of_hits[first[at_K]], counts[at_K]
        media_K, region_K = regions.rows.media_M[row_K], regions.rows.region_M[row_K]
        results = self._store.media_results(self.run, set(media_K.tolist()))
        hits = []
        columns = (media_K, region_K, cosine_K, copies_K)
        for media, region, cosine, copies in zip(*(column.tolist() for column in columns), strict=True):
            if media not in results:  # deleted meanwhile
                continue
            item, stored = results[media]
            of_region = next((one for one in stored if one.region_id == region), None)
            if of_region is None:
                continue
            box, answer = of_region.region, of_region.consensus
            hits.append(Hit(self.run.id, media, region, cosine, copies - 1, item, box, answer))
        return tuple(hits)


def _rows_within(regions: RunRegions, within: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of these regions whose contents are stored, in ascending order."""
    rows = np.unique(regions.of_regions(within.astype(np.int64, copy=False)))
    rows = rows[rows >= 0]
    return rows[regions.place_M[rows] >= 0]
