"""Export of a large run: `python -m benchmarks.bench_export --items 1000000 [--boxes 2] [--format megadetector] [--store ADDRESS]`.

The store is invented. It is made once in the cache folder and reused. The export runs in its own process. The program prints its
processor time, wall time and highest memory. Other work on the machine affects the wall time, but not the processor time.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks import taxa
from benchmarks.__main__ import command_figures
from bioclip_core.classify import Candidate
from bioclip_core.identity import user_cache
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, RunPlan, Store

SPECIES = 5_000
BATCH = 2_000
BEGUN = datetime(2031, 5, 1, 4, 30)


def make(address: str, items: int, boxes: int | None) -> None:
    """Store a finished run: five species, the best taxon of every other rank and a decision per region.

    Args:
        boxes: number of boxes per item; None alternates between an item without a box and an item with one.
    """
    answers = _answers()
    with Store.open(address) as store:
        run = store.begin_run(_plan(items))
        done = store.summary(run).done
        for start in range(done, items, BATCH):
            places = range(start, min(start + BATCH, items))
            listed = store.list_items(run, [_item(place, boxes) for place in places], [(1, 1)] * len(places), start + 1)
            records = []
            for place, one in zip(places, listed, strict=True):
                answered = [
                    RegionRecord(region, None, by_rank, (), decided)
                    for number, region in enumerate(one.item.regions or (None,))
                    for by_rank, decided in [answers[(place * 7 + number) % SPECIES]]
                ]
                records.append(ItemRecord(one, one.item, (1, 1), f"{place:064x}", 1, tuple(answered)))
            store.commit(run, records)
            if start % 100_000 < BATCH:
                print(f"{start + len(places)} of {items}", flush=True)
        store.end_run(run, "finished", {})


def _item(place: int, boxes: int | None) -> MediaItem:
    camera = place // 2_000
    found = tuple(
        Region(0.125 + number / 100, 0.25, 0.5, 0.375, "MegaDetector", "v5a", "animal", 0.875 - number / 100)
        for number in range(place % 2 if boxes is None else boxes)
    )
    return MediaItem(
        uri=f"survey/camera_{camera:04d}/IMG_{place:07d}.JPG",
        captured_at=BEGUN + timedelta(seconds=17 * place),
        place=Place("NL", "Gelderland", 52.0 + camera / 1e4, 5.75, 5),
        deployment=f"camera_{camera:04d}",
        sequence=f"sequence_{place // 3}",
        regions=found,
        metadata={"camera_make": "RECONYX", "camera_model": "HF2X", "camera_serial_number": f"H{camera:07d}", "temperature": 9},
    )  # fmt: skip


def _answers() -> list[tuple[dict[str, tuple[Candidate, ...]], Candidate | None]]:
    found = taxa.invented_answers(SPECIES, lambda index, place: (0.4 + index / 10_000) / (place + 1))
    return [(best, best["genus"][0] if index % 5 else None) for index, best in enumerate(found)]


def _plan(items: int) -> RunPlan:
    return RunPlan(
        sources=(f"bench of {items}",), settings={}, feature_id="feature", feature_settings={"weights_sha256": "0" * 64},
        dimension=512, answer_id="answer", answer_settings={"rank": "species"}, rule_id="rule", rule_settings={},
        provenance={},
    )  # fmt: skip


def export(address: str, format_name: str, output: Path) -> dict[str, float]:
    """Run the export command in its own process and return its processor and wall time in seconds and sizes in megabytes."""
    options = ("--store", address, "--format", format_name, "--output", str(output), "--force")
    figures = command_figures("export", *options)
    return {
        "process_s": round(figures["process_s"], 1),
        "wall_s": round(figures["wall_s"], 1),
        "memory_mb": round(figures["peak_mb"]),
        "file_mb": round(output.stat().st_size / 1e6) if output.is_file() else 0,
    }


def main() -> None:
    """Make the store if it is missing, and export it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="Number of images.")
    parser.add_argument("--boxes", type=int, help="Number of boxes per image (default: none and one in turn).")
    parser.add_argument("--store", help="SQLAlchemy address of the store (default: a file in the cache folder).")
    parser.add_argument(
        "--format", action="append", dest="formats", help="Format to export, repeatable (default: csv)."
    )
    parser.add_argument(
        "--cache", type=Path, default=user_cache() / "bench", help="Folder of the store and the exports."
    )
    parser.add_argument("--only-make", action="store_true", help="Make the store without an export.")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    stem = given.cache / (f"export_{given.items}" if given.boxes is None else f"export_{given.items}_{given.boxes}")
    address = given.store or f"{stem}.db"
    made = stem.with_suffix(".made")
    if given.store or not made.exists():
        make(address, given.items, given.boxes)
        made.touch()
    for name in [] if given.only_make else given.formats or ["csv"]:
        figures = export(address, name, stem.with_suffix(f".{name}"))
        print(json.dumps({"format": name, "items": given.items, **figures}))


if __name__ == "__main__":
    main()
