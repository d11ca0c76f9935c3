"""The one door to a collection: a catalog, shards that were written here, or published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.progress import Progress
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Catalog, is_catalog
from bioclip_training.shards.manifest import MANIFEST_FILE, UNFINISHED_FOLDER
from bioclip_training.shards.published import is_published, open_published
from bioclip_training.shards.reading import ShardCatalog, open_index

WITHOUT_TAXA = (
    "has a taxon: its shards state neither names nor ranks, so that they can only be replayed by their captions (train --replay), not "
    "trained, measured or compared by taxa"
)
"""End of a message about published shards of images with captions."""


def open_collection(
    address: str | Path,
    *,
    dev_fraction: float = DEV_FRACTION,
    replace_prefix: Sequence[str] = (),
    progress: Progress | None = None,
    by_taxa: bool = False,
) -> Catalog:
    """Open a catalog (``.parquet``), or as one: a folder of shards, a tar, a Parquet file with images, a table with captions.

    Args:
        address: the file or the folder.
        dev_fraction: share of the groups of ``train`` that is ``dev``.
        replace_prefix: OLD=NEW beginnings of the names of a catalog's images, as ``--replace-prefix`` takes them.
        progress: called while the index of published shards is made.
        by_taxa: True if nothing can be done with images without a taxon.

    Raises:
        SourceError: if the address holds nothing readable; with ``by_taxa``, if no image has a taxon.
    """
    path = Path(address)
    published = holds_published(path)
    if not path.is_dir() and not published:
        return Catalog.open(path, dev_fraction=dev_fraction, replace_prefix=replace_prefix)
    catalog: ShardCatalog = open_published(path, progress) if published else open_index(path)
    catalog.dev_fraction = dev_fraction
    if by_taxa and not any(taxon.rank for taxon in catalog.taxa):
        raise SourceError(f"no image of {catalog.name} {WITHOUT_TAXA}")
    return catalog


def holds_published(address: Path) -> bool:
    """True if a folder holds shards that another program wrote, or a file is one of them.

    Raises:
        SourceError: for a table with addresses of images.
    """
    if address.is_dir():
        ours = (address / MANIFEST_FILE).is_file() or (address / UNFINISHED_FOLDER).is_dir()
        return not ours and is_published(address)
    return not is_catalog(address) and is_published(address)
