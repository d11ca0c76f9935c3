"""Time and memory of one job on a MegaDetector file, printed as one JSON object; run it in its own process.

python -m benchmarks.formats_worker make|read|write|check|peer FILE IMAGES
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks import machine

BOXES = 2
_SPECIES = 2_000


def make(path: Path, images: int) -> int:
    """Write a file as the detector's own program does: the header after the images, boxes in the order of confidence."""
    from bioclip_core.files.whole import replacing_file

    random_ = random.Random(7)
    header = {
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "info": {
            "format_version": "1.6",
            "detector": "md_v5a.0.0.pt",
            "detection_completion_time": "2030-01-01 00:00:00",
        },
    }
    with replacing_file(path) as draft, draft.open("w", encoding="ascii") as file:
        file.write('{\n "images": [\n')
        for number in range(images):
            found = [_detection(random_, place) for place in range(BOXES)]
            record = {"file": _name(number), "detections": found}
            file.write((",\n" if number else "") + json.dumps(record, indent=1))
        file.write("\n ],\n" + json.dumps(header, indent=1)[1:])
    return images


def _name(number: int) -> str:
    return f"site{number // 50_000:03}/camera{number // 5_000 % 10}/IMG_{number:07}.JPG"


def _detection(random_: random.Random, place: int) -> dict[str, Any]:
    x, y = round(random_.uniform(0, 0.5), 4), round(random_.uniform(0, 0.5), 4)
    w, h = round(random_.uniform(0.05, 0.5), 4), round(random_.uniform(0.05, 0.5), 4)
    return {"category": "1", "conf": round(random_.uniform(0.5, 1) / (place + 1), 3), "bbox": [x, y, w, h]}


def read(path: Path, images: int) -> int:  # noqa: ARG001
    """List the file's images, as ``classify`` does before it opens any."""
    from bioclip_plugin.contracts.source import ListingOptions
    from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
    from bioclip_plugin.items.media import MediaItem

    items = MegaDetectorSource().items(str(path), ListingOptions())
    return sum(1 for item in items if isinstance(item, MediaItem) and len(item.regions) == BOXES)


def write(path: Path, images: int) -> int:
    """Write invented stored items with five species per box. bench_export measures the cost of the database."""
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.formats.megadetector.write import MegaDetectorExporter
    from bioclip_plugin.store import Run, Store, StoredItem

    class Invented(Export):
        def items(self, ranks: Collection[str] | None = None) -> Iterator[StoredItem]:  # noqa: ARG002
            return _stored(images)

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    run = Run(
        id=1, key="k", sources=(), created_at=moment, begun_at=moment, ended_at=moment, status="finished", resumed=False,
        settings={}, provenance={}, earlier_provenance=(), feature_set=1, answer_set=1, decision_set=1, feature_id="f",
        answer_id="a", rule_id="r", feature_settings={}, answer_settings={"rank": "species"}, rule_settings={},
        dimension=512, counts={},
    )  # fmt: skip
    return MegaDetectorExporter().write(path, Invented(cast("Store", None), run, ExportOptions()))


def _stored(images: int) -> Iterator[Any]:
    from bioclip_core.classify import Candidate
    from bioclip_core.taxonomy import Taxon
    from bioclip_plugin.items.media import MediaItem, Region
    from bioclip_plugin.store import StoredItem, StoredRegion
    from bioclip_plugin.store.records import StoredDecision

    random_ = random.Random(7)
    lineage = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Fictidae")
    species = [Taxon.of((*lineage, f"Genus{number // 10}", f"fictus{number}")) for number in range(_SPECIES)]
    for number in range(images):
        regions = []
        for place in range(BOXES):
            detection = _detection(random_, place)
            x, y, w, h = detection["bbox"]
            box = Region(x, y, w, h, "md_v5a.0.0.pt", "v5a.0.0", "animal", detection["conf"])
            best = tuple(
                Candidate(species[(number * 7 + place + other * 31) % _SPECIES], "species", 0.6 / (other + 1))
                for other in range(5)
            )
            decided = StoredDecision("taxon", best[0])
            regions.append(StoredRegion(box, number, {"species": best}, (), decided))
        yield StoredItem(MediaItem(_name(number)), "done", None, regions)


def check(path: Path, images: int) -> int:
    """Check a file with our own checks."""
    from bioclip_plugin.formats.megadetector.check import problems_of

    return images - sum(1 for _ in problems_of(path))


def peer(path: Path, images: int) -> int:
    """Load and validate a file with megadetector-utils, which holds the whole file in memory."""
    from megadetector.postprocessing.validate_batch_results import ValidateBatchResultsOptions, validate_batch_results

    options = ValidateBatchResultsOptions()
    options.raise_errors = True
    validate_batch_results(str(path), options)
    return images


def main() -> None:
    job, path, images = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    began, processor = time.perf_counter(), time.process_time()
    count = {"make": make, "read": read, "write": write, "check": check, "peer": peer}[job](path, images)
    figures = {
        "count": count,
        "process_s": time.process_time() - processor,
        "wall_s": time.perf_counter() - began,
        "peak_mb": machine.peak_bytes() / 2**20,
        "file_mb": path.stat().st_size / 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
