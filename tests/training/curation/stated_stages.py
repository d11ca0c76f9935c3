"""Stages with results that a test states: rows by record id, in place of reading names and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from bioclip_training.curation.columns import DUPLICATES, IMAGES, LABELS, LEAKS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.stages import StageWork, name_of_part

SCHEMAS = {"names": LABELS, "images": IMAGES, "duplicates": DUPLICATES, "leakage": LEAKS}


@dataclass(frozen=True)
class Stated:
    """A stage whose rows are stated; columns that are not are empty."""

    name: str
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values by record id; those of keys that name a record are record ids."""
    schema: pa.Schema | None = None
    version: int = 1
    needs: tuple[str, ...] = ("records",)

    def settings(self, config: Curation) -> dict[str, Any]:
        return {"rows": {name: dict(row) for name, row in self.rows.items()}}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {}

    def check(self, config: Curation) -> None:
        return

    def run(self, work: StageWork) -> None:
        schema = self.schema or SCHEMAS[self.name]
        keys = {}
        for path in work.parts_of("records"):
            table = parquet.read_table(path, columns=["record_id", "key"])
            keys |= dict(zip(table["record_id"].to_pylist(), table["key"].to_pylist(), strict=True))
        for path in work.parts_of("records"):
            if work.is_finished(name_of_part(path)):
                continue
            found = []
            for record in parquet.read_table(path, columns=["record_id", "key"]).to_pylist():
                if self.name == "leakage" and record["record_id"] not in self.rows:
                    continue
                row = {**self.rows.get(record["record_id"], {}), "key": record["key"]}
                if self.name == "duplicates":
                    row = {"near_group": record["record_id"], "exact_group": record["record_id"], **row}
                    row |= {name: keys.get(row.get(name), "") for name in ("near_group", "exact_group", "duplicate_of")}
                found.append(
                    {entry.name: row.get(entry.name, "" if entry.type == pa.string() else None) for entry in schema}
                )
            with work.part(name_of_part(path), schema) as part:
                part.write(pa.Table.from_pylist(found, schema))
