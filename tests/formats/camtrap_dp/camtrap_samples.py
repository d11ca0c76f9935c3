"""Small Camtrap DP packages, and runs stored by hand, for the tests of the format."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems
from bioclip_plugin.formats.camtrap_dp.schema import PROFILE_URL, TABLES, table_schema_url
from bioclip_plugin.formats.camtrap_dp.write import CamtrapDpExporter
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, RunPlan, Store
from bioclip_plugin.store.records import StoredDecision

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus")
HARE = Taxon("Animalia", "Chordata", "Mammalia", "Lagomorpha", "Leporidae", "Lepus", "fictus")
OAK = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Fagales", "Fagaceae", "Quercus", "ficta")
PERSON = Taxon("Animalia", "Chordata", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens")

DEPLOYMENT = {
    "deploymentID": "d1", "locationName": "Pond", "latitude": "51.496", "longitude": "4.774", "coordinateUncertainty": "187",
    "deploymentStart": "2020-05-30T04:57:37+02:00", "deploymentEnd": "2020-07-01T11:41:41+02:00", "cameraID": "320",
    "cameraHeight": "1.30", "baitUse": "false", "featureType": "trailGame",
}  # fmt: skip
MEDIA = {
    "mediaID": "m1", "deploymentID": "d1", "captureMethod": "activityDetection", "timestamp": "2020-06-01T10:00:00+02:00",
    "filePath": "media/a.jpg", "filePublic": "true", "fileName": "a.jpg", "fileMediatype": "image/jpeg",
}  # fmt: skip
OBSERVATION = {
    "observationID": "o1", "deploymentID": "d1", "mediaID": "m1", "eventID": "e1", "eventStart": "2020-06-01T08:00:00Z",
    "eventEnd": "2020-06-01T08:00:00Z", "observationLevel": "media", "observationType": "animal",
    "scientificName": "Vulpes fictus", "count": "1", "lifeStage": "adult", "sex": "female",
    "classificationMethod": "human", "classifiedBy": "Ada Example", "classificationTimestamp": "2020-07-09T09:39:52Z",
}  # fmt: skip
BOX = {"bboxX": "0.1", "bboxY": "0.2", "bboxWidth": "0.3", "bboxHeight": "0.4"}


def descriptor(**changes: Any) -> dict[str, Any]:
    """Return a valid descriptor. A change to None removes the key."""
    whole = {
        "resources": [
            {
                "name": name, "path": f"{name}.csv", "profile": "tabular-data-resource", "format": "csv", "encoding": "utf-8",
                "schema": table_schema_url(name),
            }
            for name in ("deployments", "media", "observations")
        ],
        "profile": PROFILE_URL,
        "name": "invented",
        "id": "7cca70f5-0000-4000-8000-8f070937d7ab",
        "created": "2023-02-06T11:23:03Z",
        "title": "Invented",
        "contributors": [{"title": "Ada Example", "role": "contact"}],
        "licenses": [{"name": "CC0-1.0", "scope": "data"}, {"path": "https://example.org/by", "scope": "media"}],
        "project": {
            "title": "Invented project", "samplingDesign": "targeted", "captureMethod": ["activityDetection"],
            "individualAnimals": False, "observationLevel": ["media", "event"],
        },
        "spatial": {"type": "Point", "coordinates": [4.774, 51.496]},
        "temporal": {"start": "2020-05-30", "end": "2020-07-01"},
        "taxonomic": [
            {"scientificName": "Vulpes fictus", "taxonRank": "species", "kingdom": "Animalia", "vernacularNames": {"eng": "fox"}},
            {"scientificName": "Quercus ficta", "taxonRank": "species", "kingdom": "Plantae"},
            {"scientificName": "Aves", "taxonRank": "class"},
        ],
    }  # fmt: skip
    return {key: value for key, value in (whole | changes).items() if value is not None}


def package(
    folder: Path,
    *,
    deployments: Sequence[Mapping[str, str]] = (DEPLOYMENT,),
    media: Sequence[Mapping[str, str]] = (MEDIA,),
    observations: Sequence[Mapping[str, str]] = (OBSERVATION,),
    about: Mapping[str, Any] | str | None = None,
) -> Path:
    """Write a package without its images."""
    folder.mkdir(parents=True, exist_ok=True)
    said = about if isinstance(about, str) else json.dumps(about or descriptor())
    (folder / "datapackage.json").write_text(said, "utf-8")
    for name, rows in (("deployments", deployments), ("media", media), ("observations", observations)):
        write_table(folder / f"{name}.csv", list(TABLES[name]), rows)
    return folder


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def photo(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


# -- runs stored by hand -----------------------------------------------------------------------------------------------

PLAN = RunPlan(
    sources=("photos",), settings={"model": "fake"}, feature_id="f1", feature_settings={"weights_sha256": "w1"}, dimension=4,
    answer_id="a1", answer_settings={"rank": "species", "label_set": "l1"}, rule_id="r1",
    rule_settings={"rules": [{"name": "consensus", "threshold": 0.65, "version": 1}]},
    provenance={"model": {"name": "fake"}, "bioclip_plugin": "0.1.0"},
)  # fmt: skip


def taken(uri: str, minute: int = 0, *regions: Region, aware: bool = True, **about: Any) -> MediaItem:
    """Return an image of deployment d1, taken ``minute`` minutes past ten."""
    moment = datetime(2020, 6, 1, 10, minute, 30, 250_000, tzinfo=UTC if aware else None)
    return MediaItem(uri, **{"captured_at": moment, "deployment": "d1", "regions": regions} | about)


def best(taxon: Taxon, probability: float = 0.8) -> Candidate:
    rank = taxon.rank
    return Candidate(taxon, rank.value if rank else "label", probability)


def store_run(
    store: Store, *entries: tuple[MediaItem | Unlisted, Sequence[Candidate | StoredDecision | None] | str]
) -> Run:
    """Store a finished run. An item comes with the decision for each of its regions, or with the reason of its failure.

    A candidate becomes the consensus, with a hare as the second-best candidate. None leaves the region without one. A
    ``StoredDecision`` is stored as the decision of rules.
    """
    import numpy as np

    run = store.begin_run(PLAN)
    listed = store.list_items(run, [item for item, _ in entries], [(100, 1)] * len(entries))
    records, decided = [], {}
    for number, (entry, (_, said)) in enumerate(zip(listed, entries, strict=True)):
        if entry.failure is not None:
            continue
        if isinstance(said, str):
            records.append(ItemRecord(entry, entry.item, (100, 1), failure=Failure("decode", said)))
            continue
        regions: list[Region | None] = list(entry.item.regions) or [None]
        if entry.item.detected and not entry.item.regions:
            regions = []
        made = []
        for region, one in zip(regions, [*said, *[None] * len(regions)], strict=False):
            candidate = one.candidate if isinstance(one, StoredDecision) else one
            answers = {"species": (candidate or best(FOX, 0.4), best(HARE, 0.125))}
            named = region is None or region.classified
            made.append(
                RegionRecord(
                    region,
                    np.ones(4, dtype=np.float16) / 2 if named else None,
                    answers if named else None,
                    (),
                    candidate if named else None,
                )
            )
            if isinstance(one, StoredDecision):
                decided[entry.item.uri, entry.item.frame, region.box if region else None] = one
        records.append(ItemRecord(entry, entry.item, (100, 1), f"sha-{number}", 100, tuple(made)))
    store.commit(run, records)
    if decided:
        numbers = {
            (item.item.uri, item.item.frame, region.region.box if region.region else None): region.region_id
            for item in store.items_of(run)
            for region in item.regions
        }
        store.deciding(run, unclassified=True).write({numbers[key]: decision for key, decision in decided.items()})
    store.end_run(run, "finished", {})
    return store.run(run.id)


def exported(
    store: Store, run: Run, folder: Path, *, selection: Selection | None = None, **options: Any
) -> tuple[Path, list[Problem]]:
    """Write the package of a run, and return it with the problems that the check finds; none of them may be an error."""
    folder.mkdir()
    CamtrapDpExporter().write(folder, Export(store, run, ExportOptions(**options), selection or Selection()))
    problems = list(camtrap_dp_problems(folder))
    assert [str(one) for one in problems if one.severity == "error"] == []
    return folder, problems
