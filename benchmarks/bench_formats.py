"""MegaDetector files of many images with two boxes each: read, written and checked, beside the loader of megadetector-utils.

``BENCH_FORMAT_IMAGES`` sets the number of images (50,000); the targets are for a million, which ``make bench-scale`` measures.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.__main__ import figures_of

IMAGES = int(os.environ.get("BENCH_FORMAT_IMAGES", "20000" if fixtures.QUICK else "50000"))
MILLION = 1_000_000
LIMIT_S = 180.0
LIMIT_MB = 600.0
LEAST = 0.5  # of the speed of the peer, which holds the whole file in memory
PEER = "megadetector-utils 10.0.28"
_DONE = {"read": "listed", "write": "written", "check": "checked"}


@cache
def measured(job: str, name: str) -> dict[str, Any]:
    """Return the figures of one job, which runs in its own process and once per session."""
    path = fixtures.cache() / f"megadetector-{IMAGES}-{name}.json"
    figures = figures_of("-m", "benchmarks.formats_worker", job, str(path), str(IMAGES))
    assert figures["count"] == IMAGES
    return figures


def jobs(job: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures of our job, and those of the peer on the same file."""
    name = "read" if job == "read" else "written"
    if job == "read":
        measured("make", name)
    if job == "check":
        measured("write", name)
    return measured(job, name), measured("peer", name)


@pytest.mark.benchmark(group="formats")
@pytest.mark.parametrize("job", ["read", "write", "check"])
def test_time(benchmark: BenchmarkFixture, job: str) -> None:
    ours, peer = benchmark.pedantic(jobs, args=(job,), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"MegaDetector JSON, {IMAGES:,} images {_DONE[job]}",
        peer_name=PEER,
        unit="s",
        ours=_one(ours["process_s"]),
        peer=_one(peer["process_s"]),
        ratio=_one(peer["process_s"] / ours["process_s"]),
        mark=LEAST if job == "read" else None,
        limit=LIMIT_S if IMAGES == MILLION else None,
        figures={"ours": ours, "peer": peer},
        note=(
            f"processor time in seconds for a file of {ours['file_mb']:,.0f} MB; wall time {ours['wall_s']:.0f} s; the peer "
            "loads the same file and validates it"
        ),
    )


@pytest.mark.benchmark(group="formats")
@pytest.mark.parametrize("job", ["read", "write", "check"])
def test_memory(benchmark: BenchmarkFixture, job: str) -> None:
    ours, peer = benchmark.pedantic(jobs, args=(job,), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"the same, highest memory, {_DONE[job]}",
        peer_name=PEER,
        unit="MB",
        ours=_one(ours["peak_mb"]),
        peer=_one(peer["peak_mb"]),
        limit=LIMIT_MB if IMAGES == MILLION else None,
    )


def _one(value: float) -> dict[str, float]:
    return {"median": value, "low": value, "high": value}
