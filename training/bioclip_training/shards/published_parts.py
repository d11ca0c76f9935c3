"""Rows of the index of published shards: one part per tar or Parquet file, read once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from bioclip_core.captions import Caption
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.naming.names import TEXT_COLUMNS
from bioclip_training.catalog.recorded import is_hash
from bioclip_training.published.collections import samples_in
from bioclip_training.published.held import HeldSample, Holder
from bioclip_training.published.splits import SPLIT_WORDS, split_of

VERSION = 2
STATE = b"bioclip_published_part"
"""Key in a part's metadata: what it was made of, and what was found, as JSON."""
CAPTION_COLUMNS: Mapping[Caption, str] = {
    kind: f"caption_{kind.value}" for kind in Caption if kind is not Caption.TEMPLATES
}
FREE_CAPTION = "caption"
TAXONOMIC, SCIENTIFIC, RANKED = "published_taxonomic", "published_scientific", "published_ranks"
"""Columns of the names as published, and True for rows whose ranks are stated."""
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_AT_ONCE = 4096
"""Samples that are objects in memory at a time."""
_LICENCES = ("licence", "license")


def part_of(folder: Path, holder: Holder, whole_name: str) -> Any:
    """Return the rows of one file or folder as a table, with its state and findings in the metadata.

    Args:
        folder: of the collection.
        holder: the file.
        whole_name: name of the collection's folder and of the file, which may state the split.

    Raises:
        SourceError: if the file cannot be read at all.
    """
    import pyarrow as pa

    findings, skipped = Findings(), Findings()
    stated = split_of(whole_name)
    samples = samples_in(folder, holder, findings, skipped)
    tables = [table_of([])]
    while rows := [_row(sample, stated) for sample in islice(samples, _AT_ONCE)]:
        tables.append(table_of(rows))
    about = {"version": VERSION, "state": list(holder.state), "findings": findings.found(), "skipped": skipped.found()}
    table = pa.concat_tables(tables).unify_dictionaries()
    return table.replace_schema_metadata({STATE: json.dumps(about).encode()})


def table_of(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a table of the index."""
    import pyarrow as pa

    words = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            *((name, pa.string()) for name in TEXT_COLUMNS),
            ("frame", pa.int32()),
            *((name, pa.float64()) for name in _BOX),
            ("changes", pa.list_(pa.string())),
            ("shard", pa.string()), ("member", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64()), ("block", pa.int32()),
            (TAXONOMIC, words), (SCIENTIFIC, words), (RANKED, pa.bool_()),
            *((name, words) for name in CAPTION_COLUMNS.values()),
            (FREE_CAPTION, pa.string()),
        ]
    )  # fmt: skip
    texts = {name for name in schema.names if schema.field(name).type in (pa.string(), words)}
    columns = [
        pa.array([row.get(name, "" if name in texts else None) for row in rows], schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _row(sample: HeldSample, stated: str) -> dict[str, Any]:
    about, cells = sample.about, sample.about.cells
    ranks = about.ranks or ("",) * len(RANKS)
    sha256 = str(cells.get("sha256", "")).lower()
    split = str(cells.get("split", "")).strip().lower()
    return {
        "uri": sample.uri,
        **{rank.value: ranks[rank.depth] for rank in RANKS},
        "common_name": about.common_name,
        "verbatim_name": about.scientific or about.taxonomic,
        "source_id": sample.key,
        "licence": next((str(cells[name]) for name in _LICENCES if cells.get(name)), ""),
        "group": _group(sample, cells),
        "split": SPLIT_WORDS.get(split, split) or stated,
        "sha256": sha256 if is_hash(sha256) else "",
        "frame": 0,
        "changes": [],
        "shard": sample.file, "member": sample.member, "offset": sample.offset, "bytes": sample.size, "block": sample.block,
        TAXONOMIC: about.taxonomic, SCIENTIFIC: about.scientific, RANKED: any(ranks) or not about.has_taxon,
        **{CAPTION_COLUMNS[kind]: text for kind, text in about.captions.items()},
        FREE_CAPTION: about.caption,
    }  # fmt: skip


def _group(sample: HeldSample, cells: Mapping[str, Any]) -> str:
    """Return what is never on both sides of a split: a stated group, the address, or a key that is unique everywhere."""
    if cells.get("group"):
        return str(cells["group"])
    key = PurePosixPath(sample.key).name
    if _UUID.fullmatch(key):
        return key
    return str(cells.get("url", ""))
