"""Memory for 1,000,000 labels of 768 numbers beyond the mapped file, measured in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, taxa
from benchmarks.__main__ import ROOT, environment
from benchmarks.pairs import Spread
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set

COUNT = 100_000 if fixtures.QUICK else 1_000_000
DIMENSION = 768
LIMIT_GB = 1.0  # 10⁹ bytes
PROCESSES = 3


def label_set() -> Path:
    """Make a label set of random half-precision vectors with invented names. The model does not matter here."""
    folder = fixtures.cache() / f"memory-{COUNT}x{DIMENSION}-set"
    if not (folder / "label_set.json").exists():
        encoder = {"weights_sha256": "0" * 64, "source": "none", "revision": ""}
        vectors_ND = taxa.random_units(COUNT, DIMENSION, seed=9).astype(np.float16)
        block = Block(0, COUNT, "text", fixtures.LOGIT_SCALE)
        write_label_set(folder, taxa.invented_taxa(COUNT, seed=9), vectors_ND, encoder, block, {})
    return folder


def measured(folder: Path) -> dict[str, Any]:
    """Return the figures of ``memory_worker``, run in its own process."""
    command = [sys.executable, "-m", "benchmarks.memory_worker", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment())
    figures: dict[str, Any] = json.loads(run.stdout)
    return figures


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_one_answer(benchmark: BenchmarkFixture) -> None:
    folder, found = label_set(), []
    benchmark.pedantic(lambda: found.append(measured(folder)), rounds=PROCESSES)  # type: ignore[no-untyped-call]
    seconds = Spread.of([one["first_s"] for one in found])
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {DIMENSION} opened and one image answered, the model loaded",
        key="open-million-s",
        unit="s",
        ours=seconds.as_dict(),
        limit=2.0 if COUNT == 1_000_000 else None,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_memory_of_one_answer(benchmark: BenchmarkFixture) -> None:
    folder = label_set()
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
    folder = label_set()
    figures = benchmark.pedantic(measured, args=(folder,), rounds=1)  # type: ignore[no-untyped-call]
    peak = figures["peak"] / 1e9
    benchmark.extra_info.update(
        title=f"{COUNT:,} labels × {DIMENSION}, whole process",
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
