"""Stage ``catalog``: a row per record with TreeOfLife's columns and what the stages found, sorted by key, in parts of a fixed size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from bioclip_core.files.whole import write_whole
from bioclip_training.catalog.ahead import in_order
from bioclip_training.curation.columns import KEY, RANK_COLUMNS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.excluding import LeaksInOrder, aligned, filter_columns
from bioclip_training.curation.manifests import records_in
from bioclip_training.curation.stages import Stage, StageWork
from bioclip_training.curation.tallies import added

CATALOG_FILE = "catalog.json"
"""Beside the folder of the catalog. It does not say where sources are: the same collections elsewhere give the same bytes."""
FORMAT, VERSION = "bioclip-curated-catalog", 1
PART_ROWS = 100_000

TREE_OF_LIFE = (
    "treeoflife_id", "eol_content_id", "eol_page_id", "bioscan_part", "bioscan_filename", "inat21_filename", "inat21_cls_name",
    "inat21_cls_num",
)  # fmt: skip
"""Columns of TreeOfLife's catalogs that are copied from the records."""
_FROM_RECORDS = (
    "source", "layout", "record_id", "uri", "url", "verbatim_name", "source_taxon_id", "caption", "basis_of_record", "life_stage", "sex",
    "licence", "rights_holder", "event_id", "observation_id", "recorded_by", "country", "locality", "event_date", "published_split",
    "published_original_sha256", "published_original_md5",
    "latitude", "longitude", "bboxX", "bboxY", "bboxWidth", "bboxHeight",
)  # fmt: skip
_FROM_STAGES: Mapping[str, tuple[str, ...]] = {
    "names": (
        *RANK_COLUMNS,
        "common_name",
        "common_name_language",
        "scientific_name",
        "rank",
        "taxon_id",
        "outcome",
        "changes",
    ),
    "images": ("sha256", "md5", "hash_mismatch", "phash", "width", "height", "bytes"),
    "kinds": ("image_kind", "kind_reason"),
    "duplicates": ("exact_group", "near_group", "duplicate_of", "duplicate_kind"),
    "splits": ("group", "split", "excluded"),
}
LEAKS = "leaks"
_NUMBERS = {name: pa.float64() for name in ("latitude", "longitude", "bboxX", "bboxY", "bboxWidth", "bboxHeight")} | {
    "width": pa.int32(), "height": pa.int32(), "bytes": pa.int64(), "phash": pa.binary(), "changes": pa.list_(pa.string()),
}  # fmt: skip


def schema_of(filters: list[str]) -> pa.Schema:
    """Return the columns of a catalog: TreeOfLife's first, then ours, with a score per filter.

    Args:
        filters: names of the filters.
    """
    names = (
        "split", *TREE_OF_LIFE, *RANK_COLUMNS, "common", KEY, *_FROM_RECORDS,
        *(name for columns in _FROM_STAGES.values() for name in columns if name not in (*RANK_COLUMNS, "common_name", "split")),
    )  # fmt: skip
    columns = [(name, _NUMBERS.get(name, pa.string())) for name in names]
    scores = [(f"filter_{name}", pa.float64()) for name in filters]
    return pa.schema([*columns, *scores, (LEAKS, pa.list_(pa.string()))])


@dataclass(frozen=True)
class CatalogStage(Stage):
    """Write the catalog."""

    name: str = "catalog"
    version: int = 3
    needs: tuple[str, ...] = ("records", "names", "images", "kinds", "filters", "duplicates", "leakage", "splits")

    def settings(self, config: Curation) -> dict[str, Any]:
        return {"seed": config.seed}

    def inputs(self, config: Curation) -> Mapping[str, Path]:  # noqa: ARG002
        return {}

    def run(self, work: StageWork) -> None:
        schema = schema_of(filter_columns(work))
        parts = enumerate(_cut(_rows(work, schema)))
        for _ in in_order(partial(_write, work, schema), parts, 1, 1, name="bioclip-catalog"):
            pass
        write_whole(work.folder.parent / CATALOG_FILE, _described(work, schema))
        work.keep(f"../{CATALOG_FILE}")


def _write(work: StageWork, schema: pa.Schema, numbered: tuple[int, pa.Table]) -> None:
    name, rows = f"{numbered[0]:05d}", numbered[1]
    if work.is_finished(name):
        return
    with work.part(name, schema) as part:
        part.write(rows)
        for entry in rows.group_by(["source", "split"]).aggregate([([], "count_all")]).to_pylist():
            part.tally.count(f"{entry['source']}: {entry['split'] or 'in no split'}", entry["count_all"])


def _rows(work: StageWork, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of each bucket, in the order of keys."""
    filters = filter_columns(work)
    columns = {"records": (*TREE_OF_LIFE, *_FROM_RECORDS), **_FROM_STAGES, "filters": filters}
    parts, leaks = work.parts_of("records"), LeaksInOrder(work)
    for number, path in enumerate(parts):
        work.progress(number, len(parts))
        found = aligned(work, path, columns)
        keys = found[KEY]
        names = [{"common_name": "common"}.get(name, name) for name in found.column_names]
        found = found.rename_columns([f"filter_{name}" if name in filters else name for name in names])
        found = found.append_column(LEAKS, _leaks(leaks.until(keys[-1].as_py()) if len(keys) else [], keys))
        rows = found.num_rows
        yield pa.table([_column(found, entry, rows) for entry in schema], schema=schema)


def _column(table: pa.Table, field: pa.Field, rows: int) -> pa.ChunkedArray | pa.Array:
    if field.name in table.column_names:
        return table[field.name].cast(field.type)
    return pa.repeat("", rows) if field.type == pa.string() else pa.nulls(rows, field.type)


def _leaks(rows: list[dict[str, Any]], keys: pa.ChunkedArray) -> pa.Array:
    """Return the leaks of each record of a bucket as sentences, sorted."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[KEY], []).append(f"{row['evaluation_set']}: {row['kind']} of {row['evaluation_item']}")
    if not found:
        return pa.array([[]] * len(keys), pa.list_(pa.string()))
    return pa.array([sorted(found.get(key, ())) for key in keys.to_pylist()], pa.list_(pa.string()))


def _cut(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of several tables in parts of PART_ROWS rows; one without rows if there are none."""
    waiting: list[pa.Table] = []
    written = 0
    for table in tables:
        waiting.append(table)
        while sum(entry.num_rows for entry in waiting) >= PART_ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, PART_ROWS)
            written += 1
            waiting = [whole.slice(PART_ROWS)]
    rest = pa.concat_tables(waiting)
    if rest.num_rows or not written:
        yield rest


def _described(work: StageWork, schema: pa.Schema) -> str:
    """Return the document that describes the catalog."""
    parts = records_in(work.folder)
    counts = added(part.tallied for part in parts).counts
    splits: Counter[str] = Counter()
    for name, count in counts.items():
        splits[name.rpartition(": ")[2]] += count
    document = {
        "format": FORMAT,
        "version": VERSION,
        "rows": sum(part.rows for part in parts),
        "splits": dict(sorted(splits.items())),
        "sources": sorted(work.config.sources),
        "seed": work.config.seed,
        "columns": {field.name: str(field.type) for field in schema},
        "parts": [
            {"file": f"catalog/{part.file}", "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256}
            for part in parts
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
