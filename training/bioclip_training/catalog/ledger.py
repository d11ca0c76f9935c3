"""Memory of every row while a catalog is built: about 150 bytes each, so a few million rows take under a gigabyte."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from bioclip_core import lineages
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, Look
from bioclip_training.catalog.rows import CatalogRow

_BOX_UNIT = 10_000
_KEY = np.dtype([("sha256", "V32"), ("frame", "<i4"), ("box", "<u2", (4,))])


class Ledger:
    """Numbers of every row: its taxon, group, split, contents and looks."""

    def __init__(self) -> None:
        self.groups: dict[str, int] = {}
        """Names of groups with their numbers, in the order of these."""
        self.splits: dict[str, int] = {"": 0}
        """Words of splits with their numbers; the empty word, 0, is a row without a split of its own."""
        self.taxa: list[Taxon] = []
        self._taxon_numbers: dict[tuple[str, ...], int] = {}
        self._taxon, self._group, self._split = array("q"), array("q"), array("i")
        self._keys, self._hashes, self._colours, self._hashed = bytearray(), bytearray(), bytearray(), bytearray()

    def __len__(self) -> int:
        return len(self._taxon)

    def add(self, row: CatalogRow, look: Look) -> None:
        """Add one row."""
        number = self._taxon_numbers.setdefault(row.taxon.lineage, len(self.taxa))
        if number == len(self.taxa):
            self.taxa.append(row.taxon)
        self._taxon.append(number)
        self._group.append(self.groups.setdefault(row.group, len(self.groups)))
        self._split.append(self.splits.setdefault(row.split, len(self.splits)))
        corners = [min(65_535, max(0, round(value * _BOX_UNIT))) for value in row.box or (0.0, 0.0, 1.0, 1.0)]
        self._keys += np.array([(bytes.fromhex(row.sha256), row.frame, corners)], dtype=_KEY).tobytes()
        self._hashed.append(bool(look.hashed))
        self._hashes += look.hashed or bytes(HASH_BYTES)
        self._colours += look.colours or bytes(COLOUR_BYTES)

    @property
    def taxon_numbers(self) -> NDArray[np.int64]:
        """Places in ``taxa``."""
        return np.frombuffer(self._taxon, dtype=np.int64)

    @property
    def group_numbers(self) -> NDArray[np.int64]:
        return np.frombuffer(self._group, dtype=np.int64)

    @property
    def split_numbers(self) -> NDArray[np.int64]:
        return np.frombuffer(self._split, dtype=np.int32).astype(np.int64)

    def equal_numbers(self) -> NDArray[np.int64]:
        """Return a number for each distinct region of a distinct file."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        keys = np.frombuffer(self._keys, dtype=np.dtype((np.void, _KEY.itemsize)))
        return np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def looks(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the rows that have a perceptual hash, their hashes and their colours."""
        rows = np.flatnonzero(np.frombuffer(self._hashed, dtype=np.uint8))
        hashes = np.frombuffer(self._hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
        colours = np.frombuffer(self._colours, dtype=np.uint8).reshape(-1, COLOUR_BYTES)
        return rows, hashes[rows], colours[rows]


def compatible(one: Taxon, other: Taxon) -> bool:
    """Return True if two labels can both be true (a family and its species)."""
    return lineages.compatible(one.lineage, other.lineage)
