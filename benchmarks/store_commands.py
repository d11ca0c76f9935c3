"""Every command that reads or writes a store, on an invented one: processor time, wall time and highest memory of each.

python -m benchmarks.store_commands STORE.db --notes NOTES.json [--only "export csv" …] [--again]

A finished command stays in the notes, so that an interrupted program goes on; ``--again`` measures it anew. The last commands
delete the runs, so give a store that may go. Outputs are written beside the store and removed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path

from benchmarks import taxa
from benchmarks.__main__ import command_figures
from benchmarks.machine import commit
from benchmarks.store_scale import SPECIES

LIMIT_S = 3_600
REVIEWS = 2_000

COMMANDS = {
    "runs list": "runs list",
    "runs show": "runs show",
    "store info": "store info",
    "store upgrade": "store upgrade",
    "runs verify": "runs verify",
    "review import, images": "review import {out}/images.csv --reviewer Ann --base-folder .",
    "review list": "review list",
    "review stats": "review stats",
    "review import, events": "review import {out}/events.csv --reviewer Ann",
    "review stats --events": "review stats --events",
    "export csv": "export --format csv --output {out}/all.csv",
    "export csv, one species": "export --format csv --taxon {species} --output {out}/one.csv",
    "export parquet": "export --format parquet --output {out}/all.parquet",
    "export jsonl": "export --format jsonl --output {out}/all.jsonl",
    "export xlsx": "export --format xlsx --output {out}/all.xlsx",
    "export megadetector": "export --format megadetector --output {out}/all.json",
    "export speciesnet": "export --format speciesnet --output {out}/all.json",
    "export camtrap-dp": "export --format camtrap-dp --time-zone UTC --output {out}/camtrap",
    "export darwin-core": "export --format darwin-core --output {out}/darwin",
    "export wildlife-insights": "export --format wildlife-insights --output {out}/wildlife",
    "export folders": "export --format folders --output {out}/folders",
    "report": "report --output {out}/report.html",
    "second-opinion": "second-opinion --output {out}/opinion.csv",
    "catalog build": "catalog build {store} --output {out}/catalog.parquet",
    "rules apply, thresholds": "rules apply --run 1 --rule thresholds:species=0.8,genus=0.6",
    "runs delete 1 --dry-run": "runs delete 1 --dry-run",
    "runs delete 2 --dry-run": "runs delete 2 --dry-run",
    "runs prune --dry-run": "runs prune --keep 1 --dry-run",
    "store compact --dry-run": "store compact --dry-run",
    "store backup": "store backup --output {out}/copy.db",
    "runs delete 2": "runs delete 2 --yes",
    "store compact": "store compact",
    "runs delete 1": "runs delete 1 --yes",
    "store compact, emptied": "store compact",
}
"""The commands in the order in which they are measured: those that change the store are last."""
_WITHOUT_STORE = frozenset({"catalog build"})


def measure(address: str, notes: Path, only: list[str], limit_s: float, *, again: bool) -> None:
    """Run commands in a process of their own each, and write their figures to ``notes`` one by one."""
    done = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    species = taxa.invented_taxa(SPECIES)[7].name
    for name, words in COMMANDS.items():
        if (only and name not in only) or (name in done and not again):
            continue
        with tempfile.TemporaryDirectory(prefix="outputs-", dir=Path(address).parent) as out:
            _write_reviews(Path(out))
            given = [word.format(out=out, species="\0", store=address).replace("\0", species) for word in words.split()]
            store = [] if name in _WITHOUT_STORE else ["--store", address]
            figures = measured([*given, *store], limit_s)
            done[name] = {
                **figures,
                "output_mb": round(_size(Path(out)) / 1e6, 1),
                "commit": commit(),
                "load": os.getloadavg()[0],
            }
        notes.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
        print({"command": name, **done[name]}, flush=True)


def measured(arguments: list[str], limit_s: float) -> dict[str, object]:
    """Return the seconds and the highest memory of a command, or the end of its errors."""
    try:
        figures = command_figures(*arguments, limit_s=limit_s)
    except RuntimeError as error:
        return {"said": str(error)[-300:]}
    return {
        "wall_s": round(figures["wall_s"], 1),
        "process_s": round(figures["process_s"], 1),
        "memory_mb": round(figures["peak_mb"]),
    }


def _write_reviews(folder: Path) -> None:
    """Write two tables of reviews: of images and of events of an invented store, spread over its first part."""
    names = [taxon.scientific_name for taxon in taxa.invented_taxa(SPECIES)[:REVIEWS]]
    places = range(0, 17 * REVIEWS, 17)
    images = [
        (f"survey/camera_{place // 2_000:05d}/IMG_{place:08d}.JPG", name)
        for place, name in zip(places, names, strict=True)
    ]
    events = [(f"sequence_{place // 3 + 1}", name) for place, name in zip(places, names, strict=True)]
    tables: dict[str, list[tuple[str, ...]]] = {
        "images.csv": [("image", "scientificName"), *images],
        "events.csv": [("image", "event", "scientificName"), *(("", *row) for row in events)],
    }
    for file, rows in tables.items():
        with (folder / file).open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows(rows)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="an SQLite file")
    parser.add_argument("--notes", type=Path, required=True, help="file of the figures")
    parser.add_argument("--only", action="append", default=[], choices=COMMANDS, help="measure these commands only")
    parser.add_argument("--again", action="store_true", help="measure finished commands anew")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="longest time of one command")
    given = parser.parse_args()
    measure(str(Path(given.store).resolve()), given.notes, given.only, given.limit_s, again=given.again)


if __name__ == "__main__":
    main()
