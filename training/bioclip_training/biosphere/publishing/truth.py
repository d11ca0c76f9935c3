"""The truth about every record: its species, its dirt, its duplicates and its leaks, as Parquet."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa
from pyarrow import parquet

from bioclip_training.biosphere.publishing.dirt import LEAVES, Dirt
from bioclip_training.biosphere.publishing.formats.target import Target
from bioclip_training.biosphere.publishing.plan import Plan, Record

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
_LISTS = pa.list_(pa.string())
RECORDS = pa.schema(
    [
        *[
            (name, pa.string())
            for name in ("source", "uri", "identifier", *_RANKS, "species", "scientific_name", "common_name")
        ],
        ("kinds", _LISTS),
        ("recoverable", pa.bool_()),  # the species can be told by design
        ("leaves", pa.string()),  # the most specific rank that can be told
        ("state", pa.string()),  # of the file: whole, short, empty, html, missing or unlisted
        ("picture", pa.int64()),  # number of the picture; equal ones are equal images
        ("original", pa.int64()),  # number of the picture that it was made of, or its own
        ("sha256", pa.string()),
        ("written", pa.string()),  # the name as the source writes it
    ]
)
"""One row per record of a source; ``source`` is the name of its folder."""
DUPLICATES = pa.schema(
    [
        ("original", pa.int64()),
        ("sha256", pa.string()),
        ("source", pa.string()),
        ("uri", pa.string()),
        ("kind", pa.string()),
    ]
)
"""One row per record of each cluster of two records or more; ``kind`` is empty for the first one."""
LEAKS = pa.schema([(name, pa.string()) for name in ("source", "uri", "evaluation_set", "kind", "item")])
"""One row per planted leak."""


def write(target: Target, dirt: Dirt) -> None:
    """Write ``records.parquet``, ``duplicates.parquet`` and ``leaks.parquet``."""
    plan = target.plan
    records = [_row(plan, dirt, record) for record in plan.records]
    _write(target, "records.parquet", RECORDS, records)
    _write(target, "duplicates.parquet", DUPLICATES, _clusters(plan))
    _write(target, "leaks.parquet", LEAKS, _leaks(plan))


def kinds_of(record: Record) -> list[str]:
    """Return all dirt of a record: of its image, its row and the name that it shares with its unit."""
    return [*record.kinds, *(record.unit.statement.kinds if record.unit is not None else ())]


def _write(target: Target, name: str, schema: pa.Schema, rows: Iterable[Mapping[str, object]]) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    target.write(name, buffer.getvalue())


def _row(plan: Plan, dirt: Dirt, record: Record) -> dict[str, object]:
    kinds = kinds_of(record)
    leaves = max((dirt.kinds[kind].leaves for kind in kinds), key=LEAVES.index, default="species")
    species = plan.tree.species[record.species] if record.species >= 0 else None
    return {
        "source": record.layout, "uri": record.uri, "identifier": record.identifier,
        **dict(zip(_RANKS, species.higher if species else [""] * 6, strict=True)),
        "species": species.epithet if species else "", "scientific_name": species.binomial if species else "",
        "common_name": species.english if species else "", "kinds": kinds,
        "recoverable": all(dirt.kinds[kind].is_recoverable for kind in kinds), "leaves": leaves,
        "state": record.state, "picture": record.picture, "original": plan.original(record), "sha256": record.sha256,
        "written": record.unit.statement.name if record.unit is not None else "",
    }  # fmt: skip


def _clusters(plan: Plan) -> Iterable[dict[str, object]]:
    clusters: dict[int, list[Record]] = defaultdict(list)
    for record in plan.records:
        if record.state == "whole" and "placeholder_image" not in record.kinds:
            clusters[plan.original(record)].append(record)
    for original, records in sorted(clusters.items()):
        if len(records) < 2:
            continue
        for record in records:
            kind = next(
                (one for one in record.kinds if one.startswith(("copy_", "near_", "conflicting_", "leak_"))), ""
            )
            yield {
                "original": original,
                "sha256": record.sha256,
                "source": record.layout,
                "uri": record.uri,
                "kind": kind,
            }


def _leaks(plan: Plan) -> Iterable[dict[str, object]]:
    items = {(item.evaluation_set, item.number): item.identifier for item in plan.items}
    for record in plan.records:
        for leak in record.leaks:
            yield {
                "source": record.layout, "uri": record.uri, "evaluation_set": leak.evaluation_set, "kind": leak.kind,
                "item": items.get((leak.evaluation_set, leak.item), ""),
            }  # fmt: skip
