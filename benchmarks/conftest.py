"""Fixtures of the benchmark suites: one peer process, the model folder, the limits, and a machine description without the host's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fixtures, limits, machine
from benchmarks.peer import Peer


@pytest.fixture(scope="session")
def model_folder() -> Path:
    return fixtures.model_folder()


@pytest.fixture(scope="session")
def peer(model_folder: Path) -> Iterator[Peer]:
    """Process with pybioclip, with the model and the smallest label file open."""
    with Peer() as worker:
        worker.open(model_folder, fixtures.label_files(fixtures.LABEL_COUNTS[0]))
        yield worker


@pytest.fixture(autouse=True)
def _limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure the limit of the machine for a benchmark, before and after it, unless the suite has put one there itself."""
    marker = request.node.get_closest_marker("benchmark")
    if "benchmark" not in request.fixturenames or marker is None:
        yield
        return
    benchmark = request.getfixturevalue("benchmark")
    callspec = getattr(request.node, "callspec", None)
    found = limits.limit_of(marker.kwargs.get("group"), callspec.params if callspec else {})
    if found is not None:
        found.take()
    yield
    if found is not None and "ours" in benchmark.extra_info and "ceiling" not in benchmark.extra_info:
        found.take()
        benchmark.extra_info["ceiling"] = found.as_dict()


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Replace pytest-benchmark's machine info, which names the host."""
    suites = [Path(argument).name for argument in config.args]
    whole = len(suites) >= len(list(Path(__file__).parent.glob("bench_*.py"))) - 1  # the trainer's has its own run
    command = "make bench" if whole else f"pytest {' '.join(f'benchmarks/{name}' for name in suites)}"
    return {**machine.describe(), "command": ("BENCH_QUICK=1 " if fixtures.QUICK else "") + command}


def pytest_benchmark_generate_commit_info() -> dict[str, Any]:
    """Replace pytest-benchmark's commit info, which names branch and folder."""
    return {"id": machine.commit()}
