"""CSV and Parquet: one row a region, and one for every item that has none, so that no listed file is missing."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.taxonomy import RANKS
from bioclip_plugin.validation.problems import Problem

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.exports.options import ExportOptions
    from bioclip_plugin.exports.selection import Export
    from bioclip_plugin.media import MediaItem
    from bioclip_plugin.store import Run, StoredItem, StoredRegion

Row = dict[str, Any]

_NUMBERS = {
    "frame": "int32",
    **dict.fromkeys(
        ("region_x", "region_y", "region_w", "region_h", "latitude", "longitude", "probability", "consensus_probability"),
        "float64",
    ),
}  # fmt: skip
_MEDIA = (
    "uri", "frame", "region_x", "region_y", "region_w", "region_h", "captured_at", "latitude", "longitude", "country",
    "deployment", "sequence", "status",
)  # fmt: skip
_BEST = ("scientific_name", "rank", "probability", *(rank.value for rank in RANKS), "common_name")
_CONSENSUS = ("consensus_scientific_name", "consensus_rank", "consensus_probability")
COLUMNS = (*_MEDIA, *_BEST, *_CONSENSUS, "other_candidates", "flags", "failure_stage", "failure_reason")
"""In the order in which they are written; species is the epithet alone, the whole name is scientific_name."""

NO_REGIONS = "no_regions"
"""The flag of an item that was done and had nothing to answer: a detector found nothing in it."""

_ROWS_A_GROUP = 20_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class CsvExporter:
    """As RFC 4180 has it, UTF-8; probabilities with six significant digits, coordinates with seven decimals."""

    name = "csv"
    description = "a table for spreadsheets, one row a region or failure"

    folder = False

    def write(self, path: Path, export: Export) -> int:
        count = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for row in table_rows(export.run, export.items()):
                table.writerow([_csv_cell(name, row.get(name)) for name in COLUMNS])
                count += 1
        return count

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.readline(4096).strip() == ",".join(COLUMNS).encode()

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002
        with path.open(encoding="utf-8", newline="") as file:
            for row in (table := csv.reader(file)):
                if len(row) != len(COLUMNS):
                    yield Problem(
                        path.name, f"line {table.line_num}", f"{len(row)} cells, and there are {len(COLUMNS)} columns"
                    )


class ParquetExporter:
    """The same table with typed columns; what is not known is null."""

    name = "parquet"
    description = "the same table for programs, with types, compressed"

    folder = False

    def write(self, path: Path, export: Export) -> int:
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([(name, pa.type_for_alias(_NUMBERS.get(name, "string"))) for name in COLUMNS])
        rows = table_rows(export.run, export.items())
        count = 0
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            while group := list(islice(rows, _ROWS_A_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema))
                count += len(group)
        return count

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002
        import pyarrow as pa
        from pyarrow import parquet

        try:
            missing = [name for name in COLUMNS if name not in parquet.ParquetFile(path).schema_arrow.names]
        except (OSError, pa.ArrowException) as error:
            yield Problem(path.name, "", f"it cannot be read as Parquet: {error}")
            return
        if missing:
            yield Problem(path.name, "", f"columns are missing: {', '.join(missing)}")


def asked_level(run: Run) -> str:
    """The level whose candidates the run gives: the rank that was asked for, ``label`` for custom labels."""
    rank = str(run.answer_settings.get("rank", "species"))
    return "label" if rank == "species" and run.answer_settings.get("words") else rank


def table_rows(run: Run, items: Iterator[StoredItem]) -> Iterator[Row]:
    """The rows of a run as names and values; what is not known has no value."""
    level = asked_level(run)
    for stored in items:
        about = _media_values(stored.item, stored.status)
        if stored.failure is not None:
            yield {**about, "failure_stage": stored.failure.stage, "failure_reason": stored.failure.reason}
        elif not stored.regions:
            yield {**about, "flags": NO_REGIONS} if stored.status == "done" else about
        for region in stored.regions if stored.failure is None else ():
            yield {**about, **_region_values(region, level)}


def _media_values(item: MediaItem, status: str) -> Row:
    return {
        "uri": item.uri,
        "frame": item.frame,
        "captured_at": item.captured_at.isoformat() if item.captured_at else None,
        "latitude": item.place.latitude,
        "longitude": item.place.longitude,
        "country": item.place.country,
        "deployment": item.deployment,
        "sequence": item.sequence,
        "status": status,
    }


def _region_values(stored: StoredRegion, level: str) -> Row:
    candidates = stored.by_rank.get(level, ())
    values: Row = {"flags": " ".join(stored.flags) or None}
    if stored.region is not None:
        box = zip(("region_x", "region_y", "region_w", "region_h"), stored.region.xywh, strict=True)
        values.update(box)
    if candidates:
        values.update({name: value for name, value in candidates[0].as_dict().items() if value != ""})
    if stored.consensus is not None:
        named = (stored.consensus.name, stored.consensus.rank, stored.consensus.probability)
        values.update(zip(_CONSENSUS, named, strict=True))
    values["other_candidates"] = "; ".join(_named(candidate) for candidate in candidates[1:]) or None
    return values


def _named(candidate: Candidate) -> str:
    return f"{candidate.name} ({candidate.probability:.3f})"


def _csv_cell(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return spreadsheet_safe(value)
    if isinstance(
        value, float
    ):  # float32 carries no more of a probability; seven decimals of a degree are a centimetre
        return f"{value:.6g}" if name.endswith("probability") else round(value, 7)
    return value


def spreadsheet_safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it.

    >>> spreadsheet_safe("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
