"""Labelled images: the same access to the files of a catalog and to shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.first_look import look_first
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Block, Catalog
from bioclip_training.shards.reading import ShardCatalog, ShardImages, open_collection


class LabelledImages(Protocol):
    """One part (``train``, ``dev``, ``val``…) of a collection: N labelled regions, numbered from 0 in the order of the data."""

    taxon_of_N: NDArray[np.int64]
    """For each sample of this part, the number of its taxon in ``taxa``."""
    taxa: tuple[Taxon, ...]
    """The distinct lineages of the whole collection, all splits, sorted."""
    rows: NDArray[np.int64]
    """The rows of this part in ``catalog``."""
    numbers_T: NDArray[np.int64] | None
    """For each lineage that the collection writes, its place in ``taxa``; None while they are the same."""
    catalog: Catalog
    """The whole collection, with its other parts."""

    def of_rows(self, rows: NDArray[np.int64]) -> LabelledImages:
        """Return another part of the collection, ascending rows of ``catalog``, with the lineages as the collection writes them."""

    @property
    def identity(self) -> str:
        """SHA-256 of the description of the whole collection."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Runs of samples that lie together on disk, in order and without a gap: one for a catalog, one per shard."""

    def __len__(self) -> int: ...

    def look_first(self) -> list[str]:
        """Read a few images before the work begins; return what is to be said of them.

        Raises:
            SourceError: if none can be used, or most are not the recorded ones.
        """

    def key(self, index: int) -> str:
        """Return the sample's name: its URI, with frame and box if it has them; equal in a catalog and its shards."""

    def group(self, index: int) -> str:
        """Return the occurrence, specimen, camera or track; ``row N`` if the source names none."""

    def encoded(self, index: int) -> EncodedRegion:
        """Return the bytes of the file.

        Raises:
            ImageError: if they cannot be read, or are not the recorded ones.
        """


class CatalogImages:
    """A part of a catalog, read from the files that it lists."""

    def __init__(self, catalog: Catalog, rows: NDArray[np.int64]) -> None:
        self.catalog, self.rows = catalog, rows
        self.taxa = catalog.taxa
        self.numbers_T: NDArray[np.int64] | None = None
        self.taxon_of_N: NDArray[np.int64] = catalog.taxon_of_N[rows]
        self.blocks: tuple[Block, ...] = ((0, len(rows)),)

    def of_rows(self, rows: NDArray[np.int64]) -> CatalogImages:
        return CatalogImages(self.catalog, rows)

    @property
    def identity(self) -> str:
        return self.catalog.identity

    def __len__(self) -> int:
        return len(self.rows)

    def look_first(self) -> list[str]:
        return look_first(self.catalog, self.rows)

    def key(self, index: int) -> str:
        return self.catalog.key(int(self.rows[index]))

    def group(self, index: int) -> str:
        return self.catalog.group(int(self.rows[index]))

    def encoded(self, index: int) -> EncodedRegion:
        return self.catalog.encoded(int(self.rows[index]))


def open_images(
    address: str | Path, part: str, *, dev_fraction: float = DEV_FRACTION, replace_prefix: Sequence[str] = ()
) -> LabelledImages:
    """Open one part of a catalog (``.parquet``) or of a folder of shards.

    Args:
        address: the file or the folder.
        part: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``, as in :meth:`Catalog.rows_of`.
        dev_fraction: share of the groups of ``train`` that is ``dev``.
        replace_prefix: OLD=NEW beginnings of the names of a catalog's images, as ``--replace-prefix`` takes them.

    Raises:
        SourceError: if the address holds nothing readable, or the part is empty.
    """
    catalog = open_collection(address, dev_fraction=dev_fraction, replace_prefix=replace_prefix)
    rows = catalog.rows_of(part)
    if not len(rows):
        what = "the shards" if catalog.holds_images else "the catalog"
        raise SourceError(_empty_part(catalog, part, f"{what} {catalog.name}"))
    return ShardImages(catalog, rows) if isinstance(catalog, ShardCatalog) else CatalogImages(catalog, rows)


def _empty_part(catalog: Catalog, part: str, what: str) -> str:
    """Return the message for an empty part, with the parts that there are."""
    if not len(catalog):
        return f"{what} is empty: it is without rows"
    return f"{what} has nothing in its part {part!r}: there are {catalog.parts()}, and all {len(catalog)}"
