"""Rows of a catalog in the order of its shards: by a hash of their names, which mixes taxa and groups in the same way everywhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.first_look import look_first
from bioclip_training.catalog.rows import Catalog

_BATCH = 65_536


@dataclass(frozen=True, slots=True)
class OrderedRows:
    """Some rows of a split that lie together in its order."""

    catalog: Catalog
    """A catalog that has them; it may have others."""
    names: Sequence[str]
    """Name of each sample: 20 hex digits, ascending."""
    rows: Sequence[int]
    """Row of each sample in ``catalog``."""
    start: int
    """Place of the first one in the order of the split."""


class ShardRows(Protocol):
    """A catalog as shards are written from it: split by split, in batches, so that it need not be in memory."""

    @property
    def identity(self) -> str:
        """Identity of the catalog."""

    @property
    def leakage(self) -> Mapping[str, Any]:
        """What is known of leaks into evaluation sets."""

    @property
    def taxa(self) -> tuple[Taxon, ...]:
        """Taxa of all splits, sorted."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of rows of each split."""

    @property
    def shown(self) -> tuple[str, str]:
        """The catalog, and its splits with their sizes, for messages."""

    def look_first(self, splits: Sequence[str]) -> list[str]:
        """Read a few images of some splits, as :func:`bioclip_training.catalog.first_look.look_first` does."""

    def ordered(self, split: str, start: int = 0) -> Iterator[OrderedRows]:
        """Yield the rows of a split in their order, from a place on."""


class CatalogRows:
    """The rows of a catalog that is in memory."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.identity, self.leakage = catalog.identity, catalog.leakage
        self.counts: Mapping[str, int] = Counter(catalog.column("split"))

    @property
    def taxa(self) -> tuple[Taxon, ...]:
        return self._catalog.taxa

    @property
    def shown(self) -> tuple[str, str]:
        return f"the catalog {self._catalog.file}", self._catalog.parts()

    def look_first(self, splits: Sequence[str]) -> list[str]:
        return look_first(self._catalog, np.flatnonzero(np.isin(self._catalog.column("split"), list(splits))))

    def ordered(self, split: str, start: int = 0) -> Iterator[OrderedRows]:
        named = self._named(split)
        for at in range(start, len(named), _BATCH):
            names, rows = zip(*named[at : at + _BATCH], strict=True)
            yield OrderedRows(self._catalog, names, rows, at)

    def _named(self, split: str) -> list[tuple[str, int]]:
        """Return names and rows of a split, sorted by name."""
        seen: Counter[str] = Counter()
        named = []
        for row, word in enumerate(self._catalog.column("split")):
            if word == split:
                key = self._catalog.key(row)
                named.append((sample_name(key, seen[key]), row))
                seen[key] += 1
        return sorted(named)


def sample_name(key: str, before: int = 0) -> str:
    """Return the name of a sample: 20 hex digits.

    Args:
        key: name of the labelled region (:meth:`Catalog.key`).
        before: number of rows before it in its split with the same key: one region may be listed twice.
    """
    return hashlib.sha256((f"{key} {before}" if before else key).encode()).hexdigest()[:20]
