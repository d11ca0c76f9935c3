"""Reading of a folder of shards: single samples by their place, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.identity import file_sha256
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.first_look import look_first_at_samples
from bioclip_training.catalog.recorded import is_hash, verified
from bioclip_training.catalog.rows import Block, Catalog
from bioclip_training.shards.manifest import INDEX_FILE, MANIFEST_FILE, MEMBER_HASH, Manifest


@dataclass(frozen=True)
class ShardIndex:
    """An opened folder of shards, of which no image is read yet."""

    folder: Path
    manifest: Manifest
    catalog: Catalog
    """The index as a catalog: the same rows, in the order of the shards."""


def open_index(folder: Path) -> ShardIndex:
    """Open a finished folder of shards.

    Raises:
        SourceError: if it is not a folder of shards, is not finished, or its index is damaged.
    """
    manifest = Manifest.read(folder)
    file = folder / INDEX_FILE
    if not file.is_file() or file_sha256(file) != manifest.index_sha256:
        raise SourceError(
            f"{file} is {'damaged' if file.is_file() else 'missing'}: see: {command('shards check', folder)}; "
            "shards write --force writes all shards anew"
        )
    index = ShardIndex(folder, manifest, Catalog.open(file))
    known = {taxon.lineage for taxon in manifest.taxa}
    if unknown := [taxon for taxon in index.catalog.taxa if taxon.lineage not in known]:
        raise SourceError(
            f"{folder / MANIFEST_FILE} is damaged: it lacks the taxon {unknown[0].scientific_name!r}, which {INDEX_FILE} has; "
            "shards write --force writes all shards anew"
        )
    return index


class ShardImages:
    """A part of a folder of shards, read from local tars by offset and size."""

    def __init__(self, index: ShardIndex, rows: NDArray[np.int64]) -> None:
        self.index = index
        self.catalog = index.catalog
        self.rows = rows
        self.taxa: tuple[Taxon, ...] = tuple(index.manifest.taxa)
        self.numbers_T: NDArray[np.int64] | None = None
        place = {taxon.lineage: number for number, taxon in enumerate(self.taxa)}
        own = np.array([place[taxon.lineage] for taxon in index.catalog.taxa], dtype=np.int64)
        self.taxon_of_N: NDArray[np.int64] = own[index.catalog.taxon_of_N[rows]]
        table = index.catalog.table
        codes = table.column("shard").combine_chunks().dictionary_encode()
        self._files: list[str] = codes.dictionary.to_pylist()
        self._shard_of = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)[rows]
        self._offsets = table.column("offset").to_numpy()[rows]
        self._bytes = table.column("bytes").to_numpy()[rows]
        self._hash_of = table.column(MEMBER_HASH).take(rows) if MEMBER_HASH in table.column_names else None
        stops = [*(np.flatnonzero(np.diff(self._shard_of)) + 1).tolist(), len(rows)]
        self.blocks: tuple[Block, ...] = tuple(zip([0, *stops[:-1]], stops, strict=True))

    def of_rows(self, rows: NDArray[np.int64]) -> ShardImages:
        return ShardImages(self.index, rows)

    @property
    def identity(self) -> str:
        return file_sha256(self.index.folder / MANIFEST_FILE)

    def __len__(self) -> int:
        return len(self.rows)

    def look_first(self) -> list[str]:
        hashes = None if self._hash_of is None else self._hash_of.to_pylist()
        unverified = len(self) if hashes is None else sum(not is_hash(recorded) for recorded in hashes)
        return look_first_at_samples(self.index.folder, len(self), self.encoded, self.key, unverified)

    def key(self, index: int) -> str:
        return self.index.catalog.key(int(self.rows[index]))

    def group(self, index: int) -> str:
        return self.index.catalog.group(int(self.rows[index]))

    def encoded(self, index: int) -> EncodedRegion:
        name, size = self._files[int(self._shard_of[index])], int(self._bytes[index])
        try:
            with (self.index.folder / name).open("rb") as shard:
                shard.seek(int(self._offsets[index]))
                data = shard.read(size)
        except OSError as error:
            raise ImageError(f"shard {name} cannot be read: {error.strerror or error}", stage="read") from error
        if len(data) < size:
            raise ImageError(f"shard {name} is truncated: it ends before this image does", stage="read")
        recorded = None if self._hash_of is None else self._hash_of[index].as_py()
        return EncodedRegion(verified(data, recorded, since="when the shard was written"))
