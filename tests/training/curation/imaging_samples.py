"""Records, labels and images for the tests of the imaging stages, handed to them by stages that only write what they are given."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from bioclip_training.curation.columns import LABELS, RANK_COLUMNS, RECORDS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.running import run_stages
from bioclip_training.curation.sorted_runs import Runs, bucket_name, write_runs
from bioclip_training.curation.stages import Stage, StageWork


def key_of(source: str, record_id: str) -> str:
    """Return the key of a record."""
    return hashlib.md5(f"{source}\0{record_id}".encode()).hexdigest()


def record(source: str, record_id: str, uri: str = "", **cells: Any) -> dict[str, Any]:
    """Return a record with its key; ``box`` is x, y, width, height."""
    row: dict[str, Any] = {entry.name: "" if entry.type == pa.string() else None for entry in RECORDS}
    if box := cells.pop("box", None):
        cells |= dict(zip(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), box, strict=True))
    return row | {
        "key": key_of(source, record_id), "source": source, "record_id": record_id, "uri": uri, **cells,
    }  # fmt: skip


def label(row: Mapping[str, Any], name: str = "", **cells: Any) -> dict[str, Any]:
    """Return the label of a record: a binomial, or the name of a genus."""
    genus, _, epithet = name.partition(" ")
    texts: dict[str, Any] = {entry.name: "" for entry in LABELS if entry.type == pa.string()}
    named = {"genus": genus, "species": epithet, "scientific_name": name, "kingdom": "Animalia" if name else ""}
    rank = "species" if epithet else "genus" if genus else ""
    return texts | {"key": row["key"], "changes": [], "rank": rank, **named, **cells}


@dataclass(frozen=True)
class Given:
    """A stage that writes the rows that it was given."""

    name: str
    schema: pa.Schema
    rows: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    version: int = 1
    needs: tuple[str, ...] = ()

    def settings(self, config: Curation) -> dict[str, Any]:
        shown = [{name: str(value) for name, value in row.items()} for row in self.rows]
        return {"rows": sorted(shown, key=lambda row: row["key"])}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {}

    def check(self, config: Curation) -> None:
        return

    def run(self, work: StageWork) -> None:
        runs = work.temporary / "runs"
        runs.mkdir()
        list(
            write_runs(
                pa.Table.from_pylist([dict(row) for row in self.rows], self.schema).to_batches(), runs, self.schema
            )
        )
        with Runs([runs], self.schema) as sorted_rows:
            for bucket in range(sorted_rows.buckets):
                if not work.is_finished(bucket_name(bucket)):
                    with work.part(bucket_name(bucket), self.schema) as part:
                        part.write(sorted_rows.bucket(bucket))


def given_records(*rows: Mapping[str, Any]) -> Given:
    """Return a stage ``records``."""
    return Given("records", RECORDS, rows)


def given_labels(*rows: Mapping[str, Any]) -> Given:
    """Return a stage ``names``."""
    return Given("names", LABELS, rows, needs=("records",))


def result(config: Curation, stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
    """Run the stages, and return the rows of the last one by key."""
    run_stages(config, stages)
    return rows_of(config.output / stages[-1].name)


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a stage by key."""
    return {row["key"]: row for row in parquet.read_table(sorted(folder.glob("part-*.parquet"))).to_pylist()}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(file: Path, data: bytes) -> Path:
    """Write a file and its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


assert len(RANK_COLUMNS) == 7
