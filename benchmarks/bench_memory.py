"""Memory for 1,000,000 labels of 768 numbers beyond the mapped file, measured in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, taxa
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set

COUNT = 100_000 if fixtures.QUICK else 1_000_000
DIMENSION = 768
LIMIT_GB = 1.0  # 10⁹ bytes
_ROOT = Path(__file__).parent.parent


def label_set() -> Path:
    """Make a label set of random half-precision vectors with invented names. The model does not matter here."""
    folder = fixtures.cache() / f"memory-{COUNT}x{DIMENSION}-set"
    if not (folder / "label_set.json").exists():
        encoder = {"weights_sha256": "0" * 64, "source": "none", "revision": ""}
        vectors_ND = taxa.random_units(COUNT, DIMENSION, seed=9).astype(np.float16)
        block = Block(0, COUNT, "text", fixtures.LOGIT_SCALE)
        write_label_set(folder, taxa.invented_taxa(COUNT, seed=9), vectors_ND, encoder, block, {})
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.benchmark(group="memory")
def test_memory(benchmark: BenchmarkFixture) -> None:
    folder = label_set()
    paths = os.pathsep.join(str(_ROOT / part) for part in (".", "core"))

    def measure() -> dict[str, Any]:
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory_worker", str(folder)],
            capture_output=True,
            text=True,
            check=True,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": paths},
        )
        figures: dict[str, Any] = json.loads(run.stdout)
        return figures

    figures = benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
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
