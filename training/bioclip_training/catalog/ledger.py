"""What is kept in memory of every row while a catalog is built: about 150 bytes, so a few million rows are under a gigabyte."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, Look
from bioclip_training.catalog.rows import Box

_BOX_UNIT = 10_000
_KEY = np.dtype([("sha256", "V32"), ("frame", "<i4"), ("box", "<u2", (4,))])


class Interned:
    """Texts (or other keys) by number, each kept once."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: str) -> int:
        known = self._numbers.setdefault(value, len(self.values))
        if known == len(self.values):
            self.values.append(value)
        return known


class Ledger:
    """Numbers of every row: its taxon, group, split, contents and looks."""

    def __init__(self) -> None:
        self.groups = Interned()
        self.splits = Interned()
        self.splits.number("")
        self.taxa: list[Taxon] = []
        self._taxon_numbers: dict[tuple[str, ...], int] = {}
        self._taxon, self._group, self._split = array("q"), array("q"), array("i")
        self._keys, self._hashes, self._colours, self._hashed = bytearray(), bytearray(), bytearray(), bytearray()

    def __len__(self) -> int:
        return len(self._taxon)

    def add(self, taxon: Taxon, group: str, split: str, sha256: str, frame: int, box: Box | None, look: Look) -> None:
        """One more row. ``split`` is empty where the source gave none."""
        number = self._taxon_numbers.setdefault(taxon.lineage, len(self.taxa))
        if number == len(self.taxa):
            self.taxa.append(taxon)
        self._taxon.append(number)
        self._group.append(self.groups.number(group))
        self._split.append(self.splits.number(split))
        whole = (
            [0, 0, _BOX_UNIT, _BOX_UNIT] if box is None else [min(65_535, max(0, round(v * _BOX_UNIT))) for v in box]
        )
        self._keys += np.array([(bytes.fromhex(sha256), frame, whole)], dtype=_KEY).tobytes()
        self._hashed.append(bool(look.hashed))
        self._hashes += look.hashed or bytes(HASH_BYTES)
        self._colours += look.colours or bytes(COLOUR_BYTES)

    @property
    def taxon_numbers(self) -> NDArray[np.int64]:
        """Places in ``taxa``."""
        return np.frombuffer(self._taxon, dtype=np.int64)

    @property
    def group_numbers(self) -> NDArray[np.int64]:
        """Places in ``groups``."""
        return np.frombuffer(self._group, dtype=np.int64)

    @property
    def split_numbers(self) -> NDArray[np.int64]:
        """Places in ``splits``; 0 where none was given."""
        return np.frombuffer(self._split, dtype=np.int32).astype(np.int64)

    def equal_numbers(self) -> NDArray[np.int64]:
        """A number for each distinct region of a distinct file."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        keys = np.frombuffer(self._keys, dtype=np.dtype((np.void, _KEY.itemsize)))
        return np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def looks(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Hashes and colours of some rows."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
        colours = np.frombuffer(self._colours, dtype=np.uint8).reshape(-1, COLOUR_BYTES)
        return hashes[rows], colours[rows]

    def hashed_rows(self) -> NDArray[np.int64]:
        """The rows that have a perceptual hash."""
        return np.flatnonzero(np.frombuffer(self._hashed, dtype=np.uint8))


def compatible(one: Taxon, other: Taxon) -> bool:
    """Whether two labels can both be true: equal, or equal as far as both say something (a family and its species)."""
    pairs: Sequence[tuple[str, str]] = list(zip(one.lineage, other.lineage, strict=True))
    return all(a == b or not a or not b for a, b in pairs)
