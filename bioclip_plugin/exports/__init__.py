"""Formats that go out: what an exporter is, and the built-in ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, StoredItem


class Exporter(Protocol):
    """One format that ``export --format`` takes."""

    name: str
    """What ``--format`` is given."""
    description: str
    """One line for ``--help``."""

    def write(self, path: Path, run: Run, items: Iterator[StoredItem]) -> int:
        """Write every item of a run to a new file and return how many rows it has.

        The caller gives a path beside the wanted one and renames it when this returns, so a file is whole or not there.
        """
        ...


def built_in_exporters() -> list[Exporter]:
    """CSV, Parquet and JSON lines."""
    from bioclip_plugin.exports.jsonl import JsonLinesExporter
    from bioclip_plugin.exports.table import CsvExporter, ParquetExporter

    return [CsvExporter(), ParquetExporter(), JsonLinesExporter()]
