"""Parts: the records of one shard as a Parquet file, one row per item, in the order of the shard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError
from bioclip_core.files.documents import parse_document
from bioclip_core.files.whole import replacing_file
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.engines.documents import (
    boxes_from_text,
    item_from,
    item_line,
    parsed_line,
    region_from_text,
    region_value,
)
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.store.database.values import clean_text, to_json
from bioclip_plugin.store.records import ItemRecord, Listed, RegionRecord, Stat

if TYPE_CHECKING:
    import pyarrow as pa

_ABOUT, _TAXA = b"bioclip_part", b"bioclip_taxa"
_FORMAT = 1


@dataclass(frozen=True)
class About:
    """Facts about a part."""

    shard: str
    answer_id: str
    """Identity of its answers, which must be the run's."""
    items: int
    failed: int
    seconds: float
    worker: Mapping[str, Any]
    """Host, device and versions of the worker."""
    findings: list[list[Any]] = field(default_factory=list)
    """Text, count, first example."""
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class PartRow:
    """The record of one item, with the state of its file when the worker listed it."""

    record: ItemRecord
    """With the item as the worker's ``listed``, which the loader replaces."""
    stat: Stat | None


def write_part(path: Path, rows: Sequence[PartRow], about: About) -> None:
    """Write a part as a whole: to a draft beside it, flushed to the disk and renamed."""
    from pyarrow import parquet

    taxa: dict[Taxon, int] = {}
    table = _table([_values(row, taxa) for row in rows])
    words = [[*taxon.lineage, taxon.common_name, taxon.source_id] for taxon in taxa]
    table = table.replace_schema_metadata({_ABOUT: to_json(vars(about)), _TAXA: json.dumps(words)})
    path.parent.mkdir(exist_ok=True)
    # Of open files, since Arrow's own paths are UTF-8.
    with replacing_file(path) as draft, draft.open("wb") as file:
        parquet.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_about(path: Path) -> About:
    """Return the facts about a part, from the end of its file.

    Raises:
        DataError: if it is not a part.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            about: About = _about(parquet.read_schema(file).metadata)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"the part {path} cannot be read: {error}") from None
    return about


def read_part(path: Path) -> tuple[About, list[PartRow]]:
    """Return the records of a part.

    Raises:
        DataError: if it is damaged, or not a part.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            table = parquet.read_table(file, page_checksum_verification=True)
        about = _about(table.schema.metadata)
        taxa = [
            Taxon(*words)
            for words in parse_document(table.schema.metadata[_TAXA], list[list[str]], name="taxa", error=ValueError)
        ]
        rows = [_row(values, taxa) for values in table.to_pylist()]
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError) as error:
        raise DataError(f"the part {path} cannot be read: {error}") from None
    if len(rows) != about.items:
        raise DataError(f"the part {path} has {len(rows)} items and states {about.items}")
    return about, rows


def _about(metadata: Mapping[bytes, bytes] | None) -> About:
    if not metadata or _ABOUT not in metadata:
        raise DataError("a Parquet file without the facts of a part")
    try:
        about = parse_document(metadata[_ABOUT], About, name="facts of the part", error=ValueError)
    except ValueError as error:
        raise DataError(f"a part of another version: {error}") from None
    if about.format != _FORMAT:
        raise DataError(f"a part of format {about.format}; this version has {_FORMAT}")
    return about


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    text, number, texts = pa.string(), pa.int64(), pa.list_(pa.string())
    region = pa.struct(
        [
            ("region", text),
            ("features", pa.binary()),
            ("flags", texts),
            ("is_answered", pa.bool_()),
            ("levels", texts),
            ("ranks", texts),
            ("taxa", pa.list_(pa.int32())),
            ("probabilities", pa.list_(pa.float64())),
            ("consensus_taxon", pa.int32()),
            ("consensus_rank", text),
            ("consensus_probability", pa.float64()),
        ]
    )
    schema = pa.schema(
        [
            ("uri", text),
            ("frame", number),
            ("item", text),
            ("sha256", text),
            ("content_size", number),
            ("size", number),
            ("mtime_ns", number),
            ("was_read", pa.bool_()),
            ("failure_stage", text),
            ("failure_reason", text),
            ("found", text),
            ("by_detector", pa.bool_()),
            ("regions", pa.list_(region)),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _values(row: PartRow, taxa: dict[Taxon, int]) -> dict[str, Any]:
    record, failure = row.record, row.record.failure
    size, mtime_ns = row.stat or (None, None)
    return {
        "uri": record.item.uri,
        "frame": record.item.frame,
        "item": item_line(record.item),
        "sha256": record.content_sha256,
        "content_size": record.content_size,
        "size": size,
        "mtime_ns": mtime_ns,
        "was_read": record.stat is not None,
        "failure_stage": failure.stage if failure else None,
        "failure_reason": clean_text(failure.reason) if failure else None,
        "found": None if record.found is None else json.dumps(record.found),
        "by_detector": record.by_detector,
        "regions": [_region_values(region, taxa) for region in record.regions],
    }


def _region_values(region: RegionRecord, taxa: dict[Taxon, int]) -> dict[str, Any]:
    listed = [(level, one) for level, found in (region.by_rank or {}).items() for one in found]
    best = region.consensus
    return {
        "region": None if region.region is None else json.dumps(region_value(region.region)),
        "features": None if region.features is None else region.features.astype("<f2").tobytes(),
        "flags": list(region.flags),
        "is_answered": region.by_rank is not None,
        "levels": [level for level, _ in listed],
        "ranks": [one.rank for _, one in listed],
        "taxa": [taxa.setdefault(one.taxon, len(taxa)) for _, one in listed],
        "probabilities": [float(one.probability) for _, one in listed],
        "consensus_taxon": None if best is None else taxa.setdefault(best.taxon, len(taxa)),
        "consensus_rank": None if best is None else best.rank,
        "consensus_probability": None if best is None else float(best.probability),
    }


def _row(values: Mapping[str, Any], taxa: Sequence[Taxon]) -> PartRow:
    item = item_from(parsed_line(values["item"]))
    stat = None if values["mtime_ns"] is None else (values["size"], values["mtime_ns"])
    failed = values["failure_stage"] is not None
    found = values["found"]
    record = ItemRecord(
        Listed(item, 0, 0, False, values["sha256"]),
        item,
        stat if values["was_read"] else None,
        values["sha256"],
        values["content_size"],
        tuple(_region(region, taxa) for region in values["regions"] or ()),
        failure=Failure(values["failure_stage"], values["failure_reason"] or "") if failed else None,
        found=None if found is None else boxes_from_text(found),
        by_detector=bool(values["by_detector"]),
    )
    return PartRow(record, stat)


def _region(values: Mapping[str, Any], taxa: Sequence[Taxon]) -> RegionRecord:
    by_rank: dict[str, tuple[Candidate, ...]] = {}
    candidates = zip(values["levels"], values["taxa"], values["ranks"], values["probabilities"], strict=True)
    for level, taxon, rank, probability in candidates:
        by_rank[level] = (*by_rank.get(level, ()), Candidate(taxa[taxon], rank, probability))
    features, best = values["features"], values["consensus_taxon"]
    return RegionRecord(
        None if values["region"] is None else region_from_text(values["region"]),
        None if features is None else np.frombuffer(features, "<f2").astype(np.float16),
        by_rank if values["is_answered"] else None,
        tuple(values["flags"]),
        None if best is None else Candidate(taxa[best], values["consensus_rank"], values["consensus_probability"]),
    )
