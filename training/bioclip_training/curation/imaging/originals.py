"""Records whose images were made of one file, as published hashes of that file say: joined by hash, and compared by their looks.

A hash of the original alone does not make two images copies of each other: crops of one photograph share it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.duplicates import Joined
from bioclip_training.curation.database import streamed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from bioclip_training.curation.imaging.deciding import Candidate, Region

Content: TypeAlias = "tuple[str, Region]"
"""The sha256 of an image's bytes and a region of it."""
_BATCH = 16_384
_KINDS = ("md5", "sha256")


def originals(records: str) -> str:
    """Return a query for the originals that records state: columns ``key`` and ``content``.

    Args:
        records: table with the columns of ``RECORDS``, in SQL.
    """
    return " UNION ALL ".join(
        f"SELECT key, '{kind} ' || published_original_{kind} AS content FROM {records} WHERE published_original_{kind} <> ''"
        for kind in _KINDS
    )


def contents(images: str) -> str:
    """Return a query for the bytes of images in the words of :func:`originals`.

    Args:
        images: table with the columns of ``IMAGES``, in SQL.
    """
    return " UNION ALL ".join(
        f"SELECT key, '{kind} ' || {kind} AS content FROM {images} WHERE {kind} <> ''" for kind in _KINDS
    )


@dataclass(frozen=True, slots=True)
class OfOriginals:
    """Records that share the file that they were made of."""

    groups: tuple[tuple[str, ...], ...]
    """Keys of the records of each file, sorted."""
    hashes: Mapping[str, bytes]
    """Perceptual hash of each record's region; empty for a region of one colour."""

    def copies(self, records: Mapping[str, Candidate], distance: int) -> dict[Content, Content]:
        """Return the content that stands for others that were made of the same file and look the same.

        Args:
            records: every record of the groups that may be a copy, by its key.
            distance: largest number of bits in which the perceptual hashes differ.
        """
        found = {records[key].content for keys in self.groups for key in keys if key in records}
        listed = sorted(found, key=repr)
        places = {content: place for place, content in enumerate(listed)}
        joined = Joined(len(listed))
        for keys in self.groups:
            of_kind: dict[bool, dict[Content, bytes]] = {True: {}, False: {}}
            for key in keys:
                if key in records:  # a region is not a copy of a whole image
                    content = records[key].content
                    of_kind[content[1] is None].setdefault(content, self.hashes[key])
            for hashes in of_kind.values():
                several = list(hashes)
                for one, other in _alike(list(hashes.values()), distance):
                    joined.join(places[several[one]], places[several[other]])
        roots = joined.roots().tolist()
        return {content: listed[root] for content, root in zip(listed, roots, strict=True) if listed[root] != content}


def of_originals(database: DuckDBPyConnection, images: str, records: str) -> OfOriginals:
    """Return the readable records that share an original, by its published hash or the bytes of the file itself."""
    readable = f"(SELECT * FROM {images} WHERE unreadable = '')"
    query = (
        f"WITH stated AS MATERIALIZED ({originals(f'{records} SEMI JOIN {readable} USING (key)')}), "
        f"listed AS (FROM stated UNION SELECT * FROM ({contents(readable)}) SEMI JOIN stated USING (content)), "
        "shared AS (SELECT * FROM listed SEMI JOIN (SELECT content FROM listed GROUP BY content HAVING count(*) > 1) USING (content)) "
        f"SELECT content, key, phash FROM shared JOIN {images} USING (key) ORDER BY content, key"
    )
    hashes: dict[str, bytes] = {}
    groups: dict[tuple[str, ...], None] = {}
    for _, rows in groupby(_rows(database, query), key=lambda row: row[0]):
        keys = []
        for _, key, hashed in rows:
            keys.append(key)
            hashes[key] = hashed
        groups[tuple(keys)] = None  # md5 and sha256 may say the same
    return OfOriginals(tuple(groups), hashes)


def _rows(database: DuckDBPyConnection, query: str) -> Iterator[tuple[str, str, bytes]]:
    for batch in streamed(database, query, _BATCH):
        yield from zip(*(batch.column(name).to_pylist() for name in ("content", "key", "phash")), strict=True)


def _alike(hashes: Sequence[bytes], distance: int) -> Iterable[tuple[int, int]]:
    """Yield pairs of places that join all images that look like the first one of them."""
    width = max(map(len, hashes), default=0)
    left = list(range(len(hashes)))
    if not width:  # of one colour
        yield from ((left[0], place) for place in left[1:])
        return
    bits: NDArray[np.uint8] = np.unpackbits(
        np.array([np.frombuffer(one.ljust(width, b"\0"), np.uint8) for one in hashes]), axis=1
    )
    flat = np.array([not one for one in hashes])
    while left:
        first, rest = left[0], np.array(left[1:], dtype=np.int64)
        is_near = ((bits[rest] != bits[first]).sum(axis=1) <= distance) & (flat[rest] == flat[first])
        yield from ((first, place) for place in rest[is_near].tolist())
        left = rest[~is_near].tolist()
