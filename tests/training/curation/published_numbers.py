"""A published layout for tests: ``records.csv`` with any columns of a record, and images beside it if they are there."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bioclip_core.errors import SourceError
from bioclip_training.published.layout import LayoutOption, ReadOptions, Recognition
from bioclip_training.published.records import batches_of

_NUMBERS = ("latitude", "longitude", "bboxX", "bboxY", "bboxWidth", "bboxHeight")


class CsvLayout:
    """Records as they stand in a table. Rows without a uri are skipped."""

    name = "csv"
    title = "the layout of the tests"
    needs = "records.csv"
    options = (LayoutOption("nothing", "An option without effect.", words=("something",), place="file"),)

    def recognise(self, path: Path) -> Recognition | None:
        if not (path / "records.csv").is_file():
            return None
        return Recognition(layout=self.name, taken=(("records.csv", "the records"),), confidence="it has records.csv")

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        if not (path / "records.csv").read_text("utf-8").endswith("\n"):
            raise SourceError(f"{path / 'records.csv'} is cut short: its last line has no end; fetch it again")
        yield from batches_of(self._rows(path, options))

    def _rows(self, path: Path, options: ReadOptions) -> Iterator[Mapping[str, Any]]:
        with (path / "records.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                options.count("rows", 1)
                if not row["uri"]:
                    options.skip("rows without an image", row["record_id"])
                    continue
                yield {
                    name: (float(text) if text else None) if name in _NUMBERS else text for name, text in row.items()
                }


def write_source(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a source of this layout, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(["record_id", "uri", *(name for row in rows for name in row)]))
    with (folder / "records.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder
