"""JSON lines: the same objects as ``classify --json`` prints, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_plugin.answers import Answer, RegionAnswer
from bioclip_plugin.exports.table import asked_level

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, StoredItem


class JsonLinesExporter:
    """One object a region, one for an item that failed, and ``{"uri", "status"}`` for what has neither."""

    name = "jsonl"
    description = "one JSON object a region or failure, as classify --json prints them"

    def write(self, path: Path, run: Run, items: Iterator[StoredItem]) -> int:
        level = asked_level(run)
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for item in items:
                for row in _objects(item, level):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
        return count


def _objects(stored: StoredItem, level: str) -> list[dict[str, Any]]:
    regions = tuple(
        RegionAnswer(region.region, tuple(region.by_rank.get(level, ())), region.consensus, region.flags)
        for region in stored.regions
    )
    objects = Answer(stored.item, regions, stored.failure).as_dicts()
    return objects or [{"uri": stored.item.uri, "status": stored.status}]
