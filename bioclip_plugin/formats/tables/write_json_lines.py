"""JSON lines: one object per region or failure, as ``classify --json`` prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError
from bioclip_core.files.documents import MAX_DOCUMENT_BYTES, parse_document
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.newest_reviews import newest_of
from bioclip_plugin.formats.tables.keys import kept_columns, value_of
from bioclip_plugin.formats.tables.write import beginning
from bioclip_plugin.items.answers import Answer, RegionAnswer
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion, asked_level


class JsonLinesExporter:
    """One object per region, one for an item that failed, and ``{"uri", "frame", "status"}`` for an item with neither.

    A region that a rule changed, or that belongs to an event, has ``decision`` (verdict, event, trail); its newest review is
    in ``review`` (verdict, taxon, reviewer, reviewed_at, comment, details). Kept columns are in ``source``.
    """

    name = "jsonl"
    description = "one JSON object per region or failure, as classify --json prints them"
    folder = False
    options = frozenset({"top", "keep_columns"})

    def write(self, path: Path, export: Export) -> int:
        level = asked_level(export.run)
        kept = kept_columns(export, has_keys=False) if export.options.keep_columns else ()
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for stored, reviews in export.reviewed_items((level,)):
                source = {name: value for name in kept if (value := value_of(stored.item, name)) is not None}
                for row in objects_of(stored, reviews, level, export.options.top):
                    if source:
                        row["source"] = source
                    file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                    count += 1
        return count

    def recognises(self, path: Path) -> bool:
        start = beginning(path, 65_536).split(b"\n")[0]
        return start.startswith(b"{") and b'"uri"' in start

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        with path.open("rb") as file:
            for number, line in enumerate(iter(partial(file.readline, MAX_DOCUMENT_BYTES + 1), b""), start=1):
                try:
                    parse_document(line, dict[str, Any], name="the line")
                except DataError as error:
                    yield Problem(path.name, f"line {number}", str(error))


def objects_of(stored: StoredItem, reviews: Sequence[Review], level: str, top: int) -> list[dict[str, Any]]:
    """Return the objects of one item, with its ``top`` candidates at the level that the run was asked for."""
    regions = tuple(
        RegionAnswer(region.region, tuple(region.by_rank.get(level, ()))[:top], region.consensus, region.flags)
        for region in stored.regions
    )
    objects = Answer(stored.item, regions, stored.failure).as_dicts()
    if not objects or stored.failure is not None:
        objects = objects or [{"uri": stored.item.uri, "frame": stored.item.frame, "status": stored.status}]
        return [{**one, **_review(newest_of(reviews, None))} for one in objects]
    return [
        {**one, **_decision(region), **_review(newest_of(reviews, region.region))}
        for one, region in zip(objects, stored.regions, strict=True)
    ]


def _decision(region: StoredRegion) -> dict[str, Any]:
    decision = region.decision
    if decision is None or not (decision.trail or decision.event or decision.verdict not in ("taxon", "unknown")):
        return {}
    return {
        "decision": {"verdict": decision.verdict, "event": decision.event, "trail": list(map(dict, decision.trail))}
    }


def _review(review: Review | None) -> dict[str, Any]:
    if review is None:
        return {}
    taxon = review.taxon
    named = {"scientific_name": taxon.scientific_name or taxon.common_name, **taxon.as_dict()} if taxon else None
    return {
        "review": {
            "verdict": review.verdict, "taxon": named, "reviewer": review.reviewer,
            "reviewed_at": review.reviewed_at.isoformat(), "comment": review.comment, "details": dict(review.details),
        }
    }  # fmt: skip
