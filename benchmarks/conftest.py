"""Fixtures of the benchmark suites: one peer process, the model folder, and a machine description without the host's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fixtures, machine
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


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Replace pytest-benchmark's machine info, which names the host."""
    suites = [Path(argument).name for argument in config.args]
    whole = len(suites) == len(list(Path(__file__).parent.glob("bench_*.py")))
    command = "make bench" if whole else f"pytest {' '.join(f'benchmarks/{name}' for name in suites)}"
    return {**machine.describe(), "command": ("BENCH_QUICK=1 " if fixtures.QUICK else "") + command}


def pytest_benchmark_generate_commit_info() -> dict[str, Any]:
    """Replace pytest-benchmark's commit info, which names branch and folder."""
    return {"id": machine.commit()}
