"""A part of a catalog: its images by their place among those of the part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioclip_core.images.regions import EncodedRegion
from bioclip_training.catalog.first_look import look_first
from bioclip_training.catalog.rows import Block, Catalog
from bioclip_training.shards.published_captions import PublishedCaptions


class CatalogImages:
    """A part of a catalog, read from the files that it lists."""

    def __init__(self, catalog: Catalog, rows: NDArray[np.int64]) -> None:
        self.catalog, self.rows = catalog, rows
        self.taxa = catalog.taxa
        self.numbers_T: NDArray[np.int64] | None = None
        self.taxon_of_N: NDArray[np.int64] = catalog.taxon_of_N[rows]
        self.texts: PublishedCaptions | None = None
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
