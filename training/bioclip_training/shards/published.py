"""Published shards as a collection: TreeOfLife's, img2dataset's and others, with an index that is made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.findings import Findings
from bioclip_core.identity import file_sha256
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.progress import Progress
from bioclip_training.published.collections import first_holders, holders_in, root_of
from bioclip_training.published.opening import ImageOpener
from bioclip_training.shards.published_indexing import current_index, index_table
from bioclip_training.shards.reading import ShardCatalog


class PublishedCatalog(ShardCatalog):
    """The index of published shards. Nothing recorded their bytes, so images are read unverified."""

    made_again = "fetch the shards again"

    def __init__(self, file: Path, table: Any, folder: Path, notes: Sequence[str]) -> None:
        super().__init__(file, table, folder)
        self.all_taxa = tuple(taxon for taxon in self.taxa if taxon.rank is not None)
        self.notes = tuple(notes)
        self._opener = ImageOpener(folder)

    @cached_property
    def identity(self) -> str:
        """Sha256 of the index."""
        return file_sha256(self.file)

    @cached_property
    def block_of_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Number of the run of neighbouring samples of each row: a tar, or a row group of a Parquet file."""
        block_N = self.table.column("block").to_numpy()
        changes_N = (np.diff(self.shard_of_N, prepend=-1) != 0) | (np.diff(block_N, prepend=-1) != 0)
        return np.cumsum(changes_N)

    @cached_property
    def has_taxon_N(self) -> NDArray[np.bool_]:  # noqa: N802
        """True for rows with a name at any rank."""
        named_T = np.array([taxon.rank is not None for taxon in self.taxa], dtype=bool)
        return named_T[self.taxon_of_N] if len(named_T) else np.zeros(len(self), dtype=bool)

    def encoded(self, row: int) -> EncodedRegion:
        if self.shard_names[int(self.shard_of_N[row])].lower().endswith(".parquet"):
            return EncodedRegion(self._opener.read(self._columns["uri"][row].as_py()))
        return super().encoded(row)


def is_published(address: Path) -> bool:
    """True if a folder, or a folder in it, holds tars, Parquet files with images, or img2dataset's files; or for one such file.

    Raises:
        SourceError: for a table with addresses of images.
    """
    return bool(first_holders(address) if address.is_dir() else holders_in(address, Findings()))


def open_published(address: Path, progress: Progress | None = None) -> PublishedCatalog:
    """Open published shards by their index, which is made first if it is missing or a file has changed since.

    The index is kept in ``bioclip_index`` beside the shards, or in the user's cache if the folder cannot be written. A call
    that is interrupted is continued by the next one; programs that need the same index wait for each other.

    Args:
        address: folder of the shards, with folders below it; or a single file of samples.
        progress: called with the number of files that are read, and their total.

    Raises:
        SourceError: if it holds no samples.
    """
    file, notes = current_index(address, progress)
    return PublishedCatalog(file, index_table(file), root_of(address), notes)
