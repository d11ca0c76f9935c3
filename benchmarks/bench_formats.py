"""MegaDetector files of many images with two boxes each: read, written and checked, beside the loader of megadetector-utils.

``BENCH_FORMAT_IMAGES`` sets the number of images (50,000); the targets are for a million, which ``make bench-scale`` measures.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.__main__ import figures_of
from benchmarks.pairs import Spread

IMAGES = int(os.environ.get("BENCH_FORMAT_IMAGES", "20000" if fixtures.QUICK else "50000"))
PAIRS = 1 if fixtures.QUICK else 3
MILLION = 1_000_000
LIMIT_S = 180.0
LIMIT_MB = 600.0
LEAST = 0.5  # of the speed of the peer, which holds the whole file in memory
PEER = "megadetector-utils 10.0.28"
_DONE = {"read": "listed", "write": "written", "check": "checked"}

Figures = list[dict[str, Any]]


def file_of(images: int) -> Path:
    """Return a file as the detector writes it, made on first use."""
    path = fixtures.cache() / f"megadetector-{images}-read.json"
    if not path.exists():
        _figures("make", path, images)
    return path


def beside_peer(job: str, path: Path, images: int, pairs: int) -> tuple[Figures, Figures]:
    """Return the figures of our job on a file and of the peer, which loads and validates it; each in its own process, in turn."""
    ours, peer = [], []
    for _ in range(pairs):
        ours.append(_figures(job, path, images))
        peer.append(_figures("peer", path, images))
    return ours, peer


def _figures(job: str, path: Path, images: int) -> dict[str, Any]:
    figures = figures_of("-m", "benchmarks.formats_worker", job, str(path), str(images))
    assert figures["count"] == images
    return figures


@cache
def _measured(job: str) -> tuple[Figures, Figures]:
    if job == "read":
        return beside_peer(job, file_of(IMAGES), IMAGES, PAIRS)
    path = fixtures.cache() / f"megadetector-{IMAGES}-written.json"
    if job == "check":
        _measured("write")
    return beside_peer(job, path, IMAGES, PAIRS)


@pytest.mark.benchmark(group="formats")
@pytest.mark.parametrize("job", ["read", "write", "check"])
def test_time(benchmark: BenchmarkFixture, job: str) -> None:
    ours, peer = benchmark.pedantic(_measured, args=(job,), rounds=1)  # type: ignore[no-untyped-call]
    ratios = [theirs["process_s"] / mine["process_s"] for mine, theirs in zip(ours, peer, strict=True)]
    benchmark.extra_info.update(
        title=f"MegaDetector JSON, {IMAGES:,} images {_DONE[job]}",
        peer_name=PEER,
        unit="s",
        ours=_spread(ours, "process_s"),
        peer=_spread(peer, "process_s"),
        ratio=Spread.of(ratios).as_dict(),
        mark=LEAST if job == "read" else None,
        limit=LIMIT_S if IMAGES == MILLION else None,
        figures={"ours": ours, "peer": peer},
        note=(
            f"processor time in seconds for a file of {ours[0]['file_mb']:,.0f} MB; wall time {_spread(ours, 'wall_s')['median']:.0f} s; "
            "the peer loads the same file and validates it"
        ),
    )


@pytest.mark.benchmark(group="formats")
@pytest.mark.parametrize("job", ["read", "write", "check"])
def test_memory(benchmark: BenchmarkFixture, job: str) -> None:
    ours, peer = benchmark.pedantic(_measured, args=(job,), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"the same, highest memory, {_DONE[job]}",
        peer_name=PEER,
        unit="MB",
        ours=_spread(ours, "peak_mb"),
        peer=_spread(peer, "peak_mb"),
        limit=LIMIT_MB if IMAGES == MILLION else None,
    )


def _spread(figures: Figures, name: str) -> dict[str, float]:
    return Spread.of([one[name] for one in figures]).as_dict()
