"""Columns of a large run: `python -m benchmarks.bench_browsing --regions 1000000 [--folder FOLDER]`.

An invented SQLite store is written straight into its tables, once, and reused. Each figure is processor time in seconds (wall time behind
it); memory is the highest of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from bioclip_core.identity import user_cache
from bioclip_plugin.browsing import keeping
from bioclip_plugin.browsing.query import ViewQuery
from bioclip_plugin.browsing.view import RunView
from bioclip_plugin.store import RunPlan, Store

SPECIES = 5_000
REVIEWS = 30_000
CANDIDATES = 5
TIMES = 20
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "


def make(address: str, count: int) -> None:
    """Write a finished run of one region per image: a hundredth failed, eleven candidates per region, 30,000 reviews."""
    with Store.open(address) as store:
        run = store.begin_run(_plan())
        store.end_run(run, "finished", {})
    connection = sqlite3.connect(address)
    connection.execute("PRAGMA synchronous=OFF")
    ranks = " UNION ALL ".join(f"SELECT 6 AS r, {place} AS p" for place in range(CANDIDATES))
    ranks += "".join(f" UNION ALL SELECT {rank}, 0" for rank in range(6))
    taxon = f"1 + (i * 7919 + i / 1000) % {SPECIES}"
    statements = [
        "INSERT INTO bioclip_taxa SELECT i, 'key' || i, 6, 'Animalia', 'Chordata', 'Class' || (i / 500), 'Order' || (i / 100), "
        f"'Family' || (i / 20), 'Genus' || (i / 5), 'species' || i, '', '' FROM n WHERE i <= {SPECIES}",
        "INSERT INTO bioclip_media (id, uri, frame, size, mtime_ns, captured_at, deployment, sequence, metadata) "
        "SELECT i, printf('survey/camera_%04d/IMG_%07d.JPG', i / 2000, i), 0, 1, 1, "
        "strftime('%Y-%m-%dT%H:%M:%S', 1714530600 + 17 * i, 'unixepoch'), printf('camera_%04d', i / 2000), 'sequence_' || (i / 3), "
        """'{"camera_make":"RECONYX","camera_serial_number":"H' || (i / 2000) || '","temperature":9}' FROM n""",
        "INSERT INTO bioclip_regions SELECT i, i, 0, 0, 10000, 10000, '', '', '', NULL FROM n",
        f"INSERT INTO bioclip_listing SELECT {run.id}, i, i, 1 + (i % 100 = 0), NULL FROM n",
        f"INSERT INTO bioclip_listed_regions SELECT {run.id}, i, 0, i, 1, NULL FROM n WHERE i % 100 > 0",
        f"INSERT INTO bioclip_failures SELECT {run.id}, i, 'decode', 'file ''' || i || ''' is empty', '2026-01-01', 1 FROM n "
        "WHERE i % 100 = 0",
        f"INSERT INTO bioclip_answers SELECT {run.answer_set}, i, iif(i % 50 = 1, 'prior_ignored', '') FROM n WHERE i % 100 > 0",
        f"INSERT INTO bioclip_candidates SELECT {run.answer_set}, i, r, p, {taxon}, (1 + i % 97) / 100.0 / (1 + p) "
        f"FROM n, ({ranks}) WHERE i % 100 > 0 ORDER BY i, r, p",
        f"INSERT INTO bioclip_decisions SELECT {run.decision_set}, i, iif(i % 10, {taxon}, NULL), 6, (1 + i % 97) / 100.0, "
        "iif(i % 10, 'taxon', 'unknown'), NULL, NULL FROM n WHERE i % 100 > 0",
        "INSERT INTO bioclip_reviews SELECT i, 'uid' || i, 'region', i * 33 + 1, i * 33 + 1, NULL, 'taxon', 1 + i % 5000, 'Ada', "
        f"'2026-06-01T00:00:00.000000+00:00', '', NULL FROM n WHERE i <= {min(REVIEWS, count // 34)}",
    ]
    with connection:
        for statement in statements:
            connection.execute(_insertable(statement), (count,))
    connection.close()


def _insertable(statement: str) -> str:
    into, _, rest = statement.partition("SELECT ")
    return f"{into}{_NUMBERS}SELECT {rest}"


def _plan() -> RunPlan:
    return RunPlan(
        sources=("survey",), settings={}, feature_id="feature", feature_settings={"weights_sha256": "0" * 64}, dimension=512,
        answer_id="answer", answer_settings={"rank": "species"}, rule_id="rule", rule_settings={}, provenance={},
    )  # fmt: skip


QUERIES = {
    "by name": ViewQuery(sort="name"),
    "least sure": ViewQuery(sort="margin"),
    "family": ViewQuery(taxon="Animalia/Chordata/Class0/Order0/Family1"),
    "camera, hours, least sure": ViewQuery(cameras=("camera_0003",), hours=(22, 4), sort="margin"),
    "phylum, days, probability": ViewQuery(taxon="Animalia/Chordata", from_day=date(2024, 6, 1), least=0.5, sort="probability"),
    "not reviewed, flag, random": ViewQuery(reviewed="no", flags=("prior_ignored",), sort="random", seed=1),
}  # fmt: skip


def measure(address: str, rebuild: bool) -> dict[str, Any]:
    """Open the run, then ask each question anew and once more, and count for its filters."""
    figures: dict[str, Any] = {}
    with Store.open(address) as store:
        view, figures["open"] = _timed(lambda: RunView.open(store, rebuild=rebuild))
        figures["rows"], figures["reviews"] = len(view.columns), len(view.columns.reviews)
        figures["open_mb"] = _peak_mb()
        if not rebuild:
            for name, query in QUERIES.items():
                _, figures[f"{name}: first order"] = _timed(lambda: view.page(query))  # noqa: B023
                figures[f"{name}: filter"] = _median(lambda: (view.now._views.__init__(16), view.page(query)))  # noqa: B023
                cursor = view.page(query).next
                figures[f"{name}: next page"] = _median(lambda: view.entries(view.page(query, after=cursor).rows))  # noqa: B023
                figures[f"{name}: counts"] = _median(lambda: (view.now._facets.__init__(64), view.facets(query)))  # noqa: B023
            figures["refresh without changes"] = _median(view.refresh, 5)
            figures["peak_mb"] = _peak_mb()
        figures["kept_mb"] = sum(file.stat().st_size for file in keeping.folder_of(store).iterdir()) / 1e6
    return figures


def _timed(work: Callable[[], Any]) -> tuple[Any, list[float]]:
    processor, wall = time.process_time(), time.perf_counter()
    found = work()
    return found, [round(time.process_time() - processor, 4), round(time.perf_counter() - wall, 4)]


def _median(work: Callable[[], Any], times: int = TIMES) -> list[float]:
    taken = [_timed(work)[1] for _ in range(times)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Make the store if it is missing, build the columns, open them from the disk, and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=1_000_000, help="Number of images, of one region each.")
    parser.add_argument("--folder", type=Path, default=user_cache() / "bench", help="Folder of the store.")
    parser.add_argument("--measure", choices=("build", "open"), help="Measure in this process.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    address = given.folder / f"browsing_{given.regions}.db"
    if given.measure:
        print(json.dumps(measure(str(address), given.measure == "build"), indent=1))
        return
    made = address.with_suffix(".made")
    if not made.exists():
        for left in given.folder.glob(f"{address.name}*"):
            left.unlink()
        _, took = _timed(lambda: make(str(address), given.regions))
        print(f"store of {address.stat().st_size / 1e6:.0f} MB made in {took} s", flush=True)
        made.touch()
    for step in ("build", "open", "open"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_browsing",
            "--regions",
            str(given.regions),
            "--folder",
            str(given.folder),
        ]
        subprocess.run([*command, "--measure", step], check=True)


if __name__ == "__main__":
    main()
