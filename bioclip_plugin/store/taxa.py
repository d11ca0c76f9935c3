"""Taxa in the database: each stored once, found by a hash of all its names, and cached in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from bioclip_core.classify import Candidate
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import find_or_insert, rows_with
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.database.values import clean_text

Key = tuple[Taxon, int]
"""A taxon, and the code of its own rank."""

_REMEMBERED = 200_000  # about 100 MB at most; emptied when full, since a run's taxa come again at once
_CODES = {rank: code for code, rank in enumerate(RANK_CODES)}
NAMES = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "common_name", "source_id")
"""The columns of a taxon, in the order of the fields of :class:`Taxon`."""


def rank_code(rank: str) -> int:
    """Return the number of a rank's name, or of ``label`` and ``group``.

    Raises:
        ValueError: for any other word.
    """
    try:
        return _CODES[rank]
    except KeyError:
        raise ValueError(f"rank {rank!r}: the store knows {', '.join(RANK_CODES)}") from None


def key_of(candidate: Candidate) -> Key:
    """Return the key of a candidate's taxon."""
    return candidate.taxon, rank_code(candidate.rank)


def key_of_taxon(taxon: Taxon) -> Key:
    """Return the key of a taxon without a stated rank: that of its most specific name, else ``label``."""
    return taxon, rank_code(taxon.rank.value if taxon.rank else "label")


class TaxonCache:
    """Numbers of taxa and taxa of numbers, safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[Key, int] = {}
        self._taxa: dict[int, Key] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which another thread may have held."""
        self._lock = threading.Lock()

    def remember(self, ids: dict[Key, int]) -> None:
        """Cache numbers; only those of a committed transaction, since a number that was rolled back is given again."""
        with self._lock:
            if len(self._ids) + len(ids) > _REMEMBERED:
                self._ids.clear()
                self._taxa.clear()
            self._ids.update(ids)
            self._taxa.update({number: key for key, number in ids.items()})

    def forget(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._ids.clear()
            self._taxa.clear()

    def ids(self, connection: Connection, keys: Collection[Key]) -> dict[Key, int]:
        """Return the numbers of these taxa, new ones inserted. Pass the result to :meth:`remember` after the commit."""
        with self._lock:
            known = {key: self._ids[key] for key in keys if key in self._ids}
        hashed = {key: _hash(key) for key in keys if key not in known}
        hashes = {name: key for key, name in hashed.items()}
        table = schema.taxa.c
        query = select(table.key, table.id)
        found = find_or_insert(
            connection,
            schema.taxa,
            # Sorted, so that two writers who insert the same taxa never wait for each other in a circle.
            sorted(hashes),
            lambda: {row.key: int(row.id) for row in rows_with(connection, query, table.key, hashes)},
            lambda name: {
                "key": name,
                "rank": hashes[name][1],
                **dict(zip(NAMES, _texts(hashes[name][0]), strict=True)),
            },
        )
        # Keys that differ only in characters that cannot be stored (a NUL) share a hash and a number.
        return known | {key: found[name] for key, name in hashed.items()}

    def taxa(self, connection: Connection, numbers: Iterable[int]) -> dict[int, Key]:
        """Return the taxa of these numbers."""
        wanted = set(numbers)
        with self._lock:
            known = {number: self._taxa[number] for number in wanted if number in self._taxa}
        table = schema.taxa.c
        query = select(table.id, table.rank, *(table[name] for name in NAMES))
        found: dict[int, Key] = {
            row[0]: (Taxon(*row[2:]), row[1]) for row in rows_with(connection, query, table.id, wanted - known.keys())
        }
        self.remember({key: number for number, key in found.items()})
        return known | found


def _texts(taxon: Taxon) -> tuple[str, ...]:
    return (*taxon.lineage, taxon.common_name, taxon.source_id)


def _hash(key: Key) -> str:
    # The separator is a control character that no name holds.
    names = clean_text("\x1f".join((str(key[1]), *_texts(key[0]))))
    return hashlib.sha256(names.encode("utf-8")).hexdigest()[:32]
