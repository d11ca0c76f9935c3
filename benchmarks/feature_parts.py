"""Features in the database beside features in Parquet parts: size, writing, reading in order and at random, removing a tenth.

python -m benchmarks.feature_parts [--rows 200000]

Both hold float16 vectors of 512 numbers with the key of the table: content and box. The parts are files of 50,000 rows, sorted by
content, in row groups as small as given. Times are those of a warm cache.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bioclip_plugin.store import Store

DIMENSION = 512
PART = 50_000
PAGE = 512
"""Vectors in one query of a pass of rules, or of a reclassification."""
READS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="Number of vectors.")
    rows = parser.parse_args().rows
    rng = np.random.default_rng(1)
    pages = [np.sort(rng.choice(rows, PAGE, replace=False)) for _ in range(READS)]
    runs = [np.arange(start, start + PAGE) for start in rng.integers(0, rows - PAGE, READS)]
    with tempfile.TemporaryDirectory(prefix="bioclip-parts-") as name:
        folder = Path(name)
        print("| | written, rows/s | MB | 512 in order, ms | 512 at random, ms | a tenth removed, s |")
        print("|---|--:|--:|--:|--:|--:|")
        _database(folder / "store.db", rows, runs, pages)
        for group in (1_000, 10_000):
            _parts(folder / f"parts-{group}", rows, group, runs, pages)


def _vectors(start: int, count: int) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.random.default_rng(start).standard_normal((count, DIMENSION)).astype(np.float16)


def _database(file: Path, rows: int, runs: list[Any], pages: list[Any]) -> None:
    Store.open(file).close()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA cache_size=-65536")
    written = 0.0
    for start in range(0, rows, PART):
        vectors = [vector.tobytes() for vector in _vectors(start, min(PART, rows - start))]
        began = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO bioclip_features VALUES (1, ?, 0, 0, 10000, 10000, ?)", enumerate(vectors, start)
        )
        connection.execute("COMMIT")
        written += time.perf_counter() - began
    keys = ", ".join("?" * PAGE)
    query = f"SELECT content, vector FROM bioclip_features WHERE feature_set = 1 AND content IN ({keys})"

    def read(wanted: Any) -> None:
        found = connection.execute(query, wanted.tolist()).fetchall()
        assert len(found) == PAGE
        assert len(np.frombuffer(b"".join(vector for _, vector in found), dtype=np.float16)) == PAGE * DIMENSION

    in_order, at_random = _ms(read, runs), _ms(read, pages)
    size = file.stat().st_size
    began = time.perf_counter()
    connection.execute("DELETE FROM bioclip_features WHERE content % 10 = 0")
    _print("in the database (SQLite)", rows / written, size, in_order, at_random, time.perf_counter() - began)
    connection.close()


def _parts(folder: Path, rows: int, group: int, runs: list[Any], pages: list[Any]) -> None:
    folder.mkdir()
    written = 0.0
    for start in range(0, rows, PART):
        vectors_BD = _vectors(start, min(PART, rows - start))
        began = time.perf_counter()
        kind = pa.binary(2 * DIMENSION)
        column = pa.Array.from_buffers(kind, len(vectors_BD), [None, pa.py_buffer(vectors_BD.tobytes())])
        table = pa.table({"content": pa.array(range(start, start + len(vectors_BD))), "vector": column})
        pq.write_table(
            table, folder / f"{start:09d}.parquet", row_group_size=group, compression="none", use_dictionary=False
        )
        written += time.perf_counter() - began
    files = {start: pq.ParquetFile(folder / f"{start:09d}.parquet") for start in range(0, rows, PART)}

    def read(wanted: Any) -> None:
        places = sorted({(int(n) // PART * PART, int(n) % PART // group) for n in wanted})
        found = 0
        for start in {start for start, _ in places}:
            table = files[start].read_row_groups([number for part, number in places if part == start])
            found += int(np.isin(table["content"].to_numpy(), wanted).sum())
        assert found == PAGE

    in_order, at_random = _ms(read, runs), _ms(read, pages)
    size = sum(file.stat().st_size for file in folder.iterdir())
    began = time.perf_counter()
    for start, file in files.items():
        table = file.read()
        left = table.filter(pa.array(table["content"].to_numpy() % 10 != 0))
        pq.write_table(
            left, folder / f"{start:09d}.parquet.new", row_group_size=group, compression="none", use_dictionary=False
        )
    _print(
        f"in Parquet parts, row groups of {group:,}",
        rows / written,
        size,
        in_order,
        at_random,
        time.perf_counter() - began,
    )


def _ms(read: Callable[[Any], None], wanted: list[Any]) -> float:
    read(wanted[0])
    began = time.perf_counter()
    for one in wanted:
        read(one)
    return (time.perf_counter() - began) / len(wanted) * 1e3


def _print(name: str, rate: float, size: int, in_order: float, at_random: float, removed_s: float) -> None:
    print(
        f"| {name} | {rate:,.0f} | {size / 1e6:,.0f} | {in_order:.1f} | {at_random:.1f} | {removed_s:.1f} |", flush=True
    )


if __name__ == "__main__":
    main()
