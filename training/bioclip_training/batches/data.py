"""Labelled images, one access whether they lie in a catalog's files or in shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bioclip_core.errors import SourceError
from bioclip_core.images.decoding import read_bytes
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.regions import EncodedRegion
from bioclip_training.catalog.rows import DEV_FRACTION, Block, Catalog

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


class LabelledImages(Protocol):
    """One part (``train``, ``dev``, ``val``…) of a collection: N labelled regions, numbered from 0 in the order of the data."""

    taxon_of_N: NDArray[np.int64]
    """For each sample of this part the place of its taxon in ``taxa``."""

    @property
    def identity(self) -> str:
        """Sha256 of what describes the whole collection."""

    @property
    def taxa(self) -> tuple[Taxon, ...]:
        """The distinct lineages of the whole collection, all splits, sorted."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Runs of samples that lie together on disk, in order and without a gap: one for a catalog, one a shard."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """The sample's name: its uri, with frame and box where it has them; the same from a catalog and from its shards."""

    def group(self, index: int) -> str:
        """Occurrence, specimen, camera or track; ``row N`` where the source names none."""

    def encoded(self, index: int) -> EncodedRegion:
        """The bytes of the file.

        Raises:
            ImageError: if they cannot be read.
        """

    def open(self, index: int) -> Image.Image:
        """The region upright as RGB, reduced where its longest side is over the limit it was opened with.

        Raises:
            ImageError: if it cannot be read or decoded.
        """


class CatalogImages:
    """A part of a catalog, read from the files that it lists."""

    def __init__(self, catalog: Catalog, rows: NDArray[np.int64], longest: int) -> None:
        self.catalog = catalog
        self.rows = rows
        self.taxa = catalog.taxa
        self.taxon_of_N: NDArray[np.int64] = catalog.taxon_of_N[rows]
        self.blocks: tuple[Block, ...] = ((0, len(rows)),)
        self._longest = longest

    @property
    def identity(self) -> str:
        return self.catalog.identity

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        return self.catalog.key(int(self.rows[index]))

    def group(self, index: int) -> str:
        return self.catalog.group(int(self.rows[index]))

    def encoded(self, index: int) -> EncodedRegion:
        row = int(self.rows[index])
        return EncodedRegion(read_bytes(self.catalog.path(row)), self.catalog.box(row), self.catalog.frame(row))

    def open(self, index: int) -> Image.Image:
        return self.encoded(index).image(longest=self._longest)


def open_images(
    address: str | Path, part: str, *, dev_fraction: float = DEV_FRACTION, longest: int = 2048
) -> LabelledImages:
    """One part of a catalog (``.parquet``) or of a folder of shards.

    Args:
        part: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``, as in :meth:`Catalog.rows_of`.
        dev_fraction: share of the groups of ``train`` that is ``dev``.
        longest: in pixels; :meth:`LabelledImages.open` gives larger regions reduced to it.

    Raises:
        SourceError: if there is nothing at the address that can be read, or nothing in the part.
    """
    from bioclip_training.shards.reading import ShardImages, open_index

    path = Path(address)
    if path.is_dir():
        index = open_index(path)
        rows = index.catalog.rows_of(part, dev_fraction=dev_fraction)
        check_part(index.catalog, rows, part, f"the shards {path}")
        return ShardImages(index, rows, longest)
    catalog = Catalog.open(path)
    rows = catalog.rows_of(part, dev_fraction=dev_fraction)
    check_part(catalog, rows, part, f"the catalog {path}")
    return CatalogImages(catalog, rows, longest)


def check_part(catalog: Catalog, rows: Sequence[int] | NDArray[np.int64], part: str, what: str) -> None:
    """Refuse an empty part.

    Raises:
        SourceError: saying which parts there are.
    """
    if len(rows):
        return
    counts = Counter(word or "(no split)" for word in catalog.column("split"))
    if not counts:
        raise SourceError(f"{what} is empty: it has no rows at all")
    parts = [f"{word} ({count})" for word, count in sorted(counts.items())]
    if "train" in counts and "dev" not in counts:
        parts.append("dev (cut out of train by the hash of the group)")
    raise SourceError(
        f"{what} has nothing in its part {part!r}: there are {', '.join(parts)}, and all ({len(catalog)})"
    )
