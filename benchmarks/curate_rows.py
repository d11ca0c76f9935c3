"""Catalogs of many rows: time and memory of every stage of ``curate`` but those that read images, on invented records.

python -m benchmarks.curate_rows --rows 10000000 [--threads 2] [--memory "4 GB"] [--folder FOLDER] [--keep]

The records are two catalogs in the layout of TreeOfLife-200M without their images: 300,000 species whose frequencies fall like 1/rank,
names with authors and small faults, 1.3 images per observation. Hashes of images are invented too: one record in
a hundred has the bytes of another one, one in fifty is nearly another one. Memory is the sum of the resident memory of the process and
its children, looked up five times per second; pages that several processes share count for each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks import machine, taxa
from bioclip_core.identity import user_cache
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, INNER_MARGINS
from bioclip_training.curation.catalog import CatalogStage
from bioclip_training.curation.columns import IMAGES
from bioclip_training.curation.configuration import Curation, SourceConfig, SplitsConfig
from bioclip_training.curation.imaging.duplicates import DuplicatesStage
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.records import RecordsStage
from bioclip_training.curation.running import Listener, Outcome, run_stages
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.curation.stages import Stage, StageWork, name_of_part

SPECIES = 300_000
SOURCES = {"first": 0.8, "second": 0.2}
_STEP = 500_000
_BASES = ("HUMAN_OBSERVATION", "PRESERVED_SPECIMEN", "MACHINE_OBSERVATION", "OCCURRENCE")
_COLUMNS = (
    "uuid",
    "data_source",
    "source_id",
    *(rank.value for rank in RANKS),
    "common",
    "scientific_name",
    "basisOfRecord",
    "publisher",
)
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])


def make_sources(folder: Path, rows: int) -> None:
    """Write the invented sources, unless they are there."""
    species = taxa.invented_taxa(SPECIES)
    lineages = [pa.array([taxon.lineage[depth] for taxon in species]) for depth in range(len(RANKS))]
    common = pa.array([taxon.common_name for taxon in species])
    weights = 1 / np.arange(1, SPECIES + 1)
    cumulated = np.cumsum(weights) / weights.sum()
    for number, (name, share) in enumerate(SOURCES.items()):
        place = folder / name
        if (place / "done").exists():
            continue
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        count = round(rows * share)
        with parquet.ParquetWriter(place / "catalog.parquet", _SCHEMA, compression="zstd") as writer:
            for start in range(0, count, _STEP):
                rng = np.random.default_rng([31, number, start])
                writer.write_table(_table(start, min(_STEP, count - start), rng, lineages, common, cumulated))
        (place / "done").touch()


def _table(
    start: int,
    rows: int,
    rng: np.random.Generator,
    lineages: list[pa.Array],
    common: pa.Array,
    cumulated: NDArray[np.float64],
) -> pa.Table:
    chosen = np.searchsorted(cumulated, rng.random(rows)).clip(0, SPECIES - 1)
    ranks = [column.take(pa.array(chosen)) for column in lineages]
    genus, epithet, fault = ranks[5].to_pylist(), ranks[6].to_pylist(), rng.random(rows).tolist()
    observations = start + np.cumsum(rng.random(rows) < 1 / 1.3)
    columns: dict[str, Any] = {
        "uuid": _uuids(rng, rows),
        "data_source": ["GBIF"] * rows,
        "source_id": [str(entry) for entry in observations],
        **{rank.value: column for rank, column in zip(RANKS, ranks, strict=True)},
        "common": common.take(pa.array(chosen)),
        "scientific_name": [_written(*named) for named in zip(genus, epithet, fault, strict=True)],
        "basisOfRecord": [_BASES[entry] for entry in rng.choice(4, rows, p=[0.6, 0.3, 0.05, 0.05])],
        "publisher": [f"publisher {entry}" for entry in rng.integers(0, 5000, rows)],
    }  # fmt: skip
    return pa.table({name: pa.array(columns[name], pa.string()) for name in _SCHEMA.names})


def _uuids(rng: np.random.Generator, rows: int) -> list[str]:
    data = rng.bytes(16 * rows).hex()
    texts = (data[at : at + 32] for at in range(0, 32 * rows, 32))
    return [f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in texts]


def _written(genus: str, epithet: str, share: float) -> str:
    """Return a name as a source writes it: one in ten with an author and a year, one in a hundred with a fault."""
    name = f"{genus} {epithet}"
    if share < 0.1:
        return f"{name} {('Linnaeus, 1758', '(Gray, 1831)', 'L.')[int(share * 1000) % 3]}"
    return name.upper() if share < 0.11 else name


@dataclass(frozen=True)
class InventedImages(Stage):
    """Hashes and sizes of images that do not exist, from the keys of the records."""

    name: str = "images"
    version: int = 1
    needs: tuple[str, ...] = ("records",)

    def settings(self, config: Curation) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def inputs(self, config: Curation) -> Mapping[str, Path]:  # noqa: ARG002
        return {}

    def run(self, work: StageWork) -> None:
        parts = work.parts_of("records")
        rows = sum(parquet.read_metadata(path).num_rows for path in parts)
        for path in parts:
            if not work.is_finished(name_of_part(path)):
                with work.part(name_of_part(path), IMAGES) as part:
                    part.write(_images(parquet.read_table(path, columns=["key"])["key"], rows))


def _images(keys: pa.ChunkedArray, rows: int) -> pa.Table:
    """Return invented images: 50 times as many contents as rows, and half as many looks as contents."""
    content = np.array([int(key[:15], 16) for key in keys.to_pylist()], np.uint64) % np.uint64(50 * rows)
    look = _mixed(content, 0) % np.uint64(25 * rows)
    widths = {"phash": HASH_BYTES, "phash_inner": HASH_BYTES * len(INNER_MARGINS), "colours": COLOUR_BYTES}
    columns: dict[str, Any] = {"key": keys}
    salt = 1
    for name, width in widths.items():
        words = np.stack([_mixed(look, salt + word) for word in range(-(-width // 8))], axis=1)
        salt += words.shape[1]
        data = words.view(np.uint8)[:, :width].copy()
        if name == "phash":  # two contents with one look differ in some bits
            data[np.arange(len(data)), _mixed(content, 99) % np.uint64(width)] ^= np.uint8(1)
        columns[name] = pa.array([row.tobytes() for row in data], pa.binary())
    hexed = [
        "".join(f"{int(word):016x}" for word in row)
        for row in np.stack([_mixed(content, 50 + n) for n in range(4)], axis=1)
    ]
    count = len(keys)
    columns |= {
        "sha256": hexed, "md5": [text[:32] for text in hexed], "unreadable": [""] * count, "width": [1000] * count, "height": [800] * count,
        "bytes": [200_000] * count,
    }  # fmt: skip
    nothing = pa.repeat("", count)
    return pa.table({field.name: columns.get(field.name, nothing) for field in IMAGES})


def _mixed(values: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return numbers that look random, one per number (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(salt + 1) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _resident(process: int) -> int:
    """Return the resident bytes of a process and its children."""
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError, IndexError):
            continue
    return total


class TreeMemory:
    """The most memory of this process and its children since the last call of :meth:`taken`."""

    def __init__(self) -> None:
        self._most = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._most = max(self._most, _resident(os.getpid()))
            time.sleep(0.2)

    def taken(self) -> int:
        most, self._most = self._most, 0
        return most


def curate(folder: Path, threads: int, memory: int) -> list[dict[str, Any]]:
    """Run the stages, and return seconds, processor seconds, memory and size of each."""
    before: tuple[Stage, ...] = (RecordsStage(), InventedImages(), NamesStage(), KindsStage(), DuplicatesStage())
    names = tuple(stage.name for stage in before)
    stages = (*before, SplitsStage(needs=names), CatalogStage(needs=(*names, "splits")))
    sources = {name: SourceConfig(folder / name, "treeoflife-200m", {"missing_images": "keep"}) for name in SOURCES}
    config = Curation(
        folder / "out",
        sources,
        precedence=tuple(SOURCES),
        threads=threads,
        memory=memory,
        splits=SplitsConfig(unseen_share=0.01),
    )
    watched, found = TreeMemory(), []
    processor = _processor_s()

    def end(outcome: Outcome) -> None:
        nonlocal processor
        now = _processor_s()
        found.append({
            "stage": outcome.manifest.stage, "seconds": round(outcome.seconds, 1), "processor_s": round(now - processor, 1),
            "peak_mb": watched.taken() // 10**6, "rows": outcome.manifest.rows_out, "mb": outcome.manifest.bytes // 10**6,
            "counts": dict(outcome.manifest.counts) if outcome.manifest.stage in ("splits", "duplicates") else {},
        })  # fmt: skip
        processor = now
        print(json.dumps(found[-1]), flush=True)

    run_stages(config, stages, listener=Listener(end=end))
    return found


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=4.0, help="GB that a stage may use")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the output")
    parser.add_argument("--only", choices=["make", "curate"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder or user_cache() / "benchmarks" / f"curate-rows-{given.rows}"
    if given.only == "make":
        make_sources(folder, given.rows)
    elif given.only == "curate":
        curate(folder, given.threads, round(given.memory * 1e9))
    else:
        # processes of their own: the memory of making the rows is not that of curating them
        for step in ("make", "curate"):
            shutil.rmtree(folder / "out", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "benchmarks.curate_rows", *sys.argv[1:], "--only", step], check=True)
        print(json.dumps({"rows": given.rows, "commit": machine.commit(), **machine.describe()}))
        if not given.keep:
            shutil.rmtree(folder / "out")


if __name__ == "__main__":
    main()
