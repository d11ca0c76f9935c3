"""The one door to a collection: a catalog, shards that were written here, or published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioclip_core.progress import Progress
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.manifest import MANIFEST_FILE, UNFINISHED_FOLDER
from bioclip_training.shards.published import is_published, open_published
from bioclip_training.shards.reading import ShardCatalog, open_index


def open_collection(
    address: str | Path,
    *,
    dev_fraction: float = DEV_FRACTION,
    replace_prefix: Sequence[str] = (),
    progress: Progress | None = None,
) -> Catalog:
    """Open a catalog (``.parquet``), or a folder of shards as one.

    Args:
        address: the file or the folder.
        dev_fraction: share of the groups of ``train`` that is ``dev``.
        replace_prefix: OLD=NEW beginnings of the names of a catalog's images, as ``--replace-prefix`` takes them.
        progress: called while the index of published shards is made.

    Raises:
        SourceError: if the address holds nothing readable.
    """
    path = Path(address)
    if not path.is_dir():
        return Catalog.open(path, dev_fraction=dev_fraction, replace_prefix=replace_prefix)
    catalog: ShardCatalog = open_published(path, progress) if holds_published(path) else open_index(path)
    catalog.dev_fraction = dev_fraction
    return catalog


def holds_published(folder: Path) -> bool:
    """True if a folder holds shards that another program wrote."""
    ours = (folder / MANIFEST_FILE).is_file() or (folder / UNFINISHED_FOLDER).is_dir()
    return not ours and is_published(folder)
