"""MegaDetector files for tests, and the items that our source lists from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
from bioclip_plugin.formats.megadetector.write import MegaDetectorExporter
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.store import Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import ItemStatus, StoredDecision

Command = Callable[..., tuple[int, str, str]]
"""The command line as a function: exit code, standard output and standard error of one call."""

CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
INFO = {
    "format_version": "1.6",
    "detector": "md_v5a.0.0.pt",
    "detector_metadata": {"megadetector_version": "v5a.0.0", "typical_detection_threshold": 0.2},
}


def detection(category: str = "1", conf: float = 0.9, bbox: Any = (0.1, 0.2, 0.3, 0.4), **more: Any) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": list(bbox) if isinstance(bbox, tuple) else bbox, **more}


def image(file: str, *detections: Any, **more: Any) -> dict[str, Any]:
    return {"file": file, "detections": list(detections), **more}


def results(*images: Any, **more: Any) -> dict[str, Any]:
    """Return a complete file, with the header after the images as the detector's own program writes it."""
    return {"images": list(images), "detection_categories": CATEGORIES, "info": INFO, **more}


def written(content: Any, path: Path | str = "md.json") -> Path:
    path = Path(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def listed(content: Any, **options: Any) -> list[MediaItem | Unlisted]:
    """Return what the source lists for a file in the working directory."""
    return list(MegaDetectorSource().items(str(written(content)), ListingOptions(**options)))


def only_item(content: Any, **options: Any) -> MediaItem:
    (item,) = listed(content, **options)
    assert isinstance(item, MediaItem)
    return item


# -- stored results, made by hand --------------------------------------------------------------------------------------

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus", "Invented Fox")
WOLF = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "fictus")
DOGS = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
BY_RANK = {
    "species": (Candidate(FOX, "species", 0.71234), Candidate(WOLF, "species", 0.25)),
    "family": (Candidate(DOGS, "family", 0.97),),
}


def box(category: str = "animal", confidence: float | None = 0.91234, x: float = 0.1, **about: Any) -> Region:
    return Region(x, 0.2, 0.3, 0.4, "md_v5a.0.0.pt", "v5a.0.0", category, confidence, **about)


def region(of: Region | None = None, decision: StoredDecision | None = None, **by_rank: Any) -> StoredRegion:
    """Return a region that was classified, unless its box is marked as not classified."""
    named = of is None or of.classified
    decided = decision or (StoredDecision("taxon", BY_RANK["family"][0]) if named else None)
    return StoredRegion(of, 1, (by_rank or BY_RANK) if named else {}, (), decided)


def stored(uri: str, *regions: StoredRegion, failure: Failure | None = None, **about: Any) -> StoredItem:
    status: ItemStatus = about.pop("status", "failed" if failure else "done")
    return StoredItem(MediaItem(uri, **about), status, failure, list(regions))


def run_of(**changes: Any) -> Run:
    moment = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    run = Run(
        id=1, key="k", sources=("photos",), created_at=moment, begun_at=moment, ended_at=moment, status="finished",
        resumed=False, settings={"threshold": 0.65, "model": "fake"}, provenance={}, earlier_provenance=(), feature_set=1,
        answer_set=1, decision_set=1, feature_id="f", answer_id="a", rule_id="r", feature_settings={},
        answer_settings={"rank": "species"}, rule_settings={}, dimension=3, counts={},
    )  # fmt: skip
    return replace(run, **changes)


class Given(Export):
    """Export of given items, as if they came from a store."""

    def __init__(self, items: Iterable[StoredItem], run: Run | None = None, **options: Any) -> None:
        super().__init__(cast("Store", None), run or run_of(), ExportOptions(**options))
        object.__setattr__(self, "_given", list(items))

    def items(self, ranks: Collection[str] | None = None) -> Iterator[StoredItem]:
        return iter(self._given)


def exported(
    *items: StoredItem, path: Path | str = "out.json", run: Run | None = None, **options: Any
) -> dict[str, Any]:
    """Return the file that the exporter writes for these items, after its own check found no problems."""
    exporter = MegaDetectorExporter()
    export = Given(items, run, **options)
    exporter.write(Path(path), export)
    assert list(map(str, exporter.check(Path(path), ExportOptions()))) == []
    assert exporter.recognises(Path(path))
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found
