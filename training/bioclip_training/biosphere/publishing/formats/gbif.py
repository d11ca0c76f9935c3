"""GBIF downloads: a Darwin Core archive, the same as Parquet, and the images that multimedia rows name, by identifier."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from pyarrow import parquet

from bioclip_training.biosphere.publishing.formats.evaluation_ids import occurrence_id
from bioclip_training.biosphere.publishing.formats.target import Target, rows_of
from bioclip_training.biosphere.publishing.plan import HOLDOUT, Record, Unit
from bioclip_training.biosphere.publishing.statements import Statement

OCCURRENCE = (
    "gbifID", "basisOfRecord", "occurrenceID", "recordedBy", "sex", "lifeStage", "eventDate", "countryCode", "locality",
    "decimalLatitude", "decimalLongitude", "scientificName", "kingdom", "phylum", "class", "order", "family", "genus",
    "specificEpithet", "species", "taxonRank", "taxonKey", "vernacularName", "license", "rightsHolder",
)  # fmt: skip
MULTIMEDIA = ("gbifID", "type", "format", "identifier", "license", "rightsHolder")
FIRST = {"gbif": 4_000_000_000, "gbif-parquet": 4_500_000_000}
_DC = ("type", "format", "identifier", "license", "rightsHolder")
_LICENCE = "http://creativecommons.org/licenses/by/4.0/legalcode"
_FORMATS = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def write_archive(target: Target) -> None:
    """Write ``meta.xml``, ``occurrence.txt``, ``multimedia.txt`` and ``images/``."""
    occurrences, media = _rows(target, "gbif")
    target.table("occurrence.txt", OCCURRENCE, occurrences, separator="\t")
    target.table("multimedia.txt", MULTIMEDIA, media, separator="\t")
    target.write("meta.xml", meta_xml().encode())


def write_parquet(target: Target) -> None:
    """Write ``occurrence.parquet``, ``multimedia.parquet`` and ``images/``."""
    occurrences, media = _rows(target, "gbif-parquet")
    for name, header, rows in (("occurrence", OCCURRENCE, occurrences), ("multimedia", MULTIMEDIA, media)):
        columns = [[_text(row[at]) for row in rows] for at in range(len(header))]
        table = pa.table([pa.array(column, pa.string()) for column in columns], names=[one.lower() for one in header])
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, compression="snappy")
        target.write(f"{name}.parquet", buffer.getvalue())


def _text(cell: object) -> str | None:
    return None if cell == "" else str(cell)


def _rows(target: Target, layout: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    occurrences: dict[int, tuple[object, ...]] = {}
    again: list[tuple[object, ...]] = []
    media: list[tuple[object, ...]] = []
    for record in target.plan.of(layout):
        name = f"{target.plan.uuid(layout, record.number)}{target.suffix(record.picture)}"
        target.image(record, f"images/{name}")
        record.identifier = f"https://images.example.org/{name}"
    for record in rows_of(target.plan.of(layout)):
        key = FIRST[layout] + (record.unit.number if record.unit is not None else 900_000 + record.number)
        row = _occurrence(target, record, key)
        if key not in occurrences:
            occurrences[key] = row
        elif record.doubled and record.number % 2:
            again.append(row)
            continue
        kind = _FORMATS[target.suffix(record.picture)]
        media.append((key, "StillImage", kind, record.identifier, _LICENCE, _holder(record)))
    return [*occurrences.values(), *again], media


def _occurrence(target: Target, record: Record, key: int) -> tuple[object, ...]:
    plate = target.plan.pictures[record.picture].style == "plate"
    stated = f"https://observations.example.org/{key}"
    if record.shares >= 0:
        stated = occurrence_id(target.plan.items_of(HOLDOUT)[record.shares])
    return occurrence_row(
        key,
        stated,
        record.unit,
        basis="PRESERVED_SPECIMEN" if plate else "HUMAN_OBSERVATION",
        number=record.number,
        when=target.plan.taken_at(target.plan.original(record)),
    )


def occurrence_row(
    key: int, stated: str, unit: Unit | None, *, basis: str, number: int, when: datetime
) -> tuple[object, ...]:
    """Return one row of ``occurrence.txt``."""
    said = unit.statement if unit is not None else Statement([""] * 6, "", "", "")
    # GBIF does not match all names.
    taxon = f"6{unit.species:06d}" if unit is not None and said.name == said.binomial else ""
    return (
        key, basis, stated, f"recorder {number % 53}", "", "", when.isoformat(), "CA",
        f"plot {number % 211}",
        round(45 + number % 90 / 10, 2), round(-75 + number % 60 / 10, 2), said.name, *said.ranks, said.epithet,
        said.binomial, said.rank.upper(), taxon, said.common, "CC_BY_4_0", _holder_of(number),
    )  # fmt: skip


def _holder(record: Record) -> str:
    return _holder_of(record.number)


def _holder_of(number: int) -> str:
    return f"recorder {number % 53}"


def meta_xml() -> str:
    """Return the description of the archive."""
    core = _table("core", "Occurrence", "occurrence.txt", "id", OCCURRENCE)
    extension = _table("extension", "Multimedia", "multimedia.txt", "coreid", MULTIMEDIA)
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{core}{extension}</archive>\n'


def _table(tag: str, kind: str, file: str, key: str, columns: Sequence[str]) -> str:
    row = f"http://rs.gbif.org/terms/1.0/{kind}" if kind == "Multimedia" else f"http://rs.tdwg.org/dwc/terms/{kind}"
    fields = "".join(f'<field index="{at}" term="{_term(name)}"/>' for at, name in enumerate(columns))
    return (
        f'<{tag} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1" '
        f'rowType="{row}"><files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'
    )


def _term(name: str) -> str:
    if name in _DC:
        return f"http://purl.org/dc/terms/{name}"
    if name in ("gbifID", "taxonKey", "species"):
        return f"http://rs.gbif.org/terms/1.0/{name}"
    return f"http://rs.tdwg.org/dwc/terms/{name}"
