"""One query over a million invented features of 768 numbers, by each scanner, beside brute force in float64."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from bioclip_plugin.searching.scanning import Scanner, nearest

ROWS = 50_000 if fixtures.QUICK else 1_000_000
ROUNDS: dict[Scanner, int] = {"usearch": 20, "torch": 10, "numpy": 2}
TOP = 10
_BLOCK = 20_000
_FILTERS = {"all": None, "one in ten": 0.1, "half": 0.5}


@pytest.fixture(scope="module")
def features() -> NDArray[np.float16]:
    """Random unit vectors in a file that is mapped, as a matrix is; made on first use."""
    path = fixtures.cache() / f"features-{ROWS}x{fixtures.WIDE}.f16"
    if not path.exists() or path.stat().st_size != ROWS * fixtures.WIDE * 2:
        _write(path)
    return np.memmap(path, dtype="<f2", mode="r", shape=(ROWS, fixtures.WIDE))


def _write(path: Path) -> None:
    rng = np.random.default_rng(16)
    with path.open("wb") as file:
        for _ in range(0, ROWS, _BLOCK):
            rows = rng.standard_normal((_BLOCK, fixtures.WIDE), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            file.write(rows.astype(np.float16).tobytes())


def queries(features_ND: NDArray[np.float16], count: int) -> NDArray[np.float32]:
    """Return queries near rows: each a row with as much noise."""
    rng = np.random.default_rng(17)
    chosen = np.sort(rng.choice(len(features_ND), count, replace=False))
    noise_QD: NDArray[np.float32] = rng.standard_normal((count, fixtures.WIDE), dtype=np.float32)
    noise_QD /= np.sqrt(np.float32(fixtures.WIDE))
    noise_QD += features_ND[chosen]
    return noise_QD


def by_brute_force(
    features_ND: NDArray[np.float16], queries_QD: NDArray[np.float32], allowed: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the Q×TOP nearest rows, each cosine in float64."""
    cosines_NQ = np.empty((len(features_ND), len(queries_QD)))
    unit_QD = queries_QD.astype(np.float64) / np.linalg.norm(queries_QD, axis=1, keepdims=True)
    for first in range(0, len(features_ND), _BLOCK):
        wide = features_ND[first : first + _BLOCK].astype(np.float64)
        cosines_NQ[first : first + _BLOCK] = wide @ unit_QD.T / np.linalg.norm(wide, axis=1, keepdims=True)
    if allowed is not None:
        cosines_NQ[np.setdiff1d(np.arange(len(features_ND)), allowed, assume_unique=True)] = -2
    return np.argsort(-cosines_NQ, axis=0, kind="stable")[:TOP].T


@pytest.mark.benchmark(group="search")
@pytest.mark.parametrize("chosen", _FILTERS)
@pytest.mark.parametrize("scanner", ROUNDS)
def test_search(benchmark: BenchmarkFixture, features: NDArray[np.float16], scanner: Scanner, chosen: str) -> None:
    share, rounds = _FILTERS[chosen], ROUNDS[scanner]
    rng = np.random.default_rng(18)
    allowed = None if share is None else np.flatnonzero(rng.random(len(features)) < share)
    queries_QD = queries(features, rounds + 1)
    found, cpu = [], []

    def search(query_D: NDArray[np.float32]) -> None:
        began = time.process_time()
        rows = nearest(features, query_D, TOP, allowed=allowed, deviation=1e-3, scanner=scanner).rows_K
        cpu.append(time.process_time() - began)
        found.append(rows)

    left = iter(queries_QD)
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        search, setup=lambda: ((next(left),), {}), rounds=rounds, warmup_rounds=1
    )
    expected = by_brute_force(features, queries_QD, allowed)
    recall = np.mean([np.isin(one, true).mean() for one, true in zip(found, expected, strict=True)])
    benchmark.extra_info.update(
        title=f"{scanner}, {chosen} of {ROWS:,} × {fixtures.WIDE}",
        processor_ms=round(1000 * float(np.median(cpu[1:])), 1),
        recall_at_10=float(recall),
    )
    assert recall == 1.0
