"""BIOSCAN-5M: one CSV file, and cropped images by split and chunk."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.formats.target import Target, rows_of
from bioclip_training.biosphere.publishing.plan import Record

_HEADER = (
    "processid", "sampleid", "phylum", "class", "order", "family", "subfamily", "genus", "species", "dna_bin", "dna_barcode", "country",
    "coord_lat", "coord_lon", "image_measurement_value", "split", "chunk",
)  # fmt: skip


def write(target: Target) -> None:
    """Write the metadata and ``images/cropped_256/train/CHUNK/PROCESSID.jpg``."""
    records = target.plan.of("bioscan-5m")
    for record in records:
        record.identifier = f"FICT{record.number:05d}-20"
        target.image(record, f"bioscan5m/images/cropped_256/train/{_chunk(record)}/{record.identifier}.jpg")
    rows = [_row(record) for record in rows_of(records)]
    target.table("bioscan5m/metadata/csv/BIOSCAN_5M_Insect_Dataset_metadata.csv", _HEADER, rows)


def _chunk(record: Record) -> str:
    return f"{'ABC'[record.number // 1000 % 3]}{record.number // 1000}"


def _row(record: Record) -> tuple[object, ...]:
    assert record.unit is not None
    said = record.unit.statement
    return (
        record.identifier, f"BIOUG{record.number:05d}", *said.ranks[1:5], "", said.ranks[5], said.binomial,
        f"BOLD:AAF{record.label:04d}", "ACTG", "Canada", round(43 + record.number % 50 / 10, 1), round(-80 + record.number % 40 / 10, 1),
        1.0, "train", _chunk(record),
    )  # fmt: skip
