"""Stored features as arrays, for what is derived from them: their keys, their vectors, and the regions that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from bioclip_plugin.items.media import BOX_UNIT, MediaItem
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import execute, rows_with
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.values import damaged, digest, from_json
from bioclip_plugin.store.media_rows import item_of_row
from bioclip_plugin.store.reading import regions_of_run
from bioclip_plugin.store.records import MediaName, Run, StoredRegion
from bioclip_plugin.store.taxa import TaxonCache

Read = TypeVar("Read")

_AT_ONCE = 50_000
_SIDE = BOX_UNIT + 1
_TAG_DIGITS = 15
"""Hexadecimal digits of a sha256 that fit into a whole number of 64 bits."""


@dataclass(frozen=True, slots=True)
class StoredFeatureSet:
    """One feature set of a store."""

    number: int
    feature_id: str
    settings: Mapping[str, Any]
    """Contains ``weights_sha256``."""
    dimension: int


@dataclass(frozen=True, slots=True)
class FeatureKeys:
    """N keys of features. ``box_N`` holds boxes as one number each: see :func:`packed_box`."""

    content_N: NDArray[np.int64]
    box_N: NDArray[np.int64]
    tag_N: NDArray[np.int64]
    """The beginning of the content's sha256 as a number: SQLite gives the number of a deleted content again."""

    def __len__(self) -> int:
        return len(self.content_N)


@dataclass(frozen=True, slots=True)
class RegionRows:
    """M classified regions of a run with the keys of their features, in the order of media and of the regions in each."""

    media_M: NDArray[np.int64]
    region_M: NDArray[np.int64]
    content_M: NDArray[np.int64]
    """-1 for a file whose content is not stored."""
    box_M: NDArray[np.int64]


def packed_box(box: Sequence[int]) -> int:
    """Return a box of four whole numbers from 0 to 10,000 as one number."""
    x, y, w, h = box
    return ((x * _SIDE + y) * _SIDE + w) * _SIDE + h


_PACKED = f"(({{0}}x * {_SIDE} + {{0}}y) * {_SIDE} + {{0}}w) * {_SIDE} + {{0}}h"


