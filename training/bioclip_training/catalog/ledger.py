"""Memory of every row while a catalog is built: about 150 bytes each, so a few million rows take under a gigabyte."""

from __future__ import annotations

import hashlib
from array import array
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core import lineages
from bioclip_core.images.boxes import Box
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, Look
from bioclip_training.catalog.rows import CatalogRow

_BOX_UNIT = 10_000
_WHOLE = (0, 0, _BOX_UNIT, _BOX_UNIT)
_KEY = np.dtype([("sha256", "V32"), ("frame", "<i4"), ("box", "<u2", (4,))])
_EVIDENCE = np.dtype(
    [("standing", "u1"), ("first", "<i8"), ("last", "<i8"), ("by", "<u4"), ("verdict", "<u4"), ("missing", "u1")]
)
_pack_key, _pack_evidence = Struct("<32si4H").pack, Struct("<BqqIIB").pack  # the same, many times as quick for one row


class Ledger:
    """Numbers of every row: its taxon, group, split, contents, looks, source and evidence."""

    def __init__(self) -> None:
        self.groups: dict[str, int] = {}
        """Names of groups with their numbers, in the order of these."""
        self.splits: dict[str, int] = {"": 0}
        """Words of splits with their numbers; the empty word, 0, is a row without a split of its own."""
        self.sources: dict[str, int] = {}
        """Names of sources with their numbers."""
        self.taxa: list[Taxon] = []
        self._taxon_numbers: dict[tuple[str, ...], int] = {}
        self._people: dict[str, int] = {"": 0}
        self._verdicts: dict[str, int] = {"": 0}
        self._taxon, self._group, self._split, self._source = array("i"), array("i"), array("i"), array("i")
        self._occurrence = array("q")
        self._keys, self._hashes, self._colours, self._hashed = bytearray(), bytearray(), bytearray(), bytearray()
        self._evidence = bytearray()

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
        self._source.append(self.sources.setdefault(row.source, len(self.sources)))
        self._occurrence.append(_occurrence_number(row.occurrence))
        corners = [min(65_535, max(0, round(value * _BOX_UNIT))) for value in row.box or (0.0, 0.0, 1.0, 1.0)]
        self._keys += _pack_key(bytes.fromhex(row.sha256), row.frame, *corners)
        said = row.evidence
        by = self._people.setdefault(said.by, len(self._people))
        verdict = self._verdicts.setdefault(said.verdict, len(self._verdicts))
        self._evidence += _pack_evidence(said.standing, said.first, said.last, by, verdict, row.is_missing)
        self._hashed.append(bool(look.hashed))
        self._hashes += look.hashed or bytes(HASH_BYTES)
        self._colours += look.colours or bytes(COLOUR_BYTES)

    @property
    def taxon_numbers(self) -> NDArray[np.int64]:
        """Places in ``taxa``."""
        return np.frombuffer(self._taxon, dtype=np.int32).astype(np.int64)

    @property
    def group_numbers(self) -> NDArray[np.int64]:
        return np.frombuffer(self._group, dtype=np.int32).astype(np.int64)

    @property
    def split_numbers(self) -> NDArray[np.int64]:
        return np.frombuffer(self._split, dtype=np.int32).astype(np.int64)

    @property
    def source_numbers(self) -> NDArray[np.int64]:
        """Places of each row's source in the alphabetical order of the names, whatever the order in which they were given."""
        place = np.empty(len(self.sources), dtype=np.int64)
        place[[self.sources[name] for name in sorted(self.sources)]] = np.arange(len(self.sources))
        return np.asarray(place[np.frombuffer(self._source, dtype=np.int32)])

    @property
    def occurrence_numbers(self) -> NDArray[np.int64]:
        """Hash of each row's occurrence: 0 without one, and negative for one that is a plain number."""
        return np.frombuffer(self._occurrence, dtype=np.int64)

    @property
    def said(self) -> NDArray[Any]:
        """Standing, first and last moment, person, verdict and lack of a file of each row, as numbers."""
        return np.frombuffer(self._evidence, dtype=_EVIDENCE)

    @property
    def people(self) -> list[str]:
        """Names of the persons by their numbers."""
        return list(self._people)

    @property
    def verdicts(self) -> list[str]:
        """Words of the verdicts by their numbers; 0 is a taxon."""
        return list(self._verdicts)

    def boxes(self, rows: NDArray[np.int64]) -> list[Box | None]:
        """Return the boxes of some rows, in steps of 1/10,000 of the image; None is the whole image."""
        corners = map(tuple, np.frombuffer(self._keys, dtype=_KEY)["box"][rows].tolist())
        return [None if box == _WHOLE else tuple(value / _BOX_UNIT for value in box) for box in corners]

    def equal_numbers(self) -> NDArray[np.int64]:
        """Return a number for each distinct region of a distinct file."""
        return self._numbers(_KEY.itemsize)

    def image_numbers(self) -> NDArray[np.int64]:
        """Return a number for each distinct frame of a distinct file."""
        return self._numbers(_KEY.itemsize - 8)

    def _numbers(self, size: int) -> NDArray[np.int64]:
        """Return a number for each distinct beginning of the rows' keys."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        keys = np.frombuffer(self._keys, dtype=np.uint8).reshape(-1, _KEY.itemsize)[:, :size]
        distinct = np.ascontiguousarray(keys).view(np.dtype((np.void, size))).reshape(-1)
        return np.unique(distinct, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def looks(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the rows that have a perceptual hash, their hashes and their colours."""
        rows = np.flatnonzero(np.frombuffer(self._hashed, dtype=np.uint8))
        hashes = np.frombuffer(self._hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
        colours = np.frombuffer(self._colours, dtype=np.uint8).reshape(-1, COLOUR_BYTES)
        return rows, hashes[rows], colours[rows]


def _occurrence_number(occurrence: str) -> int:
    """Return a hash of 62 bits, negative for a plain number, which several collections may use."""
    if not occurrence:
        return 0
    digest = hashlib.blake2b(occurrence.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    number = int.from_bytes(digest, "big") >> 2 | 1
    return -number if occurrence.isdecimal() else number


def compatible(one: Taxon, other: Taxon) -> bool:
    """Return True if two labels can both be true (a family and its species)."""
    return lineages.compatible(one.lineage, other.lineage)
