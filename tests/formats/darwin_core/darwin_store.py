"""A store with specimens and camera-trap images whose answers are made by hand, and its export as a Darwin Core archive."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.darwin_core.write import DarwinCoreExporter
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, RunPlan, Store

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus", "invented fox", "id-7")
WOLF = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "fictus")
VULPES = FOX.truncated(Rank.GENUS)
MODEL = {"name": "bioclip-2", "source": "hf-hub:imageomics/bioclip-2", "revision": "abc123", "weights_sha256": "w1"}
PLAN = RunPlan(
    sources=("photos",),
    settings={"model": "bioclip-2"},
    feature_id="f1",
    feature_settings={"weights_sha256": "w1"},
    dimension=2,
    answer_id="a1",
    answer_settings={"label_set": "1234567890abcdef1234", "rank": "species"},
    rule_id="r1",
    rule_settings={"threshold": 0.8},
    provenance={"model": MODEL, "bioclip_plugin": "0.9", "host": "secret-host", "packages": {"torch": "2.6"}},
)
EXPORTER = DarwinCoreExporter()

Answer = tuple[Region | None, Taxon | None, float]


def specimen(uri: str, catalogued: Mapping[str, Any] | None = None, **fields: Any) -> MediaItem:
    """Return an image of specimen s1, or of the specimen with these terms."""
    return MediaItem(uri, metadata=dict(catalogued if catalogued is not None else {"occurrenceID": "s1"}), **fields)


def answered(store: Store, content: Sequence[tuple[MediaItem, Sequence[Answer]]], **changes: Any) -> Run:
    """Store a finished run over these images. A taxon of None is an answer without a decision."""
    run = store.begin_run(replace(PLAN, **changes))
    listed = store.list_items(
        run, [replace(item, regions=_regions(said)) for item, said in content], [(1, 1)] * len(content)
    )
    records = []
    for one, (item, said) in zip(listed, content, strict=True):
        regions = tuple(_region(item.uri, *answer) for answer in said)
        records.append(ItemRecord(one, one.item, (1, 1), f"sha-{item.uri}", 1, regions))
    store.commit(run, records)
    store.end_run(run, "finished", {})
    return store.run(run.id)


def _regions(said: Sequence[Answer]) -> tuple[Region, ...]:
    return tuple(region for region, _, _ in said if region is not None)


def _region(uri: str, region: Region | None, taxon: Taxon | None, probability: float) -> RegionRecord:
    if region is not None and not region.classified:
        return RegionRecord(region, None, None)
    best = Candidate(taxon or FOX, (taxon or FOX).rank or "label", probability)
    other = Candidate(WOLF, "species", round(1 - probability, 6))
    by_rank = {"species": (best, other), "genus": (Candidate(VULPES, "genus", probability),)}
    features = np.array([len(uri), probability], dtype=np.float16)
    return RegionRecord(region, features, by_rank, (), best if taxon else None)


def exported(
    store: Store, folder: Path, run: Run | None = None, selection: Selection | None = None, **options: Any
) -> Path:
    """Export the run as a folder in which the exporter's own check finds no errors."""
    folder.mkdir(parents=True)
    asked = Export(store, run or store.run(), ExportOptions(**options), selection or Selection())
    EXPORTER.write(folder, asked)
    assert [str(problem) for problem in EXPORTER.check(folder, asked.options) if problem.severity == "error"] == []
    return folder


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a table, without empty cells."""
    with (folder / name).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{term: cell for term, cell in row.items() if cell} for row in rows]


def identifications(folder: Path) -> list[dict[str, str]]:
    return table(folder, "identification.txt")
