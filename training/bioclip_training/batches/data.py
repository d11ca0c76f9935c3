"""Labelled images: the same access to the files of a catalog and to shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.nouns import number_of
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.caption_drawing import PUBLISHED, CaptionSource
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Block, Catalog
from bioclip_training.shards.catalog_images import CatalogImages
from bioclip_training.shards.collection import WITHOUT_TAXA, open_collection
from bioclip_training.shards.published import PublishedCatalog
from bioclip_training.shards.published_captions import PublishedCaptions, caption_numbers, has_own_text
from bioclip_training.shards.reading import ShardCatalog, ShardImages


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
    texts: PublishedCaptions | None
    """Captions as published; None if captions are made from the taxa."""

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


class PublishedImages(ShardImages):
    """A part of published shards whose images have a taxon."""

    def __init__(self, catalog: PublishedCatalog, rows: NDArray[np.int64], source: CaptionSource) -> None:
        super().__init__(catalog, rows)
        self._published, self._source = catalog, source
        if source == PUBLISHED:
            self.texts = PublishedCaptions(catalog.table, rows)

    def of_rows(self, rows: NDArray[np.int64]) -> PublishedImages:
        return PublishedImages(self._published, rows, self._source)

    def look_first(self) -> list[str]:
        return [*super().look_first(), self._captions_said()]

    def _captions_said(self) -> str:
        name = self._published.name
        if self.texts is None:
            return f"{name}: captions are made from the names; --caption-source {PUBLISHED} takes those in the shards"
        return (
            f"{name}: captions are those in the shards; {self.texts.count()} of {number_of(len(self), 'image')} have one, the others' "
            "are made from the names"
        )


class CaptionedImages(PublishedImages):
    """Images with texts of their own and without a taxon, to be replayed: each distinct text is what a taxon is elsewhere."""

    def __init__(self, catalog: PublishedCatalog, rows: NDArray[np.int64]) -> None:
        super().__init__(catalog, rows, PUBLISHED)
        self.taxa = ()
        self.taxon_of_N = caption_numbers(catalog.table, rows)

    def of_rows(self, rows: NDArray[np.int64]) -> CaptionedImages:
        return CaptionedImages(self._published, rows)

    def _captions_said(self) -> str:
        return f"{self._published.name}: {number_of(len(self), 'image')} without a taxon, replayed by the captions in the shards"


def open_images(
    address: str | Path,
    part: str,
    *,
    dev_fraction: float = DEV_FRACTION,
    replace_prefix: Sequence[str] = (),
    captions: CaptionSource = "taxonomy",
    is_replay: bool = False,
    progress: Progress | None = None,
) -> LabelledImages:
    """Open one part of a catalog (``.parquet``) or of a folder of shards.

    Args:
        address: the file or the folder.
        part: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``, as in :meth:`Catalog.rows_of`.
        dev_fraction: share of the groups of ``train`` that is ``dev``.
        replace_prefix: OLD=NEW beginnings of the names of a catalog's images, as ``--replace-prefix`` takes them.
        captions: source of the captions of published shards.
        is_replay: take images without a taxon by their own captions, if no image has a taxon.
        progress: called while the index of published shards is made.

    Raises:
        SourceError: if the address holds nothing readable, or the part is empty.
        UsageError: if captions as published are wanted of a collection that has none.
    """
    catalog = open_collection(address, dev_fraction=dev_fraction, replace_prefix=replace_prefix, progress=progress)
    rows = catalog.rows_of(part)
    if not len(rows):
        what = "the shards" if catalog.holds_images else "the catalog"
        raise SourceError(_empty_part(catalog, part, f"{what} {catalog.name}"))
    if isinstance(catalog, PublishedCatalog):
        return _published_images(catalog, rows, part, captions, is_replay=is_replay)
    if captions == PUBLISHED and not is_replay:
        raise UsageError(
            f"caption-source {PUBLISHED}: {catalog.name} has no captions of its own, only names; leave it out, or give published shards"
        )
    return ShardImages(catalog, rows) if isinstance(catalog, ShardCatalog) else CatalogImages(catalog, rows)


def _published_images(
    catalog: PublishedCatalog, rows: NDArray[np.int64], part: str, captions: CaptionSource, *, is_replay: bool
) -> LabelledImages:
    labelled = rows[catalog.has_taxon_N[rows]]
    if len(labelled):
        images = PublishedImages(catalog, labelled, captions)
        if images.texts is not None and not images.texts.count() and not is_replay:
            raise UsageError(
                f"caption-source {PUBLISHED}: no image of {catalog.name} has a caption in the shards; leave it out"
            )
        return images
    if not is_replay:
        raise SourceError(f"no image of {catalog.name} in its part {part!r} {WITHOUT_TAXA}")
    whole = catalog.rows_of(part, dev_fraction=0.0)  # without taxa there is nothing to measure
    captioned = whole[has_own_text(catalog.table)[whole]]
    if not len(captioned):
        raise SourceError(f"no image of {catalog.name} has a taxon or a caption, so that nothing can be learnt from it")
    return CaptionedImages(catalog, captioned)


def _empty_part(catalog: Catalog, part: str, what: str) -> str:
    """Return the message for an empty part, with the parts that there are."""
    if not len(catalog):
        return f"{what} is empty: it is without rows"
    return f"{what} has nothing in its part {part!r}: there are {catalog.parts()}, and all {len(catalog)}"
