"""Rows sorted by key through runs on disk."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_training.curation import sorted_runs
from bioclip_training.curation.sorted_runs import Runs, write_runs

SCHEMA = pa.schema([("key", pa.string()), ("value", pa.int64())])


def rows_of(count: int, seed: int) -> list[tuple[str, int]]:
    rows = [(hashlib.md5(str(n).encode()).hexdigest(), n) for n in range(count)]
    random.Random(seed).shuffle(rows)
    return rows


def batches(rows: list[tuple[str, int]], size: int) -> list[pa.RecordBatch]:
    cut = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [
        pa.RecordBatch.from_arrays([pa.array([r[i] for r in some], SCHEMA.types[i]) for i in (0, 1)], schema=SCHEMA)
        for some in cut
    ]


@pytest.mark.parametrize("part_rows", [10_000, 300])
def test_buckets_in_order_are_all_rows_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_rows: int) -> None:
    monkeypatch.setattr(sorted_runs, "RUN_ROWS", 1500)
    monkeypatch.setattr(sorted_runs, "_GROUP_ROWS", 100)
    monkeypatch.setattr(sorted_runs, "PART_ROWS", part_rows)
    rows = rows_of(5000, seed=1)
    assert list(write_runs(batches(rows, 700), tmp_path, SCHEMA)) == [2100, 2100, 800]
    assert parquet.ParquetFile(tmp_path / "run-000000.parquet").num_row_groups == 32
    with Runs([tmp_path], SCHEMA) as runs:
        assert runs.buckets == (1 if part_rows == 10_000 else 32)
        tables = [runs.bucket(number) for number in range(runs.buckets)]
    found = pa.concat_tables(tables)
    assert list(zip(found["key"].to_pylist(), found["value"].to_pylist(), strict=True)) == sorted(rows)


def test_rows_with_one_key_are_sorted_by_their_other_columns(tmp_path: Path) -> None:
    rows = [("aa", 3), ("aa", 1), ("00", 9), ("aa", 2)]
    found = []
    for name, ordered in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        list(write_runs(batches(ordered, 2), tmp_path / name, SCHEMA))
        with Runs([tmp_path / name], SCHEMA) as runs:
            found.append(runs.bucket(0).to_pylist())
    assert found[0] == found[1]
    assert [row["value"] for row in found[0]] == [9, 1, 2, 3]


def test_no_rows_are_one_empty_bucket(tmp_path: Path) -> None:
    assert list(write_runs([], tmp_path, SCHEMA)) == []
    with Runs([tmp_path], SCHEMA) as runs:
        assert (runs.buckets, runs.bucket(0).num_rows) == (1, 0)
