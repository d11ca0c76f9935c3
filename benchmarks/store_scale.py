"""Large stores, and the rate of writing as a store grows; ``benchmarks.store_commands`` measures the commands on them.

python -m benchmarks.store_scale make --regions 1000000 [--store ADDRESS]      make the store, or go on making it
python -m benchmarks.store_scale multiply --regions 10000000 --store NEW.db --of SMALL.db   make a larger store of copies of a small one
python -m benchmarks.store_scale explain --regions 1000000 [--store ADDRESS]   print the plan of each command's queries

The store is invented: camera-trap images with four boxes each (``--per-image``), five species and six higher ranks per box, short
vectors. Making is resumable, and its rate per step is kept beside the store.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks import taxa
from bioclip_core.classify import Candidate
from bioclip_core.identity import user_cache
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, RunPlan, Store

DIMENSION = 8
"""Numbers in a feature: few, so that many regions fit on a disk."""
SPECIES = 5_000
BATCH = 512
STEP = 25_000
"""Images between two notes of the rate."""
BEGUN = datetime(2031, 5, 1, 4, 30)


def plan(regions: int) -> RunPlan:
    return RunPlan(
        sources=(f"scale of {regions}",), settings={}, feature_id="feature", feature_settings={"weights_sha256": "0" * 64},
        dimension=DIMENSION, answer_id="answer", answer_settings={"rank": "species"}, rule_id="rule",
        rule_settings={"rules": [{"rule": "consensus", "threshold": 0.8}]},
        provenance={},
    )  # fmt: skip


def item_at(place: int, per_image: int) -> MediaItem:
    camera = place // 2_000
    found = tuple(
        Region(0.125 + number / 50, 0.25, 0.5, 0.375, "MegaDetector", "v5a", "animal", 0.875 - number / 50)
        for number in range(per_image)
    )
    return MediaItem(
        uri=f"survey/camera_{camera:05d}/IMG_{place:08d}.JPG",
        captured_at=BEGUN + timedelta(seconds=17 * place),
        place=Place("NL", "Gelderland", 52.0 + camera / 1e5, 5.75, 5),
        deployment=f"camera_{camera:05d}",
        sequence=f"sequence_{place // 3}",
        regions=found,
        metadata={"camera_make": "RECONYX", "camera_model": "HF2X", "temperature": 9},
    )


def make(address: str, regions: int, per_image: int, notes: Path) -> None:
    """Make a store, or go on making it; write the rate of each step to ``notes``."""
    images = regions // per_image
    by_species = taxa.invented_answers(SPECIES, lambda index, place: (0.4 + index / 10_000) / (place + 1))
    vectors_ND = taxa.random_units(SPECIES, DIMENSION).astype(np.float16)
    with Store.open(address) as store:
        run = store.begin_run(plan(regions))
        done = store.summary(run).done
        began, at = time.perf_counter(), done
        for start in range(done, images, BATCH):
            places = range(start, min(start + BATCH, images))
            _commit(store, run, places, per_image, by_species, vectors_ND)
            if places.stop - at >= STEP or places.stop == images:
                seconds, now = time.perf_counter() - began, time.perf_counter()
                note = {"regions": places.stop * per_image, "images_per_s": round((places.stop - at) / seconds, 1)}
                with notes.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(note) + "\n")
                print(note, flush=True)
                began, at = now, places.stop
        store.end_run(run, "finished", {})


def _commit(
    store: Store,
    run: Run,
    places: range,
    per_image: int,
    by_species: list[dict[str, tuple[Candidate, ...]]],
    vectors_ND: np.ndarray,
) -> None:
    listed = store.list_items(
        run, [item_at(place, per_image) for place in places], [(1, 1)] * len(places), places.start + 1
    )
    records = []
    for place, one in zip(places, listed, strict=True):
        found = [(place * 7 + number) % SPECIES for number in range(per_image)]
        regions = tuple(
            RegionRecord(region, vectors_ND[species], by_species[species], (), by_species[species]["genus"][0])
            for region, species in zip(one.item.regions, found, strict=True)
        )
        sha256 = hashlib.sha256(str(place).encode()).hexdigest()  # as random as those of files, which an index feels
        records.append(ItemRecord(one, one.item, (1, 1), sha256, 1, regions))
    store.commit(run, records)


def multiply(small: Path, large: Path, regions: int) -> None:
    """Make a store of copies of all images of a small SQLite store, with their own numbers, names and contents.

    SQLite does it alone, so that ten million regions take minutes. The result has the rows that :func:`make` would have written.
    """
    shutil.copyfile(small, large)
    connection = sqlite3.connect(large, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-1500000"):
        connection.execute(f"PRAGMA {pragma}")
    last = {
        name: connection.execute(f"SELECT max(id) FROM bioclip_{name}").fetchone()[0]
        for name in ("media", "contents", "regions")
    }
    step = {"media": last["media"], "content": last["contents"], "region": last["regions"], "position": last["media"]}
    connection.execute("BEGIN")
    for copy in range(1, round(regions / last["regions"])):
        began = time.perf_counter()
        for name in COPIED:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info(bioclip_{name})")]
            values = ", ".join(_copied(name, column, copy, step) for column in columns)
            rows = f"SELECT {values} FROM bioclip_{name} WHERE {_original(name, columns, step)}"
            connection.execute(f"INSERT INTO bioclip_{name} {rows}")
        print({"regions": (copy + 1) * last["regions"], "seconds": round(time.perf_counter() - began, 1)}, flush=True)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


COPIED = ("contents", "media", "regions", "features", "answers", "candidates", "decisions", "listing", "listed_regions")
"""The tables that images fill."""


def _copied(table: str, column: str, copy: int, step: dict[str, int]) -> str:
    """Return the expression for a column of a copied row."""
    if column == "id":
        return f"id + {copy * step[{'media': 'media', 'contents': 'content', 'regions': 'region'}[table]]}"
    if column == "position" and table in ("candidates", "listed_regions"):
        return "position"
    if column in step and not (table == "media" and column == "region"):
        return f"{column} + {copy * step[column]}"
    if column == "sha256":
        return "lower(hex(randomblob(32)))"
    if column in ("uri", "deployment", "sequence"):
        return f"'copy_{copy}/' || {column}"
    return f'"{column}"'


def _original(table: str, columns: list[str], step: dict[str, int]) -> str:
    """Return the condition that a row is of the small store."""
    if "id" in columns:
        return f"id <= {step[{'media': 'media', 'contents': 'content', 'regions': 'region'}[table]]}"
    column = next(name for name in ("region", "media", "content") if name in columns)
    return f"{column} <= {step[column]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["make", "multiply", "explain"])
    parser.add_argument("--regions", type=int, default=1_000_000, help="Number of regions.")
    parser.add_argument("--per-image", type=int, default=4, help="Regions per image.")
    parser.add_argument("--store", help="Address of the store (default: a file in the cache folder).")
    parser.add_argument("--of", type=Path, help="Small store to multiply, an SQLite file.")
    given = parser.parse_args()
    folder = user_cache() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    address = given.store or str(folder / f"scale-{given.regions}.db")
    notes = folder / f"scale-{given.regions}.jsonl"
    if given.work == "make":
        make(address, given.regions, given.per_image, notes)
    elif given.work == "multiply":
        multiply(given.of, Path(address), given.regions)
    else:
        from benchmarks.store_plans import explain

        explain(address)


if __name__ == "__main__":
    main()
