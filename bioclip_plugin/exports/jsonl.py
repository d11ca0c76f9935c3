"""JSON lines: the same objects as ``classify --json`` prints, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_plugin.answers import Answer, RegionAnswer
from bioclip_plugin.exports.table import asked_level
from bioclip_plugin.validation.problems import Problem

if TYPE_CHECKING:
    from bioclip_plugin.exports.options import ExportOptions
    from bioclip_plugin.exports.selection import Export
    from bioclip_plugin.store import StoredItem


class JsonLinesExporter:
    """One object a region, one for an item that failed, and ``{"uri", "status"}`` for what has neither."""

    name = "jsonl"
    description = "one JSON object a region or failure, as classify --json prints them"

    folder = False

    def write(self, path: Path, export: Export) -> int:
        level = asked_level(export.run)
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for item in export.items():
                for row in _objects(item, level):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
        return count

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.readline(65_536)
        return start.startswith(b"{") and b'"uri"' in start

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    known = isinstance(json.loads(line), dict)
                except ValueError as error:
                    yield Problem(path.name, f"line {number}", f"it is no JSON: {error}")
                    continue
                if not known:
                    yield Problem(path.name, f"line {number}", "a line must be one JSON object", line[:80])


def _objects(stored: StoredItem, level: str) -> list[dict[str, Any]]:
    regions = tuple(
        RegionAnswer(region.region, tuple(region.by_rank.get(level, ())), region.consensus, region.flags)
        for region in stored.regions
    )
    objects = Answer(stored.item, regions, stored.failure).as_dicts()
    return objects or [{"uri": stored.item.uri, "status": stored.status}]
