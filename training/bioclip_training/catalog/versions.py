"""Versions of the catalog's format: newer ones are refused in a line, older ones are read with empty columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_core.files.documents import parse_document
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import RANKS

FACTS = b"bioclip_catalog"
"""Key in the Parquet file's metadata under which ``catalog build`` stores its options and counts as JSON."""
CATALOG_VERSION = 2
"""1 has no version among its facts. 2 has one, one label per taxon, and the evidence of each label."""

_ESSENTIAL = frozenset(("uri", "split", *(rank.value for rank in RANKS)))


def check_version(table: Any, path: Path) -> int:
    """Return the version of the format of a catalog; 0 for a table that `catalog build` did not write.

    Raises:
        SourceError: if it is newer than ours, or its facts are damaged.
    """
    stored = (table.schema.metadata or {}).get(FACTS)
    if not stored:
        return 0
    facts = parse_document(stored, dict[str, Any], name=f"the metadata of the catalog {path}", error=SourceError)
    version = facts.get("format_version", 1)
    if not isinstance(version, int) or version > CATALOG_VERSION:
        raise SourceError(
            f"the catalog {path} has format version {version!r}, and this version of bioclip-plugin reads up to {CATALOG_VERSION}: update "
            f"bioclip-plugin, or build it again from its sources with: {command('catalog build', 'TABLE', output='FILE.parquet')}"
        )
    return version


def with_missing_columns(table: Any, missing: list[str], version: int) -> Any | None:
    """Return the table of an older catalog with empty columns for those that it did not have yet; None if one cannot be missing."""
    import pyarrow as pa

    if not version or not _ESSENTIAL.isdisjoint(missing):
        return None
    for name in missing:
        table = table.append_column(name, pa.nulls(table.num_rows))
    return table