class FeatureRows:
    """The methods of a store that give features as arrays."""

    _database: Database
    _taxa: TaxonCache

    def feature_sets(self) -> list[StoredFeatureSet]:
        """Return the feature sets, oldest first."""
        return self._database.read(_feature_sets)

    def feature_state(self, feature_set: int) -> str:
        """Return a text that changes when the features of a set do. It reads the keys alone: 0.1 s for a million."""
        return self._database.read(_feature_state, feature_set)

    def feature_keys(self, feature_set: int) -> FeatureKeys:
        """Return the keys of all features of a set that have a vector, in their order."""
        return self._database.read(_feature_keys, feature_set)

    def feature_vectors(
        self, feature_set: int, contents: Iterable[int], dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float16]]:
        """Return the features of these contents: R numbers of contents, R packed boxes, R×D vectors.

        Raises:
            StoreError: for a vector of another length.
        """
        return self._database.read(_feature_vectors, feature_set, contents, dimension)

    def region_state(self, run: Run) -> str:
        """Return a text that changes when the regions of a run, or the contents of their files, do."""
        return self._database.read(_region_state, run)

    def region_rows(self, run: Run) -> RegionRows:
        """Return the classified regions of a run with the keys of their features."""
        return self._database.read(_region_rows, run)

    def media_results(
        self, run: Run, media: Iterable[int], ranks: Iterable[str] = ()
    ) -> dict[int, tuple[MediaItem, list[StoredRegion]]]:
        """Return media by their numbers with their regions in a run; unknown numbers are absent.

        Args:
            run: the run.
            media: numbers of media.
            ranks: the levels whose candidates are read.
        """
        return self._database.read(_media_results, run, list(media), self._taxa, list(ranks))

    def media_numbers(self, names: Iterable[MediaName]) -> dict[MediaName, int]:
        """Return the numbers of the media with these names (uri and frame); others are absent."""
        return self._database.read(_media_numbers, list(names))

    def half_vectors_of(self, work: Callable[..., Read], *given: Any) -> Read:
        """Run reading work of :mod:`bioclip_plugin.store.half_vectors`, on PostgreSQL."""
        return self._database.read(work, *given)

    def write_half_vectors(self, work: Callable[..., Read], *given: Any) -> Read:
        """Run writing work of :mod:`bioclip_plugin.store.half_vectors`, on PostgreSQL.

        Raises:
            StoreError: if the database refuses.
        """
        return self._database.write(work, *given)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite store; None on PostgreSQL."""
        return Path(str(self._database.url.database)) if self._database.is_sqlite else None


def _feature_sets(connection: Connection) -> list[StoredFeatureSet]:
    table = schema.feature_sets.c
    rows = connection.execute(select(table.id, table.feature_id, table.settings, table.dimension).order_by(table.id))
    return [StoredFeatureSet(number, name, from_json(settings), size) for number, name, settings, size in rows]


def _feature_state(connection: Connection, feature_set: int) -> str:
    # Without the tables' rows: a sum over the index of the primary key.
    query = (
        f"SELECT count(*), max(content), sum(content), sum(x + 3 * y + 7 * w + 11 * h), sum(content * (x + 5 * y + w + h)) "
        f"FROM {schema.features.name} WHERE feature_set = ?"
    )
    counts = [None if value is None else int(value) for value in execute(connection, query, feature_set).one()]
    last = execute(connection, f"SELECT sha256 FROM {schema.contents.name} WHERE id = ?", counts[1]).scalar()
    runs = execute(connection, f"SELECT id, created_at FROM {schema.runs.name} ORDER BY id").all()
    return digest(counts, last, [list(map(str, row)) for row in runs])


def _feature_keys(connection: Connection, feature_set: int) -> FeatureKeys:
    box = _PACKED.format("f.")
    query = (
        f"SELECT f.content, {box}, c.sha256, c.frame FROM {schema.features.name} f JOIN {schema.contents.name} c "
        "ON c.id = f.content WHERE f.feature_set = ? AND f.vector IS NOT NULL"
    )
    found: list[NDArray[np.int64]] = []
    for rows in execute(connection, query, feature_set).partitions(_AT_ONCE):
        values = ((content, packed, _tag_of(sha256) ^ frame) for content, packed, sha256, frame in rows)
        found.append(np.fromiter(chain.from_iterable(values), np.int64, 3 * len(rows)).reshape(-1, 3))
    keys_N3 = np.concatenate(found) if found else np.empty((0, 3), np.int64)
    keys_N3 = keys_N3[np.lexsort((keys_N3[:, 1], keys_N3[:, 0]))]
    return FeatureKeys(*(np.ascontiguousarray(keys_N3[:, column]) for column in range(3)))


def _tag_of(sha256: str) -> int:
    try:
        return int(sha256[:_TAG_DIGITS], 16)
    except ValueError:  # of another program
        return int(digest(sha256)[:_TAG_DIGITS], 16)


def _feature_vectors(
    connection: Connection, feature_set: int, contents: Iterable[int], dimension: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float16]]:
    table = schema.features.c
    query = select(table.content, table.x, table.y, table.w, table.h, table.vector)
    query = query.where(table.feature_set == feature_set, table.vector.is_not(None))
    keys, vectors = [], []
    for content, x, y, w, h, vector in rows_with(connection, query, table.content, contents):
        if len(vector) != 2 * dimension:
            raise damaged(bytes(vector[:8]).hex())
        keys.append((content, packed_box((x, y, w, h))))
        vectors.append(vector)
    keys_R2 = np.array(keys, np.int64).reshape(-1, 2)
    rows_RD = np.frombuffer(b"".join(vectors), "<f2").reshape(-1, dimension).astype(np.float16, copy=False)
    return keys_R2[:, 0], keys_R2[:, 1], rows_RD


_OF_RUN = (
    f"FROM {schema.listed_regions.name} l JOIN {schema.regions.name} r ON r.id = l.region "
    f"JOIN {schema.media.name} m ON m.id = l.media WHERE l.run = ? AND coalesce(l.classified, 1) <> 0"
)


def _region_state(connection: Connection, run: Run) -> str:
    query = f"SELECT count(*), sum(l.region), sum(l.media), sum(m.content), sum(l.region * 7 + m.content * 3) {_OF_RUN}"
    return digest([None if value is None else int(value) for value in execute(connection, query, run.id).one()])


def _region_rows(connection: Connection, run: Run) -> RegionRows:
    columns = f"l.media, l.region, coalesce(m.content, -1), {_PACKED.format('r.')}"
    query = f"SELECT {columns} {_OF_RUN} ORDER BY l.media, l.position"
    found: list[NDArray[np.int64]] = [
        np.fromiter(chain.from_iterable(rows), np.int64, 4 * len(rows)).reshape(-1, 4)
        for rows in execute(connection, query, run.id).partitions(_AT_ONCE)
    ]
    rows_M4 = np.concatenate(found) if found else np.empty((0, 4), np.int64)
    return RegionRows(*(np.ascontiguousarray(rows_M4[:, column]) for column in range(4)))


def _media_results(
    connection: Connection, run: Run, media: Sequence[int], cache: TaxonCache, ranks: Sequence[str]
) -> dict[int, tuple[MediaItem, list[StoredRegion]]]:
    regions = regions_of_run(connection, run, media, cache, ranks)
    rows = rows_with(connection, select(schema.media), schema.media.c.id, media)
    return {row.id: (item_of_row(row), regions.get(row.id, [])) for row in rows}


def _media_numbers(connection: Connection, names: Sequence[MediaName]) -> dict[MediaName, int]:
    table, wanted = schema.media.c, set(names)
    query = select(table.uri, table.frame, table.id)
    found: Iterator[Any] = rows_with(connection, query, table.uri, {uri for uri, _ in wanted})
    return {(uri, frame): number for uri, frame, number in found if (uri, frame) in wanted}
