"""Memory for 1,000,000 labels of 768 numbers beyond the mapped file, measured in its own process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.__main__ import figures_of
from benchmarks.pairs import Spread

COUNT = 100_000 if fixtures.QUICK else 1_000_000
LIMIT_GB = 1.0  # 10⁹ bytes
PROCESSES = 3


def measured(folder: Path) -> dict[str, Any]:
    """Return the figures of ``memory_worker``, run in its own process."""
    return figures_of("-m", "benchmarks.memory_worker", str(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_one_answer(benchmark: BenchmarkFixture) -> None:
    folder, found = fixtures.wide_label_set(COUNT), []
    benchmark.pedantic(lambda: found.append(measured(folder)), rounds=PROCESSES)  # type: ignore[no-untyped-call]
    seconds = Spread.of([one["first_s"] for one in found])
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {fixtures.WIDE} opened and one image answered, the model loaded",
        key="open-million-s",
        unit="s",
        ours=seconds.as_dict(),
        limit=2.0 if COUNT == 1_000_000 else None,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_memory_of_one_answer(benchmark: BenchmarkFixture) -> None:
    folder = fixtures.wide_label_set(COUNT)
    figures = benchmark.pedantic(measured, args=(folder,), rounds=1)  # type: ignore[no-untyped-call]
    private = (figures["first_peak"] - figures["before"]) / 1e6
    benchmark.extra_info.update(
        title="the same, private memory beyond the mapped file",
        key="open-million-mb",
        unit="MB",
        ours=Spread.of([private]).as_dict(),
        limit=400.0 if COUNT == 1_000_000 else None,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_memory(benchmark: BenchmarkFixture) -> None:
    folder = fixtures.wide_label_set(COUNT)
    figures = benchmark.pedantic(measured, args=(folder,), rounds=1)  # type: ignore[no-untyped-call]
    peak = figures["peak"] / 1e9
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {fixtures.WIDE}, whole process",
        unit="GB",
        ours={"median": peak, "low": peak, "high": peak},
        limit=LIMIT_GB if COUNT == 1_000_000 else None,
        figures=figures,
        note=(
            f"highest private memory of a process that opens the label set ({figures['opened_s']:.1f} s) and classifies 64 features at "
            f"species and genus rank; {figures['before'] / 1e9:.2f} GB of it is Python with torch before anything is opened, "
            f"{figures['opened'] / 1e9:.2f} GB once opened"
        ),
    )
