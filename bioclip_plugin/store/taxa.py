"""Taxa in the database: each stored once, found by a hash of all its names, and kept in memory while it is used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, select

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.database.values import clean_text

Key = tuple[Taxon, int]
"""A taxon, and the code of its own rank."""

_REMEMBERED = 200_000  # about 100 MB at most; emptied when full, since a run's taxa come again at once
_CODES = {rank: code for code, rank in enumerate(RANK_CODES)}
_NAMES = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "common_name", "source_id")


def rank_code(rank: str) -> int:
    """The number of a rank's name, or of ``label`` and ``group``.

    Raises:
        ValueError: for any other word.
    """
    try:
        return _CODES[rank]
    except KeyError:
        raise ValueError(f"rank {rank!r}: the store knows {', '.join(RANK_CODES)}") from None


def key_of(candidate: Candidate) -> Key:
    """What tells a candidate's taxon from others."""
    return candidate.taxon, rank_code(candidate.rank)


class TaxonCache:
    """Numbers of taxa and taxa of numbers, safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[Key, int] = {}
        self._taxa: dict[int, Key] = {}

    def remember(self, ids: dict[Key, int]) -> None:
        """Keep numbers; only those whose transaction was committed, since others may be given again."""
        with self._lock:
            if len(self._ids) + len(ids) > _REMEMBERED:
                self._ids.clear()
                self._taxa.clear()
            self._ids.update(ids)
            self._taxa.update({number: key for key, number in ids.items()})

    def ids(self, connection: Connection, keys: Collection[Key]) -> dict[Key, int]:
        """The numbers of these taxa, new ones inserted. Pass the result to :meth:`remember` after the commit."""
        with self._lock:
            known = {key: self._ids[key] for key in keys if key in self._ids}
        hashed = {key: _hash(key) for key in keys if key not in known}
        hashes = {name: key for key, name in hashed.items()}
        found = _ids_of(connection, hashes)
        # Sorted, so that two writers who insert the same taxa never wait for each other in a circle.
        missing = [_row(name, hashes[name]) for name in sorted(hashes) if name not in found]
        if missing:
            insert_new(connection, schema.taxa, missing)
            found |= _ids_of(connection, [row["key"] for row in missing])
        # Keys that differ only in what the store cannot hold (a NUL) have one hash and one number.
        return known | {key: found[name] for key, name in hashed.items()}

    def taxa(self, connection: Connection, numbers: Iterable[int]) -> dict[int, Key]:
        """The taxa of these numbers."""
        wanted = set(numbers)
        with self._lock:
            known = {number: self._taxa[number] for number in wanted if number in self._taxa}
        table = schema.taxa.c
        columns = [table.id, table.rank, *(table[name] for name in _NAMES)]
        found: dict[int, Key] = {}
        for chunk in chunked(wanted - known.keys()):
            for number, rank, *names in connection.execute(select(*columns).where(table.id.in_(chunk))):
                found[number] = (Taxon(*names), rank)
        self.remember({key: number for number, key in found.items()})
        return known | found


def _row(hashed: str, key: Key) -> dict[str, Any]:
    taxon, rank = key
    names = (*taxon.lineage, taxon.common_name, taxon.source_id)
    return {"key": hashed, "rank": rank, **dict(zip(_NAMES, names, strict=True))}


def _hash(key: Key) -> str:
    taxon, rank = key
    # The separator is a control character that no name holds.
    names = "\x1f".join((str(rank), *taxon.lineage, taxon.common_name, taxon.source_id))
    return hashlib.sha256(clean_text(names).encode("utf-8")).hexdigest()[:32]


def _ids_of(connection: Connection, hashes: Iterable[str]) -> dict[str, int]:
    table = schema.taxa.c
    found: dict[str, int] = {}
    for chunk in chunked(hashes):
        rows = connection.execute(select(table.key, table.id).where(table.key.in_(chunk)))
        found.update((row.key, row.id) for row in rows)
    return found
