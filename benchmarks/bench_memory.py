"""Time and private memory for 1,000,000 labels of 768 numbers beyond the mapped file, measured in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.__main__ import figures_of
from benchmarks.pairs import Spread

COUNT = 100_000 if fixtures.QUICK else 1_000_000
LIMIT_GB = 1.0  # 10⁹ bytes
PROCESSES = 2

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
Figures = list[dict[str, Any]]


@pytest.fixture(scope="module")
def processes() -> Callable[[], Figures]:
    """Figures of ``memory_worker``, run in some processes one after the other, the first of which brings the file into memory."""
    found: Figures = []

    def measured() -> Figures:
        if not found:
            folder = fixtures.wide_label_set(COUNT)
            found.extend(figures_of("-m", "benchmarks.memory_worker", str(folder)) for _ in range(PROCESSES + 1))
        return found[1:]

    return measured


@pytest.mark.benchmark(group="memory")
def test_one_answer(benchmark: BenchmarkFixture, processes: Callable[[], Figures]) -> None:
    found = benchmark.pedantic(processes, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {fixtures.WIDE} opened and one image answered, the model loaded",
        key="open-million-s",
        unit="s",
        ours=Spread.of([one["first_s"] for one in found]).as_dict(),
        limit=2.0 if COUNT == 1_000_000 else None,
    )


@pytest.mark.benchmark(group="memory")
def test_memory_of_one_answer(benchmark: BenchmarkFixture, processes: Callable[[], Figures]) -> None:
    found = benchmark.pedantic(processes, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title="the same, private memory beyond the mapped file",
        key="open-million-mb",
        unit="MB",
        ours=Spread.of([(one["first_peak"] - one["before"]) / 1e6 for one in found]).as_dict(),
        limit=400.0 if COUNT == 1_000_000 else None,
    )


@pytest.mark.benchmark(group="memory")
def test_memory(benchmark: BenchmarkFixture, processes: Callable[[], Figures]) -> None:
    found = benchmark.pedantic(processes, rounds=1)  # type: ignore[no-untyped-call]
    figures = found[-1]
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {fixtures.WIDE}, whole process",
        unit="GB",
        ours=Spread.of([one["peak"] / 1e9 for one in found]).as_dict(),
        limit=LIMIT_GB if COUNT == 1_000_000 else None,
        figures=figures,
        note=(
            f"highest private memory of a process that opens the label set ({figures['opened_s']:.1f} s) and classifies 64 features at "
            f"species and genus rank; {figures['before'] / 1e9:.2f} GB of it is Python with torch before anything is opened, "
            f"{figures['opened'] / 1e9:.2f} GB once opened"
        ),
    )
