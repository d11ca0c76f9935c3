"""Records with invented names, an invented taxonomy, and the stage ``names`` run on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from bioclip_core.taxonomy import RANKS
from bioclip_training.curation.columns import LABELS, RECORDS
from bioclip_training.curation.configuration import Curation, NamesConfig, SourceConfig
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.records import key_of
from bioclip_training.curation.stages import StageWork
from bioclip_training.taxonomy import build_taxonomy

_ANIMAL = "Animalia Fictochordata Fictaves"
_PLANT = "Plantae Fictophyta Fictopsida"
CHECKLIST: tuple[tuple[str, ...], ...] = (
    # id, parent, accepted, name, author, rank, status, common name
    ("1", "", "", "Animalia", "", "kingdom", "accepted", ""),
    ("2", "1", "", "Fictochordata", "", "phylum", "accepted", ""),
    ("3", "2", "", "Fictaves", "", "class", "accepted", "birds"),
    ("4", "3", "", "Fictopasseriformes", "", "order", "accepted", ""),
    ("5", "4", "", "Fictavidae", "", "family", "accepted", ""),
    ("6", "5", "", "Fictavis", "Inv.", "genus", "accepted", ""),
    ("7", "6", "", "Fictavis volans", "Inv., 1900", "species", "accepted", "tundra grolbet"),
    ("8", "6", "", "Fictavis grondensis", "Inv., 1900", "species", "accepted", "dark-headed grolbet"),
    ("9", "6", "8", "Fictavis nigra", "Mak., 1880", "species", "synonym", ""),
    ("10", "5", "", "Fictornis", "Mak.", "genus", "accepted", ""),
    ("11", "10", "", "Fictornis canorus", "Mak., 1801", "species", "accepted", "singing grolbet"),
    ("12", "10", "8", "Fictornis grondensis", "Inv., 1900", "species", "synonym", ""),
    ("13", "5", "", "Fictolaeliara", "Mak.", "genus", "accepted", ""),
    ("14", "13", "", "Fictolaeliara tormalis", "Mak.", "species", "accepted", ""),
    ("15", "13", "", "Fictolaeliara brevis", "Mak.", "species", "accepted", ""),
    ("16", "7", "", "Fictavis volans minor", "Inv.", "subspecies", "accepted", ""),
    ("17", "4", "5", "Fictornidae", "", "family", "synonym", ""),
    ("18", "6", "7", "Fictavis dubia", "Inv.", "species", "proparte synonym", ""),
    ("19", "10", "11", "Fictavis dubia", "Mak.", "species", "proparte synonym", ""),
    ("20", "6", "", "Fictavis gemina", "Inv., 1900", "species", "accepted", ""),
    ("21", "6", "", "Fictavis gemina", "Mak., 1911", "species", "accepted", ""),
    ("51", "", "", "Plantae", "", "kingdom", "accepted", ""),
    ("52", "51", "", "Fictophyta", "", "phylum", "accepted", ""),
    ("53", "52", "", "Fictopsida", "", "class", "accepted", ""),
    ("54", "53", "", "Fictales", "", "order", "accepted", ""),
    ("55", "54", "", "Fictaceae", "", "family", "accepted", ""),
    ("56", "55", "", "Fictomala", "Inv.", "genus", "accepted", ""),
    ("57", "56", "", "Fictomala alba", "Inv.", "species", "accepted", "white mala"),
    ("58", "56", "", "Fictomala × rubens", "Inv.", "species", "accepted", ""),
    ("59", "55", "", "Fictolaeliara", "Inv.", "genus", "accepted", ""),
    ("60", "59", "", "Fictolaeliara tormalis", "Inv.", "species", "accepted", ""),
    ("61", "59", "", "Fictolaeliara cordata", "Inv.", "species", "accepted", ""),
)  # fmt: skip
_COLUMNS = (
    "taxonID", "parentNameUsageID", "acceptedNameUsageID", "scientificName", "scientificNameAuthorship", "taxonRank",
    "taxonomicStatus", "vernacularName", "canonicalName",
)  # fmt: skip


def make_taxonomy(folder: Path, version: str = "2026") -> Path:
    """Build the taxonomy "Inventa"."""
    lines = ["\t".join(_COLUMNS)]
    for own, parent, accepted, name, author, rank, status, common in CHECKLIST:
        lines.append("\t".join((own, parent, accepted, f"{name} {author}".strip(), author, rank, status, common, name)))
    source = folder / "Taxon.tsv"
    source.write_text("\n".join(lines) + "\n", "utf-8")
    return build_taxonomy(source, folder / "inventa.taxonomy", checklist="Inventa", version=version).path


def records_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return records sorted by key, with ``source`` "one" and the row's number as ``record_id`` where a row states none."""
    full = []
    for number, row in enumerate(rows):
        cells = {field.name: "" if field.type == pa.string() else None for field in RECORDS}
        cells.update({"source": "one", "record_id": f"{number:04d}", **row})
        full.append({**cells, "key": key_of(cells["source"], cells["record_id"])})
    return pa.Table.from_pylist(sorted(full, key=lambda row: row["key"]), RECORDS)


class Named:
    """The stage's results on some records."""

    def __init__(self, work: StageWork, records: pa.Table) -> None:
        self.tallied = work.tally.tallied()
        self.files = {path.name: path.read_bytes() for path in sorted(work.folder.glob("part-*.parquet"))}
        self.table = pa.concat_tables(parquet.read_table(path) for path in sorted(work.folder.glob("part-*.parquet")))
        assert self.table.schema == LABELS
        ids = dict(zip(records["key"].to_pylist(), records["record_id"].to_pylist(), strict=True))
        self.rows = {ids[row["key"]]: row for row in self.table.to_pylist()}

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        return self.rows[record_id]

    @property
    def names(self) -> list[str]:
        """Scientific names in the order of the record ids."""
        return [self.rows[record_id]["scientific_name"] for record_id in sorted(self.rows)]

    @property
    def dropped(self) -> dict[str, int]:
        return {entry.reason: entry.count for entry in self.tallied.dropped}


def name_records(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    taxonomy: Path | None = None,
    names: NamesConfig | None = None,
    precedence: tuple[str, ...] = (),
    parts: int = 1,
    threads: int = 1,
) -> Named:
    """Run the stage on records."""
    records = records_table(rows)
    for sub in ("records", "names", "names/_unfinished", "temporary", "kept"):
        (folder / sub).mkdir(parents=True)
    size = -(-records.num_rows // parts)
    for part in range(parts):
        parquet.write_table(records.slice(part * size, size), folder / "records" / f"part-{part:03d}.parquet")
    sources = {name: SourceConfig(path=folder) for name in records["source"].unique().to_pylist()}
    config = Curation(
        output=folder, sources=sources, taxonomy=taxonomy, names=names or NamesConfig(), precedence=precedence
    )
    work = StageWork(
        folder / "names", {"records": folder / "records"}, config, folder / "temporary", folder / "kept", threads, 2_000_000_000
    )  # fmt: skip
    NamesStage().run(work)
    return Named(work, records)


@cache
def rank_names() -> tuple[str, ...]:
    return tuple(rank.value for rank in RANKS)


def ranks(text: str) -> dict[str, str]:
    """Return rank columns from their names, kingdom first; ``-`` is an empty cell."""
    return {name: "" if word == "-" else word for name, word in zip(rank_names(), text.split(), strict=False)}


BIRD = f"{_ANIMAL} Fictopasseriformes Fictavidae"
PLANT = f"{_PLANT} Fictales Fictaceae"
