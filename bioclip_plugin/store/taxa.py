"""Taxa in the database: each stored once, found by a hash of all its names, and cached in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from bioclip_core.classify import Candidate
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import execute, find_or_insert, keys_parameter, rows_with
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.database.values import clean_text

Key = tuple[Taxon, int]
"""A taxon, and the code of its own rank."""

_REMEMBERED = 200_000  # about 100 MB at most; emptied when full, since a run's taxa come again at once
_OBJECTS = 50_000  # some 15 MB at most, for candidates whose taxa are made anew each time
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


class Numbers:
    """Numbers of taxa: by their keys, and by the objects that candidates hold, which takes a tenth of the time."""

    def __init__(self) -> None:
        self.by_key: dict[Key, int] = {}
        self.by_object: dict[int, tuple[Taxon, str, int]] = {}
        """By the ``id`` of a taxon: the taxon, which keeps its ``id`` from being used again, its rank, and its number."""


_NO_NUMBER = 0  # numbers begin with 1
_NOTHING: tuple[Taxon | None, str, int] = (None, "", _NO_NUMBER)


class _Keys(NamedTuple):
    """Keys of taxa, with the numbers of those that are cached."""

    places: list[int]
    """Of each key that was given: its place among the different ones."""
    distinct: list[Key]
    numbers: list[int]
    """Of the different keys; ``_NO_NUMBER`` for those that are not cached."""

    def finish(self, connection: Connection) -> tuple[list[int], dict[Key, int]]:
        """Return the numbers in the order in which the keys were given, new taxa inserted, and those that were not cached."""
        numbers, new = list(self.numbers), dict[Key, int]()
        missing = [place for place, number in enumerate(numbers) if number == _NO_NUMBER]
        if missing:
            new = _stored(connection, [self.distinct[place] for place in missing])
            for place, number in zip(missing, new.values(), strict=True):
                numbers[place] = number
        return [numbers[place] for place in self.places], new


class Search(NamedTuple):
    """The numbers of candidates' taxa as far as they are cached."""

    numbers: list[int]
    unknown: list[int]
    """Places of the candidates whose object is not known."""
    objects: list[tuple[int, str]]
    """The ``id`` of their taxon and their rank."""
    first: dict[tuple[int, str], Candidate]
    """One candidate for each of these."""
    keys: _Keys
    """The keys of ``first``."""

    def finish(self, connection: Connection) -> tuple[list[int], Numbers]:
        """Return the numbers of all candidates, new taxa inserted, and what to remember after the commit."""
        numbers, new = list(self.numbers), Numbers()
        found, new.by_key = self.keys.finish(connection)
        of_object = dict(zip(self.first, found, strict=True))
        for (name, rank), number in of_object.items():
            new.by_object[name] = (self.first[name, rank].taxon, rank, number)
        for name_and_rank, place in zip(self.objects, self.unknown, strict=True):
            numbers[place] = of_object[name_and_rank]
        return numbers, new


class TaxonCache:
    """Numbers of taxa and taxa of numbers, safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = Numbers()
        self._taxa: dict[int, Key] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which another thread may have held."""
        self._lock = threading.Lock()

    def remember(self, new: Numbers) -> None:
        """Cache numbers; only those of a committed transaction, since a number that was rolled back is given again."""
        if not (new.by_key or new.by_object):
            return
        with self._lock:
            if len(self._numbers.by_object) + len(new.by_object) > _OBJECTS:
                self._numbers.by_object = {}  # not cleared: another thread may be looking into it
            if len(self._numbers.by_key) + len(new.by_key) > _REMEMBERED:
                self._numbers = Numbers()
                self._taxa.clear()
            self._numbers.by_key.update(new.by_key)
            self._numbers.by_object.update(new.by_object)
            self._taxa.update({number: key for key, number in new.by_key.items()})

    def forget(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._numbers = Numbers()
            self._taxa.clear()

    def numbers(self, connection: Connection, candidates: Sequence[Candidate]) -> tuple[list[int], Numbers]:
        """Return the numbers of the candidates' taxa, new ones inserted, and what to :meth:`remember` after the commit."""
        return self.search(candidates).finish(connection)

    def search(self, candidates: Sequence[Candidate]) -> Search:
        """Look up what is cached of the candidates' taxa, without the database."""
        known = self._numbers.by_object
        # An entry keeps its taxon alive, so that no other object has its id.
        entries = [known.get(id(candidate.taxon), _NOTHING) for candidate in candidates]
        unknown = [
            place
            for place, (entry, candidate) in enumerate(zip(entries, candidates, strict=True))
            if entry[1] != candidate.rank
        ]
        objects = [(id(candidates[place].taxon), candidates[place].rank) for place in unknown]
        first = {name: candidates[place] for name, place in zip(objects, unknown, strict=True)}
        keys = self._look_up([key_of(candidate) for candidate in first.values()])
        return Search([number for _, _, number in entries], unknown, objects, first, keys)

    def ids(self, connection: Connection, keys: Collection[Key]) -> dict[Key, int]:
        """Return the numbers of these taxa, new ones inserted."""
        return dict(zip(keys, self._look_up(keys).finish(connection)[0], strict=True))

    def _look_up(self, keys: Collection[Key]) -> _Keys:
        # The hash of a key goes over all names of the taxon, so that it is asked for as rarely as possible.
        order: dict[Key, int] = {}
        places = [order.setdefault(key, len(order)) for key in keys]
        distinct = list(order)
        with self._lock:
            numbers = [self._numbers.by_key.get(key, _NO_NUMBER) for key in distinct]
        return _Keys(places, distinct, numbers)

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
        new = Numbers()
        new.by_key = {key: number for number, key in found.items()}
        self.remember(new)
        return known | found


def _stored(connection: Connection, keys: Sequence[Key]) -> dict[Key, int]:
    """Return the numbers of different taxa that are not cached, in their order, new ones inserted."""
    hashed = [_hash(key) for key in keys]
    # Keys that differ only in characters that cannot be stored (a NUL) share a hash and a number.
    hashes = dict(zip(hashed, keys, strict=True))

    def stored() -> dict[str, int]:
        query = f"SELECT key, id FROM {schema.taxa.name} WHERE key {{keys}}"
        return dict(execute(connection, query, keys_parameter(connection, list(hashes))).all())

    found, _ = find_or_insert(
        connection,
        schema.taxa,
        ("key", "rank", *NAMES),
        # Sorted, so that two writers who insert the same taxa never wait for each other in a circle.
        sorted(hashes),
        stored,
        lambda name: (name, hashes[name][1], *_texts(hashes[name][0])),
        lambda _, number: number,
    )
    return {key: found[name] for key, name in zip(keys, hashed, strict=True)}


def _texts(taxon: Taxon) -> tuple[str, ...]:
    return (*taxon.lineage, taxon.common_name, taxon.source_id)


def _hash(key: Key) -> str:
    # The separator is a control character that no name holds.
    names = clean_text("\x1f".join((str(key[1]), *_texts(key[0]))))
    return hashlib.sha256(names.encode("utf-8")).hexdigest()[:32]
