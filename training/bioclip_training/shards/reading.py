"""Reading of a folder of shards: single samples by their place, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.identity import file_sha256
from bioclip_core.images.decoding import read_bytes
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.recorded import is_hash, verified
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.catalog_images import CatalogImages
from bioclip_training.shards.manifest import INDEX_FILE, MANIFEST_FILE, MEMBER_HASH, Manifest


class ShardCatalog(Catalog):
    """The index of a folder of shards as a catalog: the same rows, in the order of the shards, with images from the tars."""

    holds_images = True
    made_again = "write the shards again with shards write --force"

    def __init__(self, file: Path, table: Any, folder: Path, all_taxa: Sequence[Taxon] | None = None) -> None:
        """Open an index that was read.

        Args:
            file: the index.
            table: its rows: the columns of a catalog, and the place of each image.
            folder: of the shards.
            all_taxa: taxa that the collection has beside those of the rows; None for none.
        """
        super().__init__(file, table)
        self.folder = folder
        self.all_taxa = tuple(all_taxa) if all_taxa is not None else self.taxa
        """Taxa of the whole collection, also of splits that have no shards."""

    @property
    def name(self) -> str:
        return str(self.folder)

    @cached_property
    def identity(self) -> str:
        """Sha256 of the manifest."""
        return file_sha256(self.folder / MANIFEST_FILE)

    @cached_property
    def shard_names(self) -> list[str]:
        return self._shards[1]

    @property
    def shard_of_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Place in ``shard_names`` of each row's tar."""
        return self._shards[0]

    @property
    def block_of_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Number of the run of neighbouring samples of each row."""
        return self.shard_of_N

    @cached_property
    def _shards(self) -> tuple[NDArray[np.int64], list[str]]:
        codes = self.table.column("shard").combine_chunks().dictionary_encode()
        return codes.indices.to_numpy(zero_copy_only=False).astype(np.int64), codes.dictionary.to_pylist()

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.table.column("offset").to_numpy(), self.table.column("bytes").to_numpy()

    @cached_property
    def _hashes(self) -> Any:
        """Recorded sha256 of each row's bytes in the tar; None for an index without them."""
        return self.table.column(MEMBER_HASH).combine_chunks() if MEMBER_HASH in self.table.column_names else None

    def path(self, row: int) -> Path:
        """Return the tar that holds the row's image."""
        return self.folder / self.shard_names[int(self.shard_of_N[row])]

    def encoded(self, row: int) -> EncodedRegion:
        """Return the row's image as the tar has it: a region that was cut out is the whole image there.

        Raises:
            ImageError: if it cannot be read, or is not the recorded one.
        """
        offsets_N, bytes_N = self._places
        try:
            data = read_bytes(self.path(row), (int(offsets_N[row]), int(bytes_N[row])))
        except ImageError as error:
            raise ImageError(f"shard {self.path(row).name}: {error}", stage="read") from error
        recorded = None if self._hashes is None else self._hashes[row].as_py()
        return EncodedRegion(verified(data, recorded, since="when the shard was written"))

    def unverified(self, rows: NDArray[np.int64]) -> int:
        if self._hashes is None:
            return len(rows)
        codes = self._hashes.dictionary_encode()
        is_recorded = np.array([is_hash(text) for text in codes.dictionary.to_pylist()], dtype=bool)
        code_N = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)[rows]
        return int((~np.append(is_recorded, False)[code_N]).sum())


def open_index(folder: Path) -> ShardCatalog:
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
    catalog = ShardCatalog(file, Catalog.open(file).table, folder, manifest.taxa)
    catalog.leakage = manifest.settings.get("leakage", {})
    known = {taxon.lineage for taxon in manifest.taxa}
    if unknown := [taxon for taxon in catalog.taxa if taxon.lineage not in known]:
        raise SourceError(
            f"{folder / MANIFEST_FILE} is damaged: it lacks the taxon {unknown[0].scientific_name!r}, which {INDEX_FILE} has; "
            "shards write --force writes all shards anew"
        )
    return catalog


class ShardImages(CatalogImages):
    """A part of a folder of shards, read from local tars by offset and size."""

    def __init__(self, catalog: ShardCatalog, rows: NDArray[np.int64]) -> None:
        super().__init__(catalog, rows)
        self._shards = catalog
        self.taxa = catalog.all_taxa
        place = {taxon.lineage: number for number, taxon in enumerate(self.taxa)}
        own = np.array([place.get(taxon.lineage, -1) for taxon in catalog.taxa], dtype=np.int64)
        self.taxon_of_N = own[self.taxon_of_N]
        stops = [*(np.flatnonzero(np.diff(catalog.block_of_N[rows])) + 1).tolist(), len(rows)]
        self.blocks = tuple(zip([0, *stops[:-1]], stops, strict=True))

    def of_rows(self, rows: NDArray[np.int64]) -> ShardImages:
        return ShardImages(self._shards, rows)
