"""The float16 matrix of a feature set: derived from a store, kept beside it, brought up to date by appending."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.identity import settings_id, user_cache
from bioclip_core.progress import Progress, logged
from bioclip_plugin.searching.keys import RowIndex
from bioclip_plugin.searching.matrix_files import FORMAT, KEYS, Appending, Damaged, Description, MatrixFiles
from bioclip_plugin.store import Store
from bioclip_plugin.store.feature_rows import FeatureKeys, StoredFeatureSet

log = logging.getLogger(__name__)

FOLDER_SUFFIX = ".search"
_CONTENTS_AT_ONCE = 8_192
_REMOVED_AT_MOST = 4_096
"""Rows without a feature in the store; with more of them the matrix is rebuilt."""
_UNIT_ENOUGH = 2e-3
"""Difference from length 1 that rounding to float16 may leave; longer and shorter rows are normalised."""


@dataclass(frozen=True)
class Matrix:
    """The features of one feature set: N rows, one per content and box, mapped from a file and never changed in place."""

    feature_set: StoredFeatureSet
    vectors_ND: NDArray[np.float16]
    """L2-normalised."""
    content_N: NDArray[np.int64]
    """Numbers of contents in the store."""
    box_N: NDArray[np.int64]
    """Packed boxes; see ``store.feature_rows.packed_box``."""
    removed: NDArray[np.int64]
    """Rows that are not in the store any more, in ascending order: never a result."""
    unusable: int
    """Features of the store without a row, since they have no direction."""
    deviation: float
    """Largest difference of a row's length from 1."""
    state: str
    folder: Path
    notes: tuple[str, ...] = ()
    """Sentences about how it came about: damage, and a folder that cannot be written."""

    def __len__(self) -> int:
        return len(self.vectors_ND)

    @cached_property
    def index(self) -> RowIndex:
        """The rows by content and box."""
        return RowIndex(_without(self.content_N, self.removed), self.box_N)

    def rows(self, content_M: NDArray[np.int64], box_M: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of M pairs of content and packed box, -1 for a pair without a feature."""
        return self.index.rows(content_M, box_M)


def open_matrix(
    store: Store, feature_set: StoredFeatureSet, *, rebuild: bool = False, progress: Progress | None = None
) -> Matrix:
    """Return the matrix of a feature set, up to date with the store.

    New features are appended. A matrix that is missing, damaged or of another version or feature set is built anew.

    Args:
        store: the store.
        feature_set: one of its feature sets.
        rebuild: True builds it anew in any case.
        progress: called with the features read and with all of them; None: a line is logged every few seconds.

    Raises:
        BioclipError: if it cannot be written, also not in the user's cache.
        StoreError: for features that are damaged.
    """
    folder, notes = _folder_of(store, feature_set)
    files = MatrixFiles(folder)
    report = progress or logged(log, "Building the search matrix: %d of %d features")
    found, why = _found(files, feature_set)
    state = store.feature_state(feature_set.number)
    if found is None or found.state != state or rebuild:
        with files.writing():
            if not rebuild:
                found, why = _found(files, feature_set)  # another program may have written it meanwhile
            if why:
                notes.append(f"the search matrix in {folder} could not be used, and was built anew: {why}")
            if found is None or found.state != state or rebuild:
                found = _updated(store, feature_set, files, None if rebuild else found, state, report)
    return _mapped(files, found, feature_set, tuple(notes))


def refreshed(matrix: Matrix, store: Store) -> Matrix:
    """Return the matrix itself while the store's features are what it was made of, else one that is up to date."""
    if store.feature_state(matrix.feature_set.number) == matrix.state:
        return matrix
    return open_matrix(store, matrix.feature_set)


def _found(files: MatrixFiles, feature_set: StoredFeatureSet) -> tuple[Description | None, str]:
    try:
        return files.read(feature_set.feature_id, feature_set.dimension), ""
    except Damaged as error:
        return None, str(error)


def _folder_of(store: Store, feature_set: StoredFeatureSet) -> tuple[Path, list[str]]:
    """Return the folder of a matrix: beside an SQLite file if possible, else in the user's cache."""
    name = feature_set.feature_id[:16]
    in_cache = user_cache() / "search" / settings_id({"store": store.shown_address}) / name
    if (file := store.file) is None:
        return in_cache, []
    beside = file.with_name(file.name + FOLDER_SUFFIX)
    if os.access(beside if beside.is_dir() else file.parent, os.W_OK):
        return beside / name, []
    return in_cache, [f"the search matrix is kept in {in_cache}, since the folder of the store cannot be written"]


def _updated(
    store: Store,
    feature_set: StoredFeatureSet,
    files: MatrixFiles,
    found: Description | None,
    state: str,
    report: Progress,
) -> Description:
    """Write the rows that a matrix lacks, and its description."""
    keys = store.feature_keys(feature_set.number)
    start = found or _empty(feature_set, files)
    kept_N3 = files.read_keys(start) if found else np.empty((0, KEYS), np.int64)
    kept_N3[:, 0] = _without(kept_N3[:, 0], np.array(start.removed, np.int64))
    removed, missing = _compared(kept_N3, keys)
    if len(removed) > _REMOVED_AT_MOST:
        start, removed, missing = _empty(feature_set, files), np.empty(0, np.int64), np.arange(len(keys))
    appending, deviation, unusable = Appending(files, start), start.deviation, 0
    try:
        for vectors_RD, keys_R3, largest, bad in _parts(store, feature_set, keys, missing, report):
            appending.add(vectors_RD, keys_R3)
            deviation, unusable = max(deviation, largest), unusable + bad
        rows, vectors_crc, keys_crc = appending.finish()
    finally:
        appending.close()
    written = replace(
        start, rows=rows, state=state, vectors_crc=vectors_crc, keys_crc=keys_crc, deviation=deviation,
        removed=removed.tolist(), unusable=unusable,
    )  # fmt: skip
    files.write(written)
    return written


def _empty(feature_set: StoredFeatureSet, files: MatrixFiles) -> Description:
    numbers = [int(path.stem.rpartition("-")[2]) for path in files.folder.glob("vectors-*.f16")]
    return Description(
        FORMAT, feature_set.feature_id, feature_set.dimension, 1 + max(numbers, default=0), 0, "", 0, 0, 0.0
    )


def _without(content_N: NDArray[np.int64], removed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return contents with -1 in removed rows: their number may be that of a newer content."""
    found_N = content_N.copy()
    found_N[removed] = -1
    return found_N


def _compared(kept_N3: NDArray[np.int64], keys: FeatureKeys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that the store does not have any more, and the places of its keys that no row has."""
    row_K = RowIndex(kept_N3[:, 0], kept_N3[:, 1]).rows(keys.content_N, keys.box_N) if len(kept_N3) else None
    if row_K is None:
        return np.empty(0, np.int64), np.arange(len(keys))
    has_row_K = row_K >= 0
    has_row_K[has_row_K] = kept_N3[row_K[has_row_K], 2] == keys.tag_N[has_row_K]  # else the number is another content's
    is_kept_N = np.zeros(len(kept_N3), bool)
    is_kept_N[row_K[has_row_K]] = True
    return np.flatnonzero(~is_kept_N), np.flatnonzero(~has_row_K)


def _parts(
    store: Store, feature_set: StoredFeatureSet, keys: FeatureKeys, missing: NDArray[np.int64], report: Progress
) -> Iterator[tuple[NDArray[np.float16], NDArray[np.int64], float, int]]:
    """Yield R vectors with R keys, the largest difference from length 1, and the number of unusable ones, part by part."""
    index = RowIndex(keys.content_N[missing], keys.box_N[missing])
    contents = np.unique(keys.content_N[missing])
    done = 0
    for first in range(0, len(contents), _CONTENTS_AT_ONCE):
        chunk = contents[first : first + _CONTENTS_AT_ONCE].tolist()
        content_R, box_R, vectors_RD = store.feature_vectors(feature_set.number, chunk, feature_set.dimension)
        place_R = index.rows(content_R, box_R)
        order = np.argsort(place_R[place_R >= 0], kind="stable")
        place_R, vectors_RD = place_R[place_R >= 0][order], vectors_RD[place_R >= 0][order]
        rows_RD, usable_R, largest = normalised(vectors_RD)
        of_key_R = missing[place_R[usable_R]]
        keys_R3 = np.stack([keys.content_N[of_key_R], keys.box_N[of_key_R], keys.tag_N[of_key_R]], axis=1)
        yield rows_RD, keys_R3, largest, int((~usable_R).sum())
        done += len(place_R)
        report(done, len(missing))


def normalised(vectors_RD: NDArray[np.float16]) -> tuple[NDArray[np.float16], NDArray[np.bool_], float]:
    """Return the usable rows with length 1, which rows are usable, and the largest difference from 1 that is left."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide_RD = vectors_RD.astype(np.float32)
        length_R = np.linalg.norm(wide_RD, axis=1)
    usable_R = np.isfinite(length_R) & (length_R > 0)
    rows_RD, wide_RD, length_R = vectors_RD[usable_R], wide_RD[usable_R], length_R[usable_R]
    far_R = np.abs(length_R - 1) > _UNIT_ENOUGH
    if far_R.any():
        rows_RD[far_R] = (wide_RD[far_R] / length_R[far_R, None]).astype(np.float16)
        length_R[far_R] = np.linalg.norm(rows_RD[far_R].astype(np.float32), axis=1)
    return rows_RD, usable_R, float(np.abs(length_R - 1).max(initial=0.0))


def _mapped(files: MatrixFiles, found: Description, feature_set: StoredFeatureSet, notes: tuple[str, ...]) -> Matrix:
    keys_N3 = files.read_keys(found)
    return Matrix(
        feature_set,
        files.map_vectors(found),
        np.ascontiguousarray(keys_N3[:, 0]),
        np.ascontiguousarray(keys_N3[:, 1]),
        np.array(sorted(found.removed), np.int64),
        found.unusable,
        found.deviation,
        found.state,
        files.folder,
        notes,
    )
